from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import LIKED, comparisons
from torch import Tensor

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, pack, score
from kilter.models.flops import Compute, forward_flops
from kilter.training import DPOSettings, LoraSettings, Policy, RankedItem, dpo, train_dpo
from kilter.training.loop import Loop, read_metrics
from kilter.training.reference import FILE, reference_logprobs

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
FAST: dict[str, Any] = {"lr": 0.01, "batch_size": 8, "lora": LORA, "seed": 5}
LOSSES = ("dpo", "robust", "ipo", "hinge", "simpo", "orpo")


def gradients(policy: Policy) -> Tensor:
    return torch.cat([one.grad.flatten() for one in policy.parameters() if one.grad is not None])


def moved(lm: LanguageModel) -> Policy:
    """A policy that is no longer its reference."""
    policy = Policy.create(lm, "dpo", LORA, 0)
    for index, parameter in enumerate(policy.parameters()):
        parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    return policy


@pytest.mark.parametrize("loss", LOSSES)
def test_learns_a_planted_preference(tiny_lm: Make, tmp_path: Path, loss: Any) -> None:
    settings = DPOSettings(**FAST, epochs=3, loss=loss)
    heldout = comparisons(32, first=10_000)
    result = train_dpo(tiny_lm(), comparisons(96), settings, tmp_path, heldout=heldout)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert result["steps"] == 36
    assert rows[-1]["margin"] > rows[0]["margin"]
    assert result["heldout_accuracy"] > 0.8


@pytest.mark.parametrize("loss", LOSSES)
def test_a_batchs_gradient_is_that_of_all_pairs_one_by_one(tiny_lm: Make, tmp_path: Path, loss: Any) -> None:
    """Each response in a forward pass of its own, in any cut into micro-batches; each prompt has the same say."""
    items = comparisons(3)
    items.append(RankedItem(Item([70, 71], [[LIKED, 2], [80, 81, 2], [82, 2]]), ((0, 2),)))
    policy = moved(tiny_lm())
    settings = DPOSettings(**FAST, loss=loss, sft_coef=0.0 if loss == "orpo" else 0.3)
    zero = loss in dpo.WITHOUT_REFERENCE
    generator = torch.Generator().manual_seed(3)
    reference = [(0 if zero else 1) * torch.randn(len(one.item.responses), generator=generator) for one in items]
    total = torch.zeros(())
    nll, tokens = torch.zeros(()), 0
    for one, refs in zip(items, reference, strict=True):
        parts = []
        for response in one.item.responses:
            packed = dpo.pack([Item(one.item.prompt, [response])])
            parts.append(dpo.packed_logprobs(policy.lm, packed)[0])
        ratios = [part.sum() - ref for part, ref in zip(parts, refs, strict=True)]
        if loss in dpo.PER_TOKEN:
            ratios = [ratio / len(part) for ratio, part in zip(ratios, parts, strict=True)]
        for better, worse in one.pairs:
            each = dpo.pair_loss(ratios[better][None], ratios[worse][None], settings)[0]
            total = total + each / len(one.pairs) / len(items)
        for winner in {better for better, _ in one.pairs}:
            nll, tokens = nll - parts[winner].sum(), tokens + len(parts[winner])
    expected = settings.beta * total + nll / tokens if loss == "orpo" else total + settings.sft_coef * nll / tokens
    expected.backward()  # type: ignore[no-untyped-call]
    naive = gradients(policy)
    for max_tokens in (4096, 40, 16):
        policy.lm.model.zero_grad()
        chosen = settings.model_copy(update={"max_tokens": max_tokens})
        sums = dpo._accumulate(policy, items, reference, chosen, Loop(tmp_path, "dpo", 1, "print", {}))
        assert sums.loss == pytest.approx(float(expected.detach()), rel=1e-5)
        assert float((gradients(policy) - naive).norm() / naive.norm()) < 1e-5


def test_the_first_margins_are_zero_because_the_reference_is_the_start(tiny_lm: Make, tmp_path: Path) -> None:
    train_dpo(tiny_lm(), comparisons(8), DPOSettings(**FAST), tmp_path)
    first = read_metrics(tmp_path / "metrics.jsonl")[0]
    assert first["margin"] == pytest.approx(0, abs=1e-4)
    assert first["loss"] == pytest.approx(0.693147, abs=1e-4)
    assert not (tmp_path / FILE).exists()


def test_the_reference_is_read_again_only_where_it_fits(tiny_lm: Make, tmp_path: Path) -> None:
    policy = moved(tiny_lm())
    items = [one.item for one in comparisons(3)]
    found = reference_logprobs(policy, items, tmp_path, "one", 30, Compute())
    expected = [torch.stack([part.sum() for part in one.logprobs]) for one in score(policy.lm, items)]
    for ours, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)
    for parameter in policy.parameters():
        parameter.data.zero_()
    again = reference_logprobs(policy, items, tmp_path, "one", 30, Compute())
    assert all(torch.equal(a, b) for a, b in zip(found, again, strict=True))
    other = reference_logprobs(policy, items, tmp_path, "two", 30, Compute())
    assert not torch.equal(found[0], other[0])
    (tmp_path / FILE).write_bytes(b"half a file")
    assert torch.equal(reference_logprobs(policy, items, tmp_path, "two", 30, Compute())[0], other[0])


def test_what_the_reference_cost_counts_once_however_often_a_run_begins(tiny_lm: Make, tmp_path: Path) -> None:
    policy = moved(tiny_lm())
    items = [one.item for one in comparisons(3)]
    packed = pack(items)
    for _ in range(2):  # computed, then read
        cost = Compute()
        reference_logprobs(policy, items, tmp_path, "one", 10_000, cost)
        assert cost.flops == pytest.approx(forward_flops(policy.lm, packed, labels=packed.targets.numel()))
        assert cost.tokens == packed.size


@pytest.mark.parametrize(
    "settings",
    [
        {"loss": "simpo", "label_noise": 0.1},
        {"loss": "ipo", "length_normalized": True},
        {"loss": "dpo", "margin": 2.0},
        {"loss": "orpo", "sft_coef": 0.5},
    ],
    ids=str,
)
def test_a_setting_without_effect_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="has no effect"):
        DPOSettings(**settings)


def test_ties_alone_and_nothing_are_refused(tiny_lm: Make, tmp_path: Path) -> None:
    tie = RankedItem(Item([70, 71], [[72, 2], [73, 2]]), ())
    with pytest.raises(DataError, match="all are ties"):
        train_dpo(tiny_lm(), [tie], DPOSettings(**FAST), tmp_path)
    with pytest.raises(DataError, match="data set is empty"):
        train_dpo(tiny_lm(), [], DPOSettings(**FAST), tmp_path)
