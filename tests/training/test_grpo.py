from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch import Tensor

from kilter.errors import DataError, SettingsError, TrainingStopped
from kilter.models import Item, LanguageModel, LoraConfig, Response, pack, sample
from kilter.models.scalar import ScalarModel
from kilter.training import GRPOSettings, LoraSettings, Weighted, grpo, train_grpo
from kilter.training.loop import read_metrics
from kilter.training.rollout import Rollout

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
PROMPTS = ["ab", "c", "hello", "x y"]
FAST: dict[str, Any] = {
    "lr": 0.01, "steps": 2, "prompts": 4, "samples": 4, "max_new_tokens": 6, "lora": LORA, "warmup": 0.0, "seed": 1,
    "min_entropy": 0.0,
}  # fmt: skip
VARIANTS = list(grpo.VARIANTS)


def small_bytes(prompts: list[Any], responses: list[str]) -> list[float]:
    """A bandit over bytes whose best arm is known: the lower the first byte, the better."""
    return [1 - (ord(one[0]) if one else 400) / 400 for one in responses]


def copies(tensors: Sequence[Tensor]) -> list[Tensor]:
    return [one.detach().clone() for one in tensors]


def test_the_setting_lists_all_variants() -> None:
    assert list(get_args(GRPOSettings.model_fields["variant"].annotation)) == VARIANTS
    assert len(GRPOSettings.model_fields) < 60


