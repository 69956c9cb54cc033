"""Win rate at equal length: what remains of a preference when length no longer speaks.

The model is that of length-controlled AlpacaEval (Dubois et al., arXiv 2404.04475) without its term for the
difficulty of an instruction, which needs a leaderboard of other models to estimate:

    logit P(candidate wins) = a + b * tanh(d / sd(d)),   d = candidate's length - reference's length

and the length-controlled win rate is sigmoid(a), the prediction at d = 0. Ties enter as one half. The
bootstrap repeats the whole fit, the standard deviation included.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from kilter.errors import DataError
from kilter.stats.bootstrap import REPLICATES, FloatArray, bootstrap, cluster_codes
from kilter.stats.estimate import Estimate
from kilter.stats.intervals import numbers

RIDGE = 0.01
"""Penalty on a and b: nothing beside thirty comparisons, yet it keeps a separated replicate finite."""

MIN_EACH_WAY = 5
"""Comparisons required with the candidate no longer, and with it no shorter: d = 0 is inside the data."""


@dataclass(frozen=True)
class LengthControl:
    """`rate`: win rate predicted at equal length. `length_effect`: b, in log odds per unit of tanh."""

    rate: Estimate
    length_effect: Estimate


def length_controlled_win_rate(
    outcomes: Sequence[float],
    candidate_lengths: Sequence[float],
    reference_lengths: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> LengthControl:
    """Fit the model above and predict at equal length; lengths in tokens or characters, outcomes in [0, 1].

    Raises `DataError` when the rate is not identifiable: every outcome the same, lengths that never differ,
    the candidate nearly always longer (or shorter), or outcomes that length alone separates.
    """
    won = numbers(outcomes, "outcomes")
    gaps = numbers(candidate_lengths, "lengths") - numbers(reference_lengths, "lengths")
    if gaps.shape != won.shape or won.min() < 0 or won.max() > 1:
        raise DataError("Length control needs one outcome in [0, 1] and two lengths for each comparison.")
    _require_identifiable(won, gaps)
    codes, count = cluster_codes(clusters, len(won))

    def refit(weights: FloatArray) -> FloatArray:
        intercept, slope = _fit(weights[:, codes], gaps, won)
        return np.stack([expit(intercept), slope], axis=1)

    resampled = bootstrap(refit, count, seed=seed, replicates=replicates, rows=len(won))
    method = f"logistic regression, {resampled.describe('BCa', len(won))}"
    rate, effect = (
        Estimate(float(resampled.point[column]), *resampled.bca(column), len(won), method) for column in (0, 1)
    )
    return LengthControl(rate, effect)


def _fit(weights: FloatArray, gaps: FloatArray, won: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Weighted logistic regressions by Newton's method, one per row of `weights` `[batch, n]`."""
    total = weights.sum(1)
    mean = weights @ gaps / total
    deviation = np.sqrt(np.maximum(weights @ gaps**2 / total - mean**2, 1e-12))
    x = np.tanh(gaps / deviation[:, None])
    intercept, slope = np.zeros(len(weights)), np.zeros(len(weights))
    for _ in range(50):
        chance = expit(intercept[:, None] + slope[:, None] * x)
        residual = weights * (won - chance)
        curve = weights * chance * (1 - chance)
        gradient_a = residual.sum(1) - RIDGE * intercept
        gradient_b = (residual * x).sum(1) - RIDGE * slope
        aa, ab, bb = curve.sum(1) + RIDGE, (curve * x).sum(1), (curve * x * x).sum(1) + RIDGE
        determinant = aa * bb - ab * ab
        # Steps are bounded because a full Newton step can overshoot where the curvature is nearly gone.
        step_a = np.clip((bb * gradient_a - ab * gradient_b) / determinant, -2, 2)
        step_b = np.clip((aa * gradient_b - ab * gradient_a) / determinant, -2, 2)
        intercept, slope = intercept + step_a, slope + step_b
        if max(np.abs(step_a).max(), np.abs(step_b).max()) < 1e-9:
            break
    return intercept, slope


def _require_identifiable(won: FloatArray, gaps: FloatArray) -> None:
    refused = "The length-controlled win rate is refused: "
    if won.min() == won.max():
        word = "tied" if won[0] == 0.5 else "won" if won[0] > 0.5 else "lost"
        raise DataError(f"{refused}the candidate {word} every comparison, so no effect of length can be told apart.")
    if np.ptp(gaps) == 0:
        raise DataError(
            f"{refused}the difference in length is {gaps[0]:g} in every comparison, so it explains nothing."
        )
    shorter, longer = int(np.sum(gaps <= 0)), int(np.sum(gaps >= 0))
    if min(shorter, longer) < MIN_EACH_WAY:
        word, rare = ("longer", shorter) if shorter < longer else ("shorter", longer)
        raise DataError(
            f"{refused}the candidate's response is {word} in all but {rare} of {len(gaps)} comparisons, so "
            f"equal length would be an extrapolation. At least {MIN_EACH_WAY} comparisons each way are "
            "needed."
        )
    wins_at, losses_at = gaps[won > 0], gaps[won < 1]
    if losses_at.max() <= wins_at.min() or wins_at.max() <= losses_at.min():
        raise DataError(
            f"{refused}length alone separates every win from every loss, so the regression has no finite "
            "solution. Report the raw win rate and say that the judge follows length."
        )
