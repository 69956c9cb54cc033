"""Each function against a reference written differently: scalars, loops, float64."""

from __future__ import annotations

import itertools
import math
import statistics
from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kilter.models import Item, pack
from kilter.training import group_losses as losses
from kilter.training.losses import kl_k3, ppo_policy_loss

REWARDS = [1.0, 0.0, 0.5, 0.25, 2.0, 2.0, 2.0, 2.0]
COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def draws(size: int, *seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum((number + 1) * 1009**place for place, number in enumerate(seed)))
    return torch.randn(size, generator=generator, dtype=torch.float64)


def test_advantages_compare_each_response_with_its_own_group() -> None:
    rewards = torch.tensor(REWARDS, dtype=torch.float64)
    groups = [REWARDS[:4], REWARDS[4:]]
    found = {
        kind: losses.group_advantages(rewards, 4, kind).tolist()
        for kind in ("standardized", "centered", "leave_one_out")
    }
    standard = [(r - statistics.mean(g)) / (statistics.stdev(g) + 1e-4) for g in groups for r in g]
    assert found["standardized"] == pytest.approx(standard, abs=1e-12)
    assert found["centered"] == pytest.approx([r - statistics.mean(g) for g in groups for r in g], abs=1e-12)
    others = [r - (sum(g) - r) / 3 for g in groups for r in g]
    assert found["leave_one_out"] == pytest.approx(others, abs=1e-12)


def test_returns_add_up_from_each_token_to_the_end() -> None:
    per_token = torch.tensor([1.0, 2.0, 3.0, -1.0, 5.0])
    found = losses.returns_to_go(torch.tensor([10.0, 20.0]), per_token, [3, 2])
    assert found.tolist() == [16, 15, 13, 24, 25]


@given(COUNTS, st.integers(0, 99))
def test_returns_are_what_is_still_to_come(counts: list[int], seed: int) -> None:
    rewards, per_token = draws(len(counts), seed, 1), draws(sum(counts), seed, 2)
    found, start = losses.returns_to_go(rewards, per_token, counts).tolist(), 0
    for number, count in enumerate(counts):
        for t in range(start, start + count):
            expected = sum(per_token[t : start + count].tolist()) + float(rewards[number])
            assert found[t] == pytest.approx(expected, abs=1e-12)
        start += count


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("response", [1 / 4, 1 / 4, 1 / 2, 0, 0, 0]),
        ("token", [1 / 3, 1 / 3, 1 / 3, 0, 0, 0]),
        ("constant", [1 / 20, 1 / 20, 1 / 20, 0, 0, 0]),
        ("sequence", [1 / 2, 1 / 2, 1 / 2, 0, 0, 0]),
    ],
)
def test_weights_of_tokens(kind: Any, expected: list[float]) -> None:
    found = losses.token_weights(torch.tensor([2, 1, 3]), torch.tensor([True, True, False]), kind, 10)
    assert found.tolist() == pytest.approx(expected)


@given(COUNTS, st.data(), st.integers(1, 9))
def test_a_weighted_sum_is_the_mean_that_its_name_says(counts: list[int], data: st.DataObject, spare: int) -> None:
    kept = data.draw(st.lists(st.booleans(), min_size=len(counts), max_size=len(counts)).filter(any))
    values, longest = draws(sum(counts), len(counts)), max(counts) + spare
    parts = [part.tolist() for part in torch.split(values, counts)]
    parts = [part for part, wanted in zip(parts, kept, strict=True) if wanted]
    expected = {
        "response": statistics.mean(statistics.mean(part) for part in parts),
        "token": statistics.mean(value for part in parts for value in part),
        "constant": statistics.mean(sum(part) / longest for part in parts),
        "sequence": statistics.mean(sum(part) for part in parts),
    }
    for kind, mean in expected.items():
        weights = losses.token_weights(torch.tensor(counts), torch.tensor(kept), kind, longest)  # type: ignore[arg-type]
        assert float((values * weights).sum()) == pytest.approx(mean, abs=1e-5)  # weights are float32


def test_the_sequence_ratio_is_the_geometric_mean_of_its_tokens() -> None:
    packed = pack([Item([5], [[6, 7], [8]])])
    logprobs = torch.tensor([-1.0, -2.0, -3.0], dtype=torch.float64, requires_grad=True)
    old = torch.tensor([-1.5, -1.0, -3.0], dtype=torch.float64)
    ratio = losses.sequence_ratio(logprobs, old, packed)
    geometric = math.sqrt(math.exp(0.5) * math.exp(-1.0))
    assert ratio.tolist() == pytest.approx([geometric] * 2 + [1.0], rel=1e-12)
    ratio[0].backward()  # type: ignore[no-untyped-call]
    assert logprobs.grad is not None
    assert logprobs.grad.tolist() == pytest.approx([ratio[0].item() / 2] * 2 + [0.0])


