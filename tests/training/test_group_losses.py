from __future__ import annotations

import itertools
import statistics
from typing import Any

import pytest
import torch

from kilter.models import Item, pack
from kilter.training import group_losses as losses
from kilter.training.losses import kl_k3, ppo_policy_loss

REWARDS = [1.0, 0.0, 0.5, 0.25, 2.0, 2.0, 2.0, 2.0]


def test_advantages_compare_each_response_with_its_own_group() -> None:
    given = torch.tensor(REWARDS)
    groups = [REWARDS[:4], REWARDS[4:]]
    found = {
        kind: losses.group_advantages(given, 4, kind).tolist() for kind in ("standardized", "centered", "leave_one_out")
    }
    standard = [(r - statistics.mean(g)) / (statistics.stdev(g) + 1e-4) for g in groups for r in g]
    assert found["standardized"] == pytest.approx(standard, abs=1e-6)
    assert found["centered"] == pytest.approx([r - statistics.mean(g) for g in groups for r in g], abs=1e-6)
    others = [r - (sum(g) - r) / 3 for g in groups for r in g]
    assert found["leave_one_out"] == pytest.approx(others, abs=1e-6)


def test_returns_add_up_from_each_token_to_the_end() -> None:
    per_token = torch.tensor([1.0, 2.0, 3.0, -1.0, 5.0])
    found = losses.returns_to_go(torch.tensor([10.0, 20.0]), per_token, [3, 2])
    assert found.tolist() == [16, 15, 13, 24, 25]


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


def test_the_sequence_ratio_is_the_geometric_mean_of_its_tokens() -> None:
    packed = pack([Item([5], [[6, 7], [8]])])
    logprobs = torch.tensor([-1.0, -2.0, -3.0], requires_grad=True)
    ratio = losses.sequence_ratio(logprobs, torch.tensor([-1.5, -1.0, -3.0]), packed)
    assert ratio.tolist() == pytest.approx([torch.tensor(-0.25).exp().item()] * 2 + [1.0])
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
