"""Ratios of mean counts with an interval that holds over other raters and other items, both resampled."""

from __future__ import annotations

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import CONFIDENCE, REPLICATES, FloatArray
from kilter.stats.estimate import Estimate
from kilter.stats.trials import Trials

_BATCH = 250


def two_way_ratios(trials: Trials, *, seed: int = 0, replicates: int = REPLICATES) -> dict[str, Estimate]:
    """Ratio of each arm's mean count to the baseline's; raters and items are drawn anew, independently.

    A trial weighs as often as its rater and its item were drawn together ("pigeonhole" bootstrap, Owen 2007, which is
    rather too wide than too narrow). Percentiles of the ratios' logarithms.

    Raises:
        DataError: fewer than two raters or items, an arm without any count, or one that resamples leave empty.
    """
    trials.require_found()
    arms, raters, items = trials.sizes
    if raters < 2 or items < 2:
        raise DataError(
            f"The interval over raters and items is refused: there are {raters} and {items}, and one alone shows no "
            "spread."
        )
    rng = np.random.default_rng(seed)
    chosen = np.eye(arms)[trials.arms]
    draws = []
    for start in range(0, replicates, _BATCH):
        size = min(_BATCH, replicates - start)
        of_raters = rng.multinomial(raters, np.full(raters, 1 / raters), size=size)
        of_items = rng.multinomial(items, np.full(items, 1 / items), size=size)
        weights = (of_raters[:, trials.raters] * of_items[:, trials.items]).astype(np.float64)
        draws.append(_log_ratios(weights, chosen, trials.counts))
    found = np.concatenate(draws)
    usable = found[np.isfinite(found).all(1)]
    if len(usable) < 0.95 * replicates:
        raise DataError(
            f"The interval over raters and items is refused: in {replicates - len(usable)} of {replicates} resamples "
            "an arm has no trial or no count. There are too few trials for it."
        )
    point = np.exp(_log_ratios(np.ones((1, len(trials))), chosen, trials.counts)[0])
    tails = [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2]
    low, high = np.exp(np.quantile(usable, tails, axis=0))
    method = f"bootstrap of {raters} raters and {items} items, percentile, {replicates} replicates"
    return {
        name: Estimate(float(point[place]), float(low[place]), float(high[place]), len(trials), method)
        for place, name in enumerate(trials.names[1:])
    }


def _log_ratios(weights: FloatArray, chosen: FloatArray, counts: FloatArray) -> FloatArray:
    """[batch, A - 1] under weights [batch, N] of trials."""
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.log((weights * counts) @ chosen / (weights @ chosen))
        ratios: FloatArray = means[:, 1:] - means[:, :1]
    return ratios
