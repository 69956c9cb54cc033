"""Before an experiment: how likely it is to show the effect that it looks for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.stats import norm

from kilter.errors import DataError
from kilter.stats.bootstrap import FloatArray, IntArray


@dataclass(frozen=True)
class Design:
    """Who will judge what with which help, and what is expected.

    Attributes:
        arms, raters, items: [N] numbers from 0, the baseline's arm 0.
        rate: count per trial of the baseline.
        rater_spread, item_spread: standard deviations on the log scale.
    """

    arms: IntArray
    raters: IntArray
    items: IntArray
    rate: float
    rater_spread: float
    item_spread: float


def power(design: Design, ratio: float, *, level: float = 0.05) -> float:
    """The chance that the mixed Poisson model tells `ratio` of an arm's rate to the baseline's from 1.

    From the expected information of the design under the model, two-sided Wald test; the arm with the fewest trials
    counts.

    Raises:
        DataError: a ratio, rate or spread that is not positive, or a design without a second arm.
    """
    if min(ratio, design.rate, design.rater_spread, design.item_spread) <= 0:
        raise DataError("Power needs a ratio, a rate and spreads above 0.")
    if design.arms.max(initial=0) < 1:
        raise DataError("Power needs an arm beside the baseline.")
    worst = max(_errors(design, ratio))
    z = norm.ppf(1 - level / 2)
    effect = abs(np.log(ratio)) / worst
    return float(norm.cdf(effect - z) + norm.cdf(-effect - z))


def _errors(design: Design, ratio: float) -> list[float]:
    """Standard error of each arm's log ratio."""
    arms, raters, items = (int(one.max()) + 1 for one in (design.arms, design.raters, design.items))
    # each trial touches four columns of the model: the intercept, its arm (the baseline has none), rater and item
    ones: FloatArray = np.ones(len(design.arms))
    touched: list[tuple[IntArray, FloatArray]] = [
        (np.zeros_like(design.arms), ones), (design.arms, np.where(design.arms > 0, 1.0, 0.0)),
        (arms + design.raters, ones), (arms + raters + design.items, ones),
    ]  # fmt: skip
    rates = design.rate * np.where(design.arms > 0, ratio, 1.0)
    prior = np.concatenate(
        [np.zeros(arms), np.full(raters, design.rater_spread**-2), np.full(items, design.item_spread**-2)]
    )
    information = np.diag(prior)
    for row, its in touched:
        for column, there in touched:
            np.add.at(information, (row, column), rates * its * there)
    spread = np.linalg.solve(information, np.eye(len(prior))[:, 1:arms])
    return [float(np.sqrt(spread[arm, arm - 1])) for arm in range(1, arms)]
