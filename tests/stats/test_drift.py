from __future__ import annotations

import numpy as np
import pytest

from kilter.errors import DataError
from kilter.stats import difference_of_rates, drift_of_rate, drift_of_time


def test_newcombes_published_example():
    # Newcombe, Statistics in Medicine 17 (1998), p. 873, table II, example (a): 56/70 - 48/80, method 10.
    found = difference_of_rates([1] * 48 + [0] * 32, [1] * 56 + [0] * 14)
    assert (found.value, found.low, found.high) == pytest.approx((0.2, 0.0524, 0.3339), abs=5e-5)
    # example (c): 10/10 - 0/10 with a finite interval, where resampling would claim certainty
    certain = difference_of_rates([0] * 10, [1] * 10)
    assert (certain.value, certain.high) == (1.0, 1.0)
    assert certain.low == pytest.approx(0.6075, abs=5e-5)


@pytest.mark.parametrize("n", [40, 120])
def test_recovers_a_planted_loss_of_accuracy_and_covers_it(n: int):
    rng = np.random.default_rng(0)
    hits, values = 0, []
    for _ in range(300):
        fit = drift_of_rate(list((rng.random(n) < np.repeat([0.9, 0.7], n // 2)).astype(float)))
        values.append(fit.change.value)
        hits += fit.change.low <= -0.2 <= fit.change.high
    assert np.mean(values) == pytest.approx(-0.2, abs=0.02)
    assert hits / 300 > 0.92


def test_recovers_a_planted_change_of_shares():
    rng = np.random.default_rng(1)
    hits = 0
    for seed in range(100):
        shares = rng.binomial(3, np.repeat([0.8, 0.6], 40)) / 3
        fit = drift_of_rate(list(shares), seed=seed, replicates=300)
        hits += fit.change.low <= -0.2 <= fit.change.high
    assert hits / 100 > 0.88


def test_recovers_a_planted_change_of_speed():
    rng = np.random.default_rng(2)
    hits, values = 0, []
    for seed in range(100):
        seconds = np.exp(rng.normal(np.repeat(np.log([20, 10]), 40), 0.5))
        fit = drift_of_time(list(seconds), seed=seed, replicates=300)
        values.append(fit.change.value)
        hits += fit.change.low <= 0.5 <= fit.change.high
    assert np.exp(np.mean(np.log(values))) == pytest.approx(0.5, abs=0.02)
    assert hits / 100 > 0.88


def test_too_little_or_too_even_is_refused():
    with pytest.raises(DataError, match="19 outcomes are too few; 20"):
        drift_of_rate([1.0] * 19)
    with pytest.raises(DataError, match=r"all 20 values are 0\.5"):
        drift_of_rate([0.5] * 20)
    with pytest.raises(DataError, match="more than 0 seconds"):
        drift_of_time([0.0] * 20)
    with pytest.raises(DataError, match="between 0 and 1"):
        drift_of_rate([2.0] * 20)
    steady = drift_of_rate([1.0] * 40).change
    assert steady.value == 0
    assert steady.low < -0.1  # forty right answers do not prove that nothing changed
