from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from torch.nn.functional import logsigmoid

from kilter.errors import DataError, SettingsError
from kilter.judges import Comparison, Opinion
from kilter.models import Item, LanguageModel, pack, packed_logprobs
from kilter.training import LoraSettings, OnlineDPOSettings, Policy, online_dpo, train_online_dpo
from kilter.training.loop import Loop, read_metrics
from kilter.training.rollout import read_rollout, sample_responses
from kilter.training.rollout_loop import accumulate

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
PROMPTS = ["ab", "c", "hello", "x y"]
FAST: dict[str, Any] = {
    "lr": 0.03, "steps": 12, "prompts": 4, "samples": 8, "max_new_tokens": 2, "lora": LORA, "warmup": 0.0, "seed": 1,
    "min_entropy": 0.0, "max_kl": 1e6,
}  # fmt: skip


class LowBytes:
    """Prefers responses that begin with a low byte; a tie where all begin alike."""

    name = "low bytes"
    principal = "program"

    def judge(self, comparisons: Sequence[Comparison], seed: int) -> list[Opinion]:
        return [self._one([first_byte(one.text) for one in comparison.responses]) for comparison in comparisons]

    def _one(self, firsts: list[int]) -> Opinion:
        if len(set(firsts)) == 1:
            return Opinion("tie")
        order = sorted(range(len(firsts)), key=firsts.__getitem__)
        return Opinion(order[0] if len(order) == 2 else tuple(order))


def first_byte(text: str) -> int:
    return min(ord(text[0]), 300) if text else 400


def low_bytes(prompts: list[Any], responses: list[str]) -> list[float]:
    return [1 - first_byte(one) / 400 for one in responses]


def test_the_losses_are_all_there() -> None:
    assert list(get_args(OnlineDPOSettings.model_fields["loss"].annotation)) == list(online_dpo.LOSSES)


@pytest.mark.parametrize("loss", online_dpo.LOSSES)
@pytest.mark.parametrize("judge", [low_bytes, LowBytes()], ids=["reward", "judge"])
def test_it_learns_what_the_judge_likes(tiny_lm: Make, tmp_path: Path, loss: Any, judge: Any) -> None:
    scores: list[float] = []

    def observe(step: int, numbers: Sequence[int], responses: Any) -> dict[str, float]:
        values = low_bytes([], [one.text for group in responses for one in group])
        scores.append(sum(values) / len(values))
        return {"gold": scores[-1]}

    settings = OnlineDPOSettings(**{**FAST, "steps": 25, "prompts": 24}, loss=loss)
    train_online_dpo(tiny_lm(), PROMPTS * 6, judge, settings, tmp_path, observe=observe)
    assert sum(scores[-5:]) / 5 > sum(scores[:5]) / 5 + 0.05
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert all(0 <= row["ties"] <= 1 for row in rows)
    assert rows[0]["margin"] == pytest.approx(0, abs=1e-5)
    assert rows[1]["margin"] != pytest.approx(0, abs=1e-5)


def test_a_judge_of_two_is_enough(tiny_lm: Make, tmp_path: Path) -> None:
    settings = OnlineDPOSettings(**{**FAST, "samples": 2, "steps": 2, "epochs": 2, "minibatches": 2})
    result = train_online_dpo(tiny_lm(), PROMPTS, LowBytes(), settings, tmp_path)
    assert result["steps"] == 2


def test_the_loss_and_its_gradient_are_dpos_on_each_pair_alone(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    policy, reference = Policy.with_reference(lm, "online-dpo", LORA, 0)
    for index, parameter in enumerate(policy.parameters()):
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    settings = OnlineDPOSettings(**{**FAST, "samples": 3, "max_new_tokens": 6, "max_tokens": 16}, beta=0.3)
    loop = Loop(tmp_path, "online-dpo", 1, "print", {})
    encoded = [lm.encode_prompt(prompt) for prompt in PROMPTS]
    responses = sample_responses(policy, encoded, settings, 0, loop)
    rollout, _ = read_rollout(policy, reference, encoded, responses, settings, 0, loop, score=False)
    pairs = torch.tensor([[2, 0], [-1, -1], [1, 2], [0, 1]])
    got = accumulate(
        policy, rollout, settings, [3, 0, 1, 2], loop, lambda part: online_dpo._backward(part, rollout, pairs, settings)
    )
    ours = torch.cat([one.grad.flatten() for one in policy.parameters() if one.grad is not None])
    lm.model.zero_grad()
    losses = []
    for prompt, group, (better, worse) in zip(encoded, responses, pairs.tolist(), strict=True):
        if better < 0:
            continue
        ratios = []
        for one in (group[better], group[worse]):
            packed = pack([Item(prompt, [one.tokens])])
            with reference.active(), torch.no_grad():
                ref = packed_logprobs(lm, packed)[0].sum()
            with policy.active():
                ratios.append(packed_logprobs(lm, packed)[0].sum() - ref)
        losses.append(-logsigmoid(0.3 * (ratios[0] - ratios[1])))
    torch.stack(losses).mean().backward()  # type: ignore[no-untyped-call]
    theirs = torch.cat([one.grad.flatten() for one in policy.parameters() if one.grad is not None])
    assert got["loss"] == pytest.approx(float(torch.stack(losses).mean().detach()), rel=1e-5)
    assert float((ours - theirs).norm() / theirs.norm()) < 1e-4


def test_a_batch_without_a_choice_changes_nothing(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    settings = OnlineDPOSettings(**{**FAST, "steps": 2})
    train_online_dpo(lm, PROMPTS, lambda p, r: [1.0] * len(r), settings, tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert [row["ties"] for row in rows] == [1.0, 1.0]
    assert rows[1]["kl"] == pytest.approx(0, abs=1e-5)


def test_a_judge_that_skips_comparisons_is_an_error(tiny_lm: Make, tmp_path: Path) -> None:
    class Lazy(LowBytes):
        def judge(self, comparisons: Sequence[Comparison], seed: int) -> list[Opinion]:
            return super().judge(comparisons[1:], seed)

    with pytest.raises(DataError, match="low bytes gave 3 opinions on 4 comparisons"):
        train_online_dpo(tiny_lm(), PROMPTS, Lazy(), OnlineDPOSettings(**FAST), tmp_path)


def test_a_cost_of_length_needs_a_reward(tiny_lm: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="length_coef is taken from a reward"):
        train_online_dpo(tiny_lm(), ["ab"], LowBytes(), OnlineDPOSettings(length_coef=0.5), tmp_path)
