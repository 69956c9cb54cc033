"""Whether a rater changes over time: the second half of their work against the first.

Halves, not a slope: everybody reads them, and an interval of their difference exists for rates at 0 and 1 too. What
is compared must not have changed by itself: where uncertain or disputed items come first, later items are easier.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import REPLICATES, FloatArray, bootstrap
from kilter.stats.estimate import Estimate
from kilter.stats.intervals import numbers, wilson

LEAST = 20
"""Fewest observations: ten in each half."""


@dataclass(frozen=True)
class Drift:
    """`first`, `second`: the value in each half. `change`: their difference, or for times their ratio."""

    first: float
    second: float
    change: Estimate

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"first": self.first, "second": self.second, "change": self.change.as_dict()}


def drift_of_rate(outcomes: Sequence[float], *, seed: int = 0, replicates: int = REPLICATES) -> Drift:
    """Second half's rate minus the first's, from outcomes in [0, 1] in the order of time, one for each item.

    Yes/no outcomes get Newcombe's interval of a difference (1998, method 10), others a bootstrap. Raises `DataError`
    for fewer than 20 outcomes, or shares that do not vary.
    """
    first, second = _halves(outcomes, "outcomes")
    values = np.r_[first, second]
    if values.min() < 0 or values.max() > 1:
        raise DataError(f"Outcomes of a rate lie between 0 and 1, not {values.min()} to {values.max()}.")
    if np.all((values == 0) | (values == 1)):
        change = difference_of_rates(first, second)
    else:
        change = _resampled(first, second, seed, replicates)
    return Drift(float(first.mean()), float(second.mean()), change)


def drift_of_time(seconds: Sequence[float], *, seed: int = 0, replicates: int = REPLICATES) -> Drift:
    """Second half's typical time over the first's, from seconds in the order of time: 0.5 is twice as fast.

    Typical is the geometric mean, which one long pause does not move much. Raises `DataError` for fewer than 20
    times, times that are not positive, or times that do not vary.
    """
    first, second = _halves(seconds, "times")
    if min(first.min(), second.min()) <= 0:
        raise DataError("A time per item must be more than 0 seconds; leave the others out.")
    logs = np.log(first), np.log(second)
    found = _resampled(*logs, seed, replicates)
    low, value, high = np.exp([found.low, found.value, found.high])
    change = Estimate(float(value), float(low), float(high), found.n, f"ratio of geometric means, {found.method}")
    return Drift(float(np.exp(logs[0].mean())), float(np.exp(logs[1].mean())), change)


def difference_of_rates(first: Sequence[float] | FloatArray, second: Sequence[float] | FloatArray) -> Estimate:
    """Rate of `second` minus that of `first`, of independent yes/no trials, with Newcombe's interval."""
    one, other = (wilson(float(np.sum(trials)), len(trials)) for trials in (first, second))
    value = other.value - one.value
    low = value - float(np.hypot(other.value - other.low, one.high - one.value))
    high = value + float(np.hypot(other.high - other.value, one.value - one.low))
    return Estimate(value, max(-1.0, low), min(1.0, high), one.n + other.n, "difference of rates, Newcombe")


def _halves(values: Sequence[float], what: str) -> tuple[FloatArray, FloatArray]:
    if len(values) < LEAST:
        raise DataError(f"A change over time is refused: {len(values)} {what} are too few; {LEAST} are the least.")
    data = numbers(values, what)
    middle = len(data) // 2
    return data[:middle], data[middle:]


def _resampled(first: FloatArray, second: FloatArray, seed: int, replicates: int) -> Estimate:
    values = np.r_[first, second]
    if np.ptp(values) == 0:
        raise DataError(f"A change over time is refused: all {len(values)} values are {values[0]:.3g}.")
    early = (np.arange(len(values)) < len(first)).astype(np.float64)

    def difference(weights: FloatArray) -> FloatArray:
        before, after = weights * early, weights * (1 - early)
        with np.errstate(invalid="ignore", divide="ignore"):
            change: FloatArray = after @ values / after.sum(1) - before @ values / before.sum(1)
        return change[:, None]

    found = bootstrap(difference, len(values), seed=seed, replicates=replicates, rows=len(values))
    low, high = found.bca()
    return Estimate(
        float(found.point[0]), low, high, len(values), f"second half against first, {found.describe('BCa')}"
    )
