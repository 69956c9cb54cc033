from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors import safe_open
from torch import Tensor

from kilter.errors import DataError, SettingsError, TrainingStopped
from kilter.models import Item, LanguageModel, LoraConfig, Packed, Response, pack, sample, score
from kilter.models.scalar import ScalarModel
from kilter.training import LoraSettings, Models, Policy, PPOSettings, make_models, mean_loss, ppo, prepare, train_ppo
from kilter.training import loop as loops
from kilter.training.loop import Loop, read_metrics

Make = Callable[..., LanguageModel]
SMALL, LIKED = 24, 9
LORA = LoraSettings(rank=4, alpha=8)
PROMPTS = [[5, 9], [7, 3, 12, 20], [22], [6, 19, 13], [4, 4]]
TEXTS = [[5, 6, 7, 8, 9, 10], [11, 12, 13], [14] * 30]
FAST: dict[str, Any] = {
    "lr": 0.01, "value_lr": 0.01, "steps": 2, "prompts": 4, "samples": 4, "max_new_tokens": 8, "lora": LORA,
    "kl_coef": 0.05, "ptx_coef": 0.0, "warmup": 0.0, "seed": 1,
}  # fmt: skip


@dataclass
class Liking(ScalarModel):
    """A reward that is known: twice the share of one token in the response."""

    token: int = LIKED

    def scores(self, packed: Packed) -> Tensor:
        hits = torch.zeros(len(packed.counts)).index_add(0, packed.response, (packed.targets == self.token).float())
        return 2 * hits / packed.counts


def scorer(lm: LanguageModel, kind: type[ScalarModel] = ScalarModel, std: float = 0.3) -> Any:
    """A reward model with an adapter and a random head."""
    lm.adapters.add("reward", LoraConfig(2, 4.0, ("q_proj", "up_proj")), torch.Generator().manual_seed(0))
    head = torch.nn.Parameter(std * torch.randn(lm.hidden_size, generator=torch.Generator().manual_seed(1)))
    return kind(lm, "reward", head, lm.layers)


def setup(tiny_lm: Make, kind: type[ScalarModel] = ScalarModel, **settings: Any) -> tuple[Models, PPOSettings]:
    lm = tiny_lm("llama", SMALL)
    chosen = PPOSettings(**{**FAST, **settings})
    return make_models(lm, scorer(lm, kind), chosen), chosen


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [one.detach().clone() for one in tensors]


