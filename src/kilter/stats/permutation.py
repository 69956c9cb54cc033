"""Whether an arm differs from the baseline at all, by dealing out the arms anew as the experiment did."""

from __future__ import annotations

import numpy as np

from kilter.stats.bootstrap import FloatArray, IntArray
from kilter.stats.trials import Trials

DEALS = 9_999
_BATCH = 500


def permutation_tests(trials: Trials, *, seed: int = 0, deals: int = DEALS) -> dict[str, float]:
    """Two-sided p-value of each arm against the baseline: arms are shuffled among each rater's own trials.

    The statistic is the difference of the two arms' means, each count first taken relative to its item's mean, which
    the shuffle leaves as it is. Exact where arms were dealt to each rater's items at random; the data as they are count
    as one of the deals, so that p is never 0.
    """
    rng = np.random.default_rng(seed)
    means = np.bincount(trials.items, trials.counts) / np.bincount(trials.items)
    values = trials.counts - means[trials.items]
    order = np.argsort(trials.raters, kind="stable")
    raters, values, arms = trials.raters[order], values[order], trials.arms[order]
    chosen = np.eye(len(trials.names))
    observed = _differences(values, arms[None], chosen)[0]
    beyond = np.zeros(len(observed))
    for start in range(0, deals, _BATCH):
        size = min(_BATCH, deals - start)
        # Sorting by rater and then by chance shuffles within raters, for a whole batch at once.
        mixed = np.lexsort((rng.random((size, len(values))), np.broadcast_to(raters, (size, len(values)))), axis=1)
        beyond += (np.abs(_differences(values, arms[mixed], chosen)) >= np.abs(observed) - 1e-12).sum(0)
    return {name: float(one) for name, one in zip(trials.names[1:], (beyond + 1) / (deals + 1), strict=True)}


def _differences(values: FloatArray, arms: IntArray, chosen: FloatArray) -> FloatArray:
    """[batch, A - 1] of the arms' means to the baseline's, arms [batch, N]."""
    sizes = chosen[arms[0]].sum(0)
    sums = np.stack([(values * (arms == number)).sum(1) for number in range(len(chosen))], axis=1)
    means = sums / sizes
    found: FloatArray = means[:, 1:] - means[:, :1]
    return found
