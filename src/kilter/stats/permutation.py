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
    the shuffle leaves as it is, in units of what chance makes of it: in a plan that gives every item each arm equally
    often, a difference varies more than after a shuffle that does not. Exact where arms were dealt to each rater's
    items at random; the data as they are count as one of the deals, so that p is never 0.
    """
    rng = np.random.default_rng(seed)
    means = np.bincount(trials.items, trials.counts) / np.bincount(trials.items)
    order = np.argsort(trials.raters, kind="stable")
    raters, items, arms = trials.raters[order], trials.items[order], trials.arms[order]
    values = trials.counts[order] - means[items]
    count = len(trials.names)
    observed = np.abs(_differences(values, arms[None], items, count)[0])
    beyond = np.zeros(len(observed))
    for start in range(0, deals, _BATCH):
        size = min(_BATCH, deals - start)
        # Sorting by rater and then by chance shuffles within raters, for a whole batch at once.
        mixed = np.lexsort((rng.random((size, len(values))), np.broadcast_to(raters, (size, len(values)))), axis=1)
        beyond += (np.abs(_differences(values, arms[mixed], items, count)) >= observed * (1 - 1e-9)).sum(0)
    return {name: float(one) for name, one in zip(trials.names[1:], (beyond + 1) / (deals + 1), strict=True)}


def _differences(values: FloatArray, arms: IntArray, items: IntArray, count: int) -> FloatArray:
    """[batch, A - 1] of the arms' means to the baseline's, arms [batch, N], each over the spread that chance gives it.

    The values have no mean within an item. So only what of the contrast varies within items tells anything: the share
    of an arm's trials that an item has is no difference between arms.
    """
    each = np.bincount(items)
    places = np.arange(len(arms))[:, None] * len(each) + items
    met = np.bincount((places * count + arms).ravel(), minlength=len(arms) * len(each) * count)
    met = met.reshape(len(arms), len(each), count)
    sizes = met[0].sum(0)
    means = np.stack([(values * (arms == number)).sum(1) for number in range(count)], axis=1) / sizes
    shares = met / sizes
    of_items = ((shares[:, :, 1:] - shares[:, :, :1]) ** 2 / each[None, :, None]).sum(1)
    spread = np.sqrt(np.maximum(0, 1 / sizes[1:] + 1 / sizes[0] - of_items))
    found: FloatArray = np.zeros_like(spread)
    np.divide(means[:, 1:] - means[:, :1], spread, out=found, where=spread > 1e-9)
    return found
