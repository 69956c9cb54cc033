from __future__ import annotations

import numpy as np
import pytest

from kilter.errors import DataError
from kilter.stats import median


@pytest.mark.parametrize("n", [6, 15, 60])
def test_the_interval_covers_the_median_of_skewed_times(n: int):
    rng = np.random.default_rng(n)
    found = [median(list(np.exp(rng.normal(np.log(12), 0.9, n)))) for _ in range(1000)]
    assert np.mean([one.low <= 12 <= one.high for one in found]) > 0.94
    assert np.median([one.value for one in found]) == pytest.approx(12, rel=0.05)


def test_on_paper():
    found = median([float(one) for one in range(1, 21)])
    assert (found.value, found.low, found.high, found.n) == (10.5, 6, 15, 20)  # ranks 6 and 15: 95.9 %


def test_five_values_are_too_few():
    with pytest.raises(DataError, match="5 values are too few; six"):
        median([1.0, 2, 3, 4, 5])
