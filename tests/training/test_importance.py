from __future__ import annotations

import math

import pytest
import torch

from kilter.training.importance import CAP, importance_metrics, importance_weights


def test_weights_are_the_capped_ratio() -> None:
    old = torch.tensor([-1.0, -1.0, -1.0, -1.0, -0.0])
    sampled = torch.tensor([-1.0, -2.0, -0.5, math.nan, -100.0])
    weights = importance_weights(old, sampled)
    assert weights.tolist() == pytest.approx([1.0, CAP, math.exp(-0.5), 1.0, CAP])
    assert importance_metrics(weights) == {
        "importance": pytest.approx((2 + 2 * CAP + math.exp(-0.5)) / 5), "importance_capped": pytest.approx(0.4)
    }  # fmt: skip


def test_weights_against_a_loop_in_float64() -> None:
    generator = torch.Generator().manual_seed(0)
    old, sampled = (torch.randn(50, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = [min(math.exp(a - b), CAP) for a, b in zip(old.tolist(), sampled.tolist(), strict=True)]
    assert importance_weights(old, sampled).tolist() == pytest.approx(expected, rel=1e-12)


def test_weighted_by_it_samples_of_another_have_the_policys_mean() -> None:
    """By enumeration: where the cap is not reached, the sum over tokens of q * weight * f is that of p * f."""
    p, q = torch.tensor([0.5, 0.3, 0.2]).log(), torch.tensor([0.4, 0.3, 0.3]).log()
    values = torch.tensor([1.0, -2.0, 5.0])
    weighted = (q.exp() * importance_weights(p, q) * values).sum()
    assert float(weighted) == pytest.approx(float((p.exp() * values).sum()))
