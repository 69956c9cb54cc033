"""The median, for quantities such as time that a few large values would drag along."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.stats import binom

from kilter.errors import DataError
from kilter.stats.bootstrap import CONFIDENCE
from kilter.stats.estimate import Estimate
from kilter.stats.intervals import numbers


def median(values: Sequence[float]) -> Estimate:
    """Median with the interval between two order statistics, exact for any distribution and at least 95 %.

    Raises `DataError` for fewer than six values: even their lowest and highest miss the median in more than 5 % of
    cases.
    """
    data = np.sort(numbers(values, "values"))
    n = len(data)
    # P(fewer than k of n values lie below the median) = P(Binomial(n, 1/2) < k)
    rank = int(binom.ppf((1 - CONFIDENCE) / 2, n, 0.5))
    if rank < 1:
        raise DataError(f"The interval of a median is refused: {n} values are too few; six are the least.")
    return Estimate(float(np.median(data)), float(data[rank - 1]), float(data[n - rank]), n, "median, order statistics")
