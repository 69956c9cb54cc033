"""Whether a rater favors a place: how often the response that was shown first is preferred."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import REPLICATES
from kilter.stats.estimate import Estimate
from kilter.stats.intervals import numbers, rate


def first_place_share(
    chosen: Sequence[float],
    shown_first: Sequence[int],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Share of choices that fell on the response shown first; 1/2 for a rater who does not look at places.

    `chosen`: 1 where it was the first, 0 where it was the second; ties are left out by the caller. `shown_first`: which
    of the two was shown first (the item's own number), to see that sides were dealt. Wilson's interval for one choice
    for each item; with `clusters` (pairs of one ranking), a bootstrap over them. Raises `DataError` without choices,
    and where the same one always stood first: a preference for it and one for its place are then the same.
    """
    if not len(chosen):
        raise DataError("A share of first places is refused: no choice was made between two sides.")
    values = numbers(chosen, "choices")
    if len(shown_first) != len(values) or not np.all(np.isin(values, (0.0, 1.0))):
        raise DataError("Choices are 1 (the first place) or 0 (the second), each with which response stood first.")
    if len(values) > 1 and len(set(shown_first)) == 1:
        raise DataError(
            f"A share of first places is refused: response {shown_first[0]} was shown first every time, so a liking "
            "for the place cannot be told from a liking for the response. Deal the sides at random."
        )
    share = rate(list(values), clusters, seed=seed, replicates=replicates)
    return Estimate(share.value, share.low, share.high, share.n, f"share of first places, {share.method}")