@pytest.mark.parametrize("variant", [one for one in VARIANTS if one != "dapo"])
def test_every_variant_solves_a_bandit(tiny_lm: Make, tmp_path: Path, variant: str) -> None:
    """One token per response, rewarded by how low its first character is; dapo ignores such cut-off responses."""
    lm = tiny_lm()
    settings = GRPOSettings(
        **{**FAST, "steps": 12, "samples": 32, "max_new_tokens": 1, "lr": 0.03}, variant=variant, kl_coef=0.0
    )
    train_grpo(lm, PROMPTS, small_bytes, settings, tmp_path)
    rewards = [row["reward"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert rewards[0] < 0.7
    assert rewards[-1] > rewards[0] + 0.2


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_variant_learns_two_steps_that_depend_on_one_another(tiny_lm: Make, tmp_path: Path, variant: str) -> None:
    """End after a first character that is an ASCII letter; neither half is worth anything alone."""

    def reward(prompts: list[Any], responses: list[str]) -> list[float]:
        return [float(len(one) == 1 and one.isascii() and one.isalpha()) for one in responses]

    settings = GRPOSettings(
        **{**FAST, "steps": 30, "samples": 64, "max_new_tokens": 3, "lr": 0.02}, variant=variant, kl_coef=0.0
    )
    train_grpo(tiny_lm(), PROMPTS, reward, settings, tmp_path)
    rewards = [row["reward"] for row in read_metrics(tmp_path / "metrics.jsonl")]
    assert sum(rewards[:3]) / 3 < 0.2
    assert sum(rewards[-3:]) / 3 > 3 * sum(rewards[:3]) / 3 + 0.1


@pytest.mark.parametrize("variant", VARIANTS)
def test_micro_batches_and_their_order_change_nothing(tiny_lm: Make, tmp_path: Path, variant: str) -> None:
    found = []
    for max_tokens in (4096, 16):
        settings = GRPOSettings(**FAST, variant=variant, max_tokens=max_tokens, max_grad_norm=1e-3)
        train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path / str(max_tokens))
        found.append(read_metrics(tmp_path / str(max_tokens) / "metrics.jsonl")[0])
    in_loss = [] if grpo.VARIANTS[variant].kl_in_reward else ["kl_loss"]
    for name in ("policy_loss", "grad_norm", *in_loss):
        assert found[0][name] == pytest.approx(found[1][name], rel=1e-3, abs=2e-5)  # losses are differences of sums


def test_sampler_and_trainer_agree_and_the_reference_is_the_start(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.adapters.add("sft", LORA.config(), torch.Generator().manual_seed(0))
    for one in lm.adapters.parameters("sft"):
        one.data.add_(0.02)
    lm.adapters.activate("sft")
    kept = copies(lm.adapters.parameters("sft"))
    train_grpo(lm, PROMPTS, small_bytes, GRPOSettings(**FAST), tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert all(abs(row["agreement"] - 1) < 1e-4 for row in rows)
    assert rows[0]["kl"] == pytest.approx(0, abs=1e-3)
    assert rows[1]["kl_k3"] > 1e-6
    assert all(torch.equal(a, b) for a, b in zip(kept, lm.adapters.parameters("sft"), strict=True))


def next_token(lm: LanguageModel, prompt: str) -> Tensor:
    """Log-probabilities of the token after a prompt."""
    with torch.no_grad():
        hidden = lm.hidden_states(pack([Item(lm.encode_prompt(prompt), [])]))[-1]
    return (hidden @ lm.head.T).log_softmax(-1)


@pytest.mark.parametrize("variant", ["dr_grpo", "rloo", "reinforce++"])
def test_with_a_kl_penalty_the_policy_comes_to_the_known_optimum(tiny_lm: Make, tmp_path: Path, variant: str) -> None:
    """With one token per response the best policy is the reference's times exp(reward / kl_coef)."""
    lm = tiny_lm()
    coefficient = 0.05
    start = {prompt: next_token(lm, prompt) for prompt in PROMPTS}
    texts = [lm.decode([token]) for token in range(len(lm.head))]
    rewards = torch.tensor(small_bytes([], texts))
    best = {prompt: (one + rewards / coefficient).log_softmax(-1) for prompt, one in start.items()}
    settings = GRPOSettings(
        **{**FAST, "steps": 60, "samples": 64, "max_new_tokens": 1, "lr": 0.02}, variant=variant, kl_coef=coefficient
    )
    train_grpo(lm, PROMPTS, small_bytes, settings, tmp_path)
    for prompt in PROMPTS:
        found = next_token(lm, prompt)
        far = float((start[prompt].exp() * (start[prompt] - best[prompt])).sum())
        assert float((found.exp() * (found - best[prompt])).sum()) < 0.3 * far


def test_rewards_are_weighted_and_named_and_a_model_can_be_one(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.adapters.add("reward", LoraConfig(2, 4.0, ("q_proj",)), torch.Generator().manual_seed(0))
    head = torch.nn.Parameter(torch.randn(lm.hidden_size, generator=torch.Generator().manual_seed(1)))
    model = ScalarModel(lm, "reward", head, lm.layers)
    rewards = [Weighted(small_bytes, 2.0, "low"), Weighted(model, 0.5, "model")]
    train_grpo(lm, PROMPTS, rewards, GRPOSettings(**FAST), tmp_path)
    for row in read_metrics(tmp_path / "metrics.jsonl"):
        assert row["reward"] == pytest.approx(2 * row["low"] + 0.5 * row["model"], rel=1e-4)
    with pytest.raises(DataError, match="a name of its own"):
        train_grpo(lm, PROMPTS, [Weighted(small_bytes), Weighted(small_bytes)], GRPOSettings(**FAST), tmp_path / "2")


def test_the_reward_sees_each_prompt_as_given_beside_its_response(tiny_lm: Make, tmp_path: Path) -> None:
    seen: list[tuple[list[Any], list[str]]] = []
    observed: list[list[str]] = []
    chat: Any = [{"role": "user", "content": "hi"}]

    def reward(prompts: list[Any], responses: list[str]) -> list[float]:
        seen.append((prompts, responses))
        return [float(len(one)) for one in responses]

    def observe(step: int, numbers: Sequence[int], groups: Sequence[Sequence[Response]]) -> Mapping[str, float]:
        observed.append([one.text for group in groups for one in group])
        return {"gold": 1.0}

    settings = GRPOSettings(**{**FAST, "steps": 1, "prompts": 2, "samples": 3})
    train_grpo(tiny_lm(), ["ab", chat], reward, settings, tmp_path, observe=observe)
    prompts, responses = seen[0]
    assert sorted(map(str, prompts)) == sorted(map(str, ["ab"] * 3 + [chat] * 3))
    assert responses == observed[0]
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["gold"] == 1.0


@pytest.mark.parametrize(
    ("reward", "said"),
    [
        (lambda prompts, responses: [float("nan")] * len(responses), "gave nan for the response"),
        (lambda prompts, responses: [1.0], "gave 1 values for 16 responses"),
        (lambda prompts, responses: 1.0, "gave a float for 16 responses"),
        (lambda prompts, responses: ["good"] * len(responses), "must be a finite number"),
        (lambda prompts, responses: responses[0].nothing, "failed with AttributeError"),
    ],
)
def test_a_wrong_reward_is_refused_with_words(tiny_lm: Make, tmp_path: Path, reward: Any, said: str) -> None:
    with pytest.raises(DataError, match=said):
        train_grpo(tiny_lm(), PROMPTS, reward, GRPOSettings(**FAST), tmp_path)


def test_a_reward_that_never_differs_stops_and_one_that_is_won_does_not(tiny_lm: Make, tmp_path: Path) -> None:
    calls = [0]

    def won(prompts: list[Any], responses: list[str]) -> list[float]:
        calls[0] += 1
        return [float(index % 2) if calls[0] == 1 else 1.0 for index in range(len(responses))]

    settings = GRPOSettings(**{**FAST, "steps": 8, "samples": 2, "max_new_tokens": 1})
    with pytest.raises(TrainingStopped, match=r"rewards are 0\.5"):
        train_grpo(tiny_lm(), PROMPTS, lambda p, r: [0.5] * len(r), settings, tmp_path / "constant")
    assert len(read_metrics(tmp_path / "constant" / "metrics.jsonl")) == grpo.PATIENCE - 1
    assert train_grpo(tiny_lm(), PROMPTS, won, settings, tmp_path / "won")["steps"] == 8


def test_another_reward_is_another_run(tiny_lm: Make, tmp_path: Path) -> None:
    settings = GRPOSettings(**FAST)
    train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path)
    first = (tmp_path / "metrics.jsonl").read_bytes()
    train_grpo(tiny_lm(), PROMPTS, small_bytes, settings, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() == first
    train_grpo(tiny_lm(), PROMPTS, lambda p, texts: [float(len(one)) for one in texts], settings, tmp_path)
    assert (tmp_path / "metrics.jsonl").read_bytes() != first


def test_dapo_averages_over_whole_groups_that_differ(tiny_lm: Make) -> None:
    """A response whose reward is just its group's mean still counts; cut-off ones and equal groups do not."""
    packed = pack([Item([5], [[6], [7], [8]]), Item([5], [[6], [7], [8]])])
    responses = [Response([6], [0.0], index != 2, "") for index in range(6)]
    zeros = torch.zeros(6)
    rollout = Rollout([], packed, responses, zeros, zeros, zeros)
    advantages = torch.tensor([-1.0, 0.0, 0.0, 0.0, 0.0, 0.0])
    settings = GRPOSettings(variant="dapo", samples=3)
    kept = grpo._kept(rollout, advantages, settings, grpo.VARIANTS["dapo"])
    assert kept.tolist() == [True, True, False, False, False, False]


def test_settings_that_cannot_be_meant_are_refused(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    with pytest.raises(SettingsError, match="samples must be at least 2"):
        train_grpo(lm, PROMPTS, small_bytes, GRPOSettings(**{**FAST, "samples": 1}), tmp_path)
    with pytest.raises(SettingsError, match="kl_gradient has no effect"):
        train_grpo(lm, PROMPTS, small_bytes, GRPOSettings(**FAST, variant="rloo", kl_gradient="k3"), tmp_path)
    head = torch.nn.Parameter(torch.zeros(lm.hidden_size))
    model = ScalarModel(lm, None, head, lm.layers)
    with pytest.raises(SettingsError, match="trunk of its own"):
        train_grpo(lm, PROMPTS, model, GRPOSettings(**{**FAST, "lora": None}), tmp_path)
    assert not list(tmp_path.iterdir())


def test_in_full_the_frozen_copy_is_the_reference(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    before = copies(list(lm.model.parameters()))
    settings = GRPOSettings(**{**FAST, "lora": None, "lr": 1e-3, "steps": 3})
    result = train_grpo(lm, PROMPTS, small_bytes, settings, tmp_path)
    assert result["steps"] == 3
    assert read_metrics(tmp_path / "metrics.jsonl")[-1]["kl_k3"] > 1e-5
    assert not any(torch.equal(a, b) for a, b in zip(before, lm.model.parameters(), strict=True))
    assert len(sample(lm, [[5, 6]], max_new_tokens=2)) == 1