def test_the_clipped_loss_is_ppos_where_both_bounds_are_the_same() -> None:
    generator = torch.Generator().manual_seed(0)
    logprobs, old, advantages = (torch.randn(50, generator=generator) for _ in range(3))
    ours, clipped = losses.clipped_loss(torch.exp(logprobs - old), advantages, 0.2, 0.2)
    theirs, theirs_clipped = ppo_policy_loss(logprobs, old, advantages, 0.2)
    torch.testing.assert_close(ours, theirs)
    assert torch.equal(clipped, theirs_clipped)
    further, _ = losses.clipped_loss(torch.tensor([1.5]), torch.tensor([1.0]), 0.2, 0.28)
    assert further.tolist() == pytest.approx([-1.28])


@given(st.integers(0, 199), st.floats(0.05, 0.5), st.floats(0.05, 0.9))
def test_each_bound_holds_on_its_own_side(seed: int, low: float, high: float) -> None:
    """In words: no reward for going further than the bound in the direction that the advantage asks for."""
    ratio, advantages = draws(8, seed, 3).exp().requires_grad_(), draws(8, seed, 4)
    loss, clipped = losses.clipped_loss(ratio, advantages, low, high)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert ratio.grad is not None
    for index, (r, a) in enumerate(zip(ratio.tolist(), advantages.tolist(), strict=True)):
        bound = 1 + high if a > 0 else 1 - low
        beyond = r > bound if a > 0 else r < bound
        assert float(loss[index].detach()) == pytest.approx(-a * (bound if beyond else r), rel=1e-12)
        assert float(ratio.grad[index]) == pytest.approx(0 if beyond else -a, rel=1e-12)
        assert bool(clipped[index]) == beyond


@given(st.integers(0, 99))
def test_for_an_older_policys_samples_the_kls_push_is_weighted_by_the_ratio(seed: int) -> None:
    new, ref, old = draws(6, seed, 5).requires_grad_(), draws(6, seed, 6), draws(6, seed, 7)
    for gradient in ("exact", "k3"):
        new.grad = None
        value = losses.kl_loss(new, ref, old, gradient)  # type: ignore[arg-type]
        value.sum().backward()  # type: ignore[no-untyped-call]
        assert new.grad is not None
        for index, (p, q, o) in enumerate(zip(new.tolist(), ref.tolist(), old.tolist(), strict=True)):
            assert float(value[index].detach()) == pytest.approx(math.exp(q - p) - 1 - (q - p), rel=1e-9, abs=1e-12)
            push = math.exp(p - o) * (p - q) if gradient == "exact" else 1 - math.exp(q - p)
            assert float(new.grad[index]) == pytest.approx(push, rel=1e-9, abs=1e-12)


@pytest.mark.parametrize("gradient", ["exact", "k3"])
def test_the_kls_value_and_gradient_by_enumeration(gradient: Any) -> None:
    """All two-token responses of a three-word vocabulary, each weighted with the probability of being sampled."""
    generator = torch.Generator().manual_seed(1)
    first = torch.randn(3, generator=generator, dtype=torch.float64, requires_grad=True)
    second = torch.randn(3, 3, generator=generator, dtype=torch.float64, requires_grad=True)
    ref_first, ref_second = (torch.randn_like(one, requires_grad=False) for one in (first, second))

    def of(one: torch.Tensor, two: torch.Tensor, a: int, b: int) -> torch.Tensor:
        return torch.stack([one.log_softmax(-1)[a], two[a].log_softmax(-1)[b]])

    estimate, value = torch.zeros((), dtype=torch.float64), torch.zeros((), dtype=torch.float64)
    for a, b in itertools.product(range(3), repeat=2):
        policy, ref = of(first, second, a, b), of(ref_first, ref_second, a, b)
        sampled = policy.sum().exp().detach()
        estimate = estimate + sampled * losses.kl_loss(policy, ref, policy.detach(), gradient).sum()
        value = value + sampled * kl_k3(policy, ref).sum().detach()
    # The KL of each token's distribution, given where the policy went before.
    p = first.log_softmax(-1)
    truth = (p.exp() * (p - ref_first.log_softmax(-1))).sum()
    q = second.log_softmax(-1)
    truth = truth + p.exp().detach() @ (q.exp() * (q - ref_second.log_softmax(-1))).sum(-1)
    assert float(estimate.detach()) == pytest.approx(float(truth.detach()))
    assert float(value) == pytest.approx(float(truth.detach()))
    ours = torch.autograd.grad(estimate, [first, second])
    true = torch.autograd.grad(truth, [first, second])
    assert all(torch.allclose(one, other) == (gradient == "exact") for one, other in zip(ours, true, strict=True))