def same(one: Sequence[Tensor], other: Sequence[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def share_of_liked(policy: Policy) -> float:
    with policy.active():
        drawn = sample(policy.lm, PROMPTS, n=60, max_new_tokens=8, seed=99, max_rows=300)
    tokens = [token for group in drawn for one in group for token in one.tokens if token != 2]
    return tokens.count(LIKED) / len(tokens)


def test_raises_what_the_reward_likes_and_reports_kl_and_agreement(tiny_lm: Make, tmp_path: Path) -> None:
    models, settings = setup(
        tiny_lm, Liking, steps=16, prompts=5, samples=16, max_new_tokens=12, lr=0.02, kl_coef=0.01, no_eos_score=-0.2
    )
    before = share_of_liked(models.policy)
    kept = copies(models.policy.lm.adapters.parameters("reward"))
    result = train_ppo(models, PROMPTS, settings, tmp_path)
    after = share_of_liked(models.policy)
    assert before < 0.15
    assert after > 3 * before
    assert after > 0.4
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows[-1]["score"] > rows[0]["score"] + 0.5
    assert result["kl"] == rows[-1]["kl"] > 0.5
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert all(abs(row["agreement"] - 1) < 1e-4 and row["disagreement"] < 1e-4 for row in rows)
    assert same(kept, models.policy.lm.adapters.parameters("reward"))


def test_bfloat16_sampler_and_trainer_agree_within_a_percent(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm("llama", SMALL, dtype="bfloat16")
    settings = PPOSettings(**{**FAST, "steps": 3, "samples": 16})
    train_ppo(make_models(lm, scorer(lm, Liking), settings), PROMPTS, settings, tmp_path)
    assert all(abs(row["agreement"] - 1) < 0.01 for row in read_metrics(tmp_path / "metrics.jsonl"))


def test_the_ratio_of_the_first_update_is_one(tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    loss = ppo.ppo_policy_loss

    def watch(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
        seen.append(float((torch.exp(logprobs - old) - 1).detach().abs().max()))
        return loss(logprobs, old, advantages, clip)

    monkeypatch.setattr(ppo, "ppo_policy_loss", watch)
    models, settings = setup(tiny_lm, steps=2, minibatches=1, epochs=2, temperature=0.7, max_tokens=64)
    train_ppo(models, PROMPTS, settings, tmp_path)
    updates = len(seen) // 4
    firsts, seconds = seen[:updates] + seen[2 * updates : 3 * updates], seen[updates : 2 * updates]
    assert max(firsts) < 1e-5
    assert max(seconds) > 1e-3
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["clipped"] < 1


def test_a_cut_response_gets_the_set_score_and_the_others_the_models_on_their_last_token(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[tuple[list[float], list[int]]] = []
    rewards = ppo.per_token_rewards

    def watch(scores: Tensor, logprobs: Tensor, ref: Tensor, counts: Sequence[int], coef: float) -> Tensor:
        told.append((scores.tolist(), list(counts)))
        return rewards(scores, logprobs, ref, counts, coef)

    observed: list[Sequence[Sequence[Response]]] = []

    def observe(step: int, numbers: Sequence[int], responses: Sequence[Sequence[Response]]) -> Mapping[str, float]:
        observed.append((numbers, responses))  # type: ignore[arg-type]
        return {"gold": 0.25 + step}

    monkeypatch.setattr(ppo, "per_token_rewards", watch)
    models, settings = setup(tiny_lm, no_eos_score=-7.0, steps=1, samples=6)
    expected_reward = models.reward
    train_ppo(models, PROMPTS, settings, tmp_path, observe=observe)
    numbers, groups = observed[0]
    scores, counts = told[0]
    flat = [one for group in groups for one in group]
    assert {one.finished for one in flat} == {True, False}
    assert counts == [len(one.tokens) for one in flat]
    packed = pack([Item(PROMPTS[n], [one.tokens for one in group]) for n, group in zip(numbers, groups, strict=True)])
    raw = expected_reward.scores(packed).tolist()
    for one, got, score_ in zip(flat, scores, raw, strict=True):
        assert got == pytest.approx(score_ if one.finished else -7.0, rel=1e-5)
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["gold"] == 0.25


def test_every_step_samples_anew_and_walks_on_through_the_prompts(tiny_lm: Make, tmp_path: Path) -> None:
    drawn: dict[int, list[list[int]]] = {}
    met: list[int] = []

    def observe(step: int, numbers: Sequence[int], responses: Sequence[Sequence[Response]]) -> Mapping[str, float]:
        met.extend(numbers)
        for number, group in zip(numbers, responses, strict=True):
            drawn.setdefault(number, []).append([token for one in group for token in one.tokens])
        return {}

    models, settings = setup(tiny_lm, steps=5, lr=1e-30)
    train_ppo(models, PROMPTS, settings, tmp_path, observe=observe)
    assert sorted(met) == sorted(list(range(5)) * 4)
    assert all(len({tuple(one) for one in groups}) == 4 for groups in drawn.values())


def test_training_the_value_model_leaves_the_policy_to_the_bit(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm("llama", SMALL)
    start = Policy.create(lm, "sft", LORA, 0)
    for parameter in start.parameters():
        parameter.data.add_(0.01)  # B too, so that a rate of nothing is lost in rounding
    settings = PPOSettings(**{**FAST, "lr": 1e-30})
    models = make_models(lm, scorer(lm), settings)
    policy, value = copies(models.policy.parameters()), copies(models.value.parameters())
    trunk = {
        name: one.clone() for name, one in lm.model.state_dict().items() if ".a." not in name and ".b." not in name
    }
    train_ppo(models, PROMPTS, settings, tmp_path)
    assert same(policy, models.policy.parameters())
    assert not any(torch.equal(a, b) for a, b in zip(value, models.value.parameters(), strict=True))
    assert all(torch.equal(lm.model.state_dict()[name], one) for name, one in trunk.items())


def test_neither_loss_reaches_the_others_adapter(tiny_lm: Make) -> None:
    models, _ = setup(tiny_lm)
    models.value.head.data.add_(0.1)
    packed = pack([Item(PROMPTS[1], [[8, 9, 2]])])
    models.value.values(packed, packed.sources).sum().backward()  # type: ignore[no-untyped-call]
    assert all(one.grad is None for one in models.policy.parameters())
    assert all(one.grad is not None for one in models.value.parameters())
    for one in models.value.parameters():
        one.grad = None
    with models.policy.active():
        models.policy.lm.hidden_states(packed).sum().backward()
    assert all(one.grad is None for one in models.value.parameters())
    assert all(one.grad is None for one in models.policy.lm.adapters.parameters("reward"))
    assert all(one.grad is not None for one in models.policy.parameters())


def test_models_start_as_the_paper_says(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    start = Policy.create(lm, "sft", LORA, 0)
    for parameter in start.parameters():
        parameter.data.add_(0.01)
    models = make_models(lm, scorer(lm), PPOSettings(**FAST))
    assert (models.reference.adapter, models.policy.adapter) == ("sft", "ppo")
    assert same(models.policy.parameters(), lm.adapters.parameters("sft"))
    assert same(lm.adapters.parameters("value"), lm.adapters.parameters("reward"))
    assert not models.value.head.any()
    assert models.value.adapter == "value"


def test_in_full_the_reference_stays_and_the_reward_needs_its_own_trunk(tiny_lm: Make, tmp_path: Path) -> None:
    lm, other = tiny_lm("llama", SMALL), tiny_lm("llama", SMALL)
    settings = PPOSettings(**{**FAST, "lora": None, "lr": 1e-3, "value_lr": 1e-3, "minibatches": 1})
    with pytest.raises(SettingsError, match="reward model needs a trunk of its own"):
        make_models(lm, scorer(lm), settings)
    lm = tiny_lm("llama", SMALL)
    models = make_models(lm, scorer(other), settings)
    before = copies(list(lm.model.parameters()))
    result = train_ppo(models, PROMPTS, settings, tmp_path)
    assert same(before, list(models.reference.lm.model.parameters()))
    assert not any(torch.equal(a, b) for a, b in zip(before, lm.model.parameters(), strict=True))
    assert result["steps"] == 2


def test_a_reward_model_that_trained_whole_gives_a_value_model_of_its_own(tiny_lm: Make, tmp_path: Path) -> None:
    lm, other = tiny_lm("llama", SMALL), tiny_lm("llama", SMALL)
    head = torch.nn.Parameter(0.3 * torch.randn(32, generator=torch.Generator().manual_seed(1)))
    settings = PPOSettings(**{**FAST, "value_lr": 1e-3})
    models = make_models(lm, ScalarModel(other, None, head, 1), settings)
    assert models.value.lm not in (lm, other)
    before = copies(list(other.model.parameters()))
    train_ppo(models, PROMPTS, settings, tmp_path)
    assert same(before, list(other.model.parameters()))


# ptx


def test_ptx_is_the_mean_loss_per_token_of_the_texts_times_its_weight(tiny_lm: Make, tmp_path: Path) -> None:
    gradients = []
    for coefficient in (1.0, 0.25):
        models, settings = setup(tiny_lm, ptx_coef=coefficient)
        for parameter in models.policy.parameters():
            parameter.data.add_(0.01)
        loss = ppo._ptx(models.policy, TEXTS, settings, 0, Loop(tmp_path, "ppo", 1, "print", {}))
        with models.policy.active():
            assert loss == pytest.approx(mean_loss(models.policy.lm, [Item([], [text]) for text in TEXTS]), rel=1e-5)
        gradients.append(torch.cat([one.grad.flatten() for one in models.policy.parameters() if one.grad is not None]))
    torch.testing.assert_close(gradients[0] * 0.25, gradients[1], rtol=1e-4, atol=1e-6)


def test_ptx_reads_no_more_tokens_than_set_and_other_texts_every_time(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    models, settings = setup(tiny_lm, ptx_coef=1.0, ptx_tokens=20)
    read = []
    monkeypatch.setattr(ppo, "pack", lambda items, device: read.append(items) or pack(items, device))
    texts = [[3 + number] * 7 for number in range(20)]
    for number in range(6):
        ppo._ptx(models.policy, texts, settings, number, Loop(tmp_path, "ppo", 1, "print", {}))
    assert all(sum(item.length for item in items) == 20 for items in read)
    assert len({tuple(item.responses[0][0] for item in items) for items in read}) == 6


def test_ptx_keeps_plain_text_likely(tiny_lm: Make, tmp_path: Path) -> None:
    losses = {}
    for coefficient in (0.0, 5.0):
        models, settings = setup(tiny_lm, Liking, ptx_coef=coefficient, steps=5)
        train_ppo(models, PROMPTS, settings, tmp_path / str(coefficient), texts=TEXTS)
        with models.policy.active():
            losses[coefficient] = mean_loss(models.policy.lm, [Item([], [text]) for text in TEXTS])
    assert losses[5.0] < losses[0.0] - 0.5


@pytest.mark.parametrize("texts", [[], [[5], [6]], [[]]], ids=["none", "one token", "empty"])
def test_texts_that_cannot_be_learned_from_are_refused_at_once(
    tiny_lm: Make, tmp_path: Path, texts: list[list[int]]
) -> None:
    models, settings = setup(tiny_lm, ptx_coef=0.1)
    with pytest.raises(DataError, match=r"text"):
        train_ppo(models, PROMPTS, settings, tmp_path, texts=texts)
    assert not read_metrics(tmp_path / "metrics.jsonl")


def test_prompts_that_leave_no_room_are_refused(tiny_lm: Make, tmp_path: Path) -> None:
    models, settings = setup(tiny_lm)
    with pytest.raises(DataError, match="Example 1 has 513 tokens"):
        train_ppo(models, [[5], [5] * 505], settings, tmp_path)
    with pytest.raises(DataError, match="data set is empty"):
        train_ppo(models, [], settings, tmp_path)


# guards, through the public function


def test_constant_rewards_stop(tiny_lm: Make, tmp_path: Path) -> None:
    models, settings = setup(tiny_lm, no_eos_score=0.0)
    models.reward.head.data.zero_()
    with pytest.raises(TrainingStopped, match="step 0 all 16 rewards are 0"):
        train_ppo(models, PROMPTS, settings, tmp_path)


def test_kl_beyond_its_bound_stops_and_keeps_the_last_good_checkpoint(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loops, "time", SimpleNamespace(monotonic=lambda: 0.0))  # a checkpoint after every step
    models, settings = setup(tiny_lm, Liking, checkpoint_seconds=0, steps=30, lr=0.1, kl_coef=0.0, max_kl=2.0)
    with pytest.raises(TrainingStopped, match=r"beyond the bound of 2 \(max_kl\)"):
        train_ppo(models, PROMPTS, settings, tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert 0 < len(rows) < 30
    assert all(row["kl"] <= 2.0 for row in rows)
    with safe_open(tmp_path / "checkpoint.safetensors", "pt") as kept:
        assert json.loads(kept.metadata()["kilter"])["step"] == len(rows)
        found = [kept.get_tensor(f"policy/{number}.value") for number in range(len(models.policy.parameters()))]
    assert same(found, models.policy.parameters())


def test_collapsed_entropy_stops(tiny_lm: Make, tmp_path: Path) -> None:
    models, settings = setup(tiny_lm, min_entropy=3.5)  # more than log 24
    with pytest.raises(TrainingStopped, match=r"below 3\.5 \(min_entropy\)"):
        train_ppo(models, PROMPTS, settings, tmp_path)


@pytest.mark.parametrize("where", ["reward", "value", "policy"])
def test_not_a_number_stops_and_spoils_no_weight(tiny_lm: Make, tmp_path: Path, where: str) -> None:
    models, settings = setup(tiny_lm)
    broken = {
        "reward": models.reward.head,
        "value": models.value.parameters()[1],
        "policy": models.policy.parameters()[1],
    }[where]
    broken.data.view(-1)[0] = float("nan")
    before = copies([*models.policy.parameters(), *models.value.parameters()])
    with pytest.raises(TrainingStopped):
        train_ppo(models, PROMPTS, settings, tmp_path)
    after = [*models.policy.parameters(), *models.value.parameters()]
    for one, other in zip(before, after, strict=True):
        assert torch.equal(one.nan_to_num(), other.detach().nan_to_num())


# settings


def test_the_kl_coefficient_adapts_when_a_target_is_set(tiny_lm: Make, tmp_path: Path) -> None:
    models, settings = setup(tiny_lm, steps=4, kl_target=1000.0, kl_horizon=160)
    train_ppo(models, PROMPTS, settings, tmp_path)
    factor = 1 - 0.2 * 16 / 160  # far below the target: the most that one step allows
    coefficients = [row["kl_coef"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert coefficients[-1] / coefficients[0] == pytest.approx(factor**3, rel=1e-9)
    assert coefficients[0] in (pytest.approx(0.05), pytest.approx(0.05 * factor))


@pytest.mark.parametrize(
    "settings",
    [
        {"epochs": 2, "minibatches": 9},
        {"whiten_rewards": True},
        {"max_tokens": 16},
        {"samples": 1, "prompts": 7, "max_new_tokens": 30},
    ],
    ids=str,
)
def test_runs_with(tiny_lm: Make, tmp_path: Path, settings: dict[str, Any]) -> None:
    models, chosen = setup(tiny_lm, **settings)
    result = train_ppo(models, PROMPTS, chosen, tmp_path)
    assert result["steps"] == 2
    assert result["flops"] > 0


def test_memory_is_counted_for_two_learners(tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    plain = prepare.training_memory

    def counted(*given: Any, **more: Any) -> Any:
        asked.append(more["method"])
        return plain(*given, **more)

    monkeypatch.setattr(prepare, "training_memory", counted)
    models, settings = setup(tiny_lm, steps=1)
    train_ppo(models, PROMPTS, settings, tmp_path)
    assert set(asked) == {"ppo"}


def test_micro_batches_add_up_to_the_same_update(tiny_lm: Make, tmp_path: Path) -> None:
    found = []
    for max_tokens in (4096, 16):
        models, settings = setup(tiny_lm, steps=1, minibatches=1, max_tokens=max_tokens, max_grad_norm=1e-3)
        train_ppo(models, PROMPTS, settings, tmp_path / str(max_tokens))
        found.append(read_metrics(tmp_path / str(max_tokens) / "metrics.jsonl")[0])
    for name in ("policy_loss", "value_loss", "policy_grad_norm", "value_grad_norm"):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-4, abs=1e-6)


def test_observing_changes_nothing(tiny_lm: Make, tmp_path: Path) -> None:
    found = []
    for observe in (None, lambda *_: {"gold": 1.0}):
        models, settings = setup(tiny_lm)
        train_ppo(models, PROMPTS, settings, tmp_path / str(observe is None), observe=observe)
        found.append(copies(models.policy.parameters()))
    assert same(*found)


def test_the_trained_policy_is_what_was_saved(tiny_lm: Make, tmp_path: Path) -> None:
    from kilter.models import load

    models, settings = setup(tiny_lm)
    train_ppo(models, PROMPTS, settings, tmp_path)
    item = [Item(PROMPTS[1], [[8, 9, 2]])]
    with models.policy.active():
        expected = score(models.policy.lm, item)[0].logprobs[0]
    assert torch.equal(score(load(tmp_path / "model", dtype="float32"), item)[0].logprobs[0], expected)
