"""Each loss against its formula written out with Python's own floats."""

from __future__ import annotations

import math
from collections.abc import Callable

import pytest
import torch

from kilter.training import preference_losses as losses

BETTER = [-3.0, 1.5, 0.2, -0.7]
WORSE = [-2.0, -1.0, 0.2, -4.0]


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


def tensors() -> tuple[torch.Tensor, torch.Tensor]:
    return torch.tensor(BETTER, dtype=torch.float64), torch.tensor(WORSE, dtype=torch.float64)


CASES: dict[str, tuple[Callable[..., torch.Tensor], tuple[float, ...], Callable[[float, float], float]]] = {
    "dpo": (losses.dpo_loss, (0.3,), lambda b, w: -math.log(sigmoid(0.3 * (b - w)))),
    "conservative dpo": (
        losses.dpo_loss, (0.3, 0.2),
        lambda b, w: -0.8 * math.log(sigmoid(0.3 * (b - w))) - 0.2 * math.log(sigmoid(-0.3 * (b - w))),
    ),
    "robust dpo": (
        losses.robust_dpo_loss, (0.3, 0.2),
        lambda b, w: (-0.8 * math.log(sigmoid(0.3 * (b - w))) + 0.2 * math.log(sigmoid(-0.3 * (b - w)))) / 0.6,
    ),
    "ipo": (losses.ipo_loss, (0.3,), lambda b, w: (b - w - 1 / 0.6) ** 2),
    "hinge": (losses.hinge_loss, (0.3,), lambda b, w: max(0.0, 1 - 0.3 * (b - w))),
    "simpo": (losses.simpo_loss, (2.0, 0.5), lambda b, w: -math.log(sigmoid(2 * (b - w) - 0.5))),
}  # fmt: skip


@pytest.mark.parametrize("name", CASES)
def test_equals_its_formula(name: str) -> None:
    function, settings, formula = CASES[name]
    expected = [formula(b, w) for b, w in zip(BETTER, WORSE, strict=True)]
    torch.testing.assert_close(function(*tensors(), *settings), torch.tensor(expected, dtype=torch.float64))


@pytest.mark.parametrize("name", CASES)
def test_pushes_as_its_formulas_differences_do(name: str) -> None:
    function, settings, formula = CASES[name]
    better, worse = (one.requires_grad_() for one in tensors())
    function(better, worse, *settings).sum().backward()
    assert better.grad is not None
    step = 1e-6
    expected = [(formula(b + step, w) - formula(b - step, w)) / (2 * step) for b, w in zip(BETTER, WORSE, strict=True)]
    assert better.grad.tolist() == pytest.approx(expected, rel=1e-6, abs=1e-8)
    assert worse.grad is not None
    assert torch.equal(worse.grad, -better.grad)


def test_robust_dpo_is_unbiased_under_swapped_labels() -> None:
    """Its mean over the noise is the loss of clean labels."""
    better, worse = tensors()
    noisy = 0.7 * losses.robust_dpo_loss(better, worse, 0.4, 0.3) + 0.3 * losses.robust_dpo_loss(
        worse, better, 0.4, 0.3
    )
    torch.testing.assert_close(noisy, losses.dpo_loss(better, worse, 0.4))


def test_odds_ratio_equals_its_formula_and_stays_finite() -> None:
    better, worse = [-0.1, -2.0, -1e-9], [-0.5, -0.3, -30.0]
    given = [torch.tensor(values, dtype=torch.float64) for values in (better, worse)]

    def odds(logprob: float) -> float:
        return math.exp(logprob) / (1 - math.exp(logprob))

    expected = [-math.log(sigmoid(math.log(odds(b) / odds(w)))) for b, w in zip(better[:2], worse[:2], strict=True)]
    found = losses.odds_ratio_loss(*given)
    torch.testing.assert_close(found[:2], torch.tensor(expected, dtype=torch.float64))
    assert bool(torch.isfinite(found).all())


def test_kto_pulls_each_kind_its_own_way() -> None:
    ratio = torch.tensor([0.5, 0.5, -1.0], dtype=torch.float64, requires_grad=True)
    desirable = torch.tensor([True, False, False])
    found = losses.kto_loss(ratio, desirable, torch.tensor(0.2), 0.1)
    expected = [1 - sigmoid(0.1 * 0.3), 1 - sigmoid(-0.1 * 0.3), 1 - sigmoid(0.1 * 1.2)]
    torch.testing.assert_close(found.detach(), torch.tensor(expected, dtype=torch.float64))
    found.sum().backward()  # type: ignore[no-untyped-call]
    assert ratio.grad is not None
    assert ratio.grad[0] < 0 < ratio.grad[1]
