from __future__ import annotations

import numpy as np
import pytest
from scipy import stats

from kilter.errors import DataError
from kilter.stats import bootstrap as module
from kilter.stats.bootstrap import bootstrap, cluster_codes, sum_by


def mean_of(data):
    return lambda weights: (weights @ data / weights.sum(1))[:, None]


def test_bca_agrees_with_scipy():
    data = np.random.default_rng(0).exponential(size=80)
    ours = bootstrap(mean_of(data), 80, seed=1, replicates=20_000, rows=80).bca()
    theirs = stats.bootstrap((data,), np.mean, n_resamples=20_000, method="BCa", rng=2).confidence_interval
    spread = theirs.high - theirs.low
    assert abs(ours[0] - theirs.low) < 0.05 * spread
    assert abs(ours[1] - theirs.high) < 0.05 * spread


def test_basic_agrees_with_scipy():
    data = np.random.default_rng(3).exponential(size=80)
    ours = bootstrap(mean_of(data), 80, seed=1, replicates=20_000, rows=80).basic()
    theirs = stats.bootstrap((data,), np.mean, n_resamples=20_000, method="basic", rng=2).confidence_interval
    assert np.allclose(ours, theirs, atol=0.05 * (theirs.high - theirs.low))


def test_the_result_depends_on_the_seed_and_not_on_how_many_replicates_are_held_at_once(monkeypatch):
    data = np.random.default_rng(0).normal(size=50)
    whole = bootstrap(mean_of(data), 50, seed=5, replicates=301, rows=50)
    monkeypatch.setattr(module, "_CELLS", 700)
    pieces = bootstrap(mean_of(data), 50, seed=5, replicates=301, rows=50)
    other = bootstrap(mean_of(data), 50, seed=6, replicates=301, rows=50)
    assert pieces.draws == pytest.approx(whole.draws, abs=1e-12)
    assert whole.bca() == pytest.approx(pieces.bca(), abs=1e-12)
    assert np.abs(whole.draws - other.draws).max() > 0.01


def test_leaving_out_groups_gives_the_acceleration_of_leaving_out_each(monkeypatch):
    data = np.random.default_rng(7).exponential(size=2000)
    few = bootstrap(mean_of(data), 2000, seed=0, replicates=2000, rows=2000).bca()
    monkeypatch.setattr(module, "_JACKKNIFE_GROUPS", 2000)
    each = bootstrap(mean_of(data), 2000, seed=0, replicates=2000, rows=2000).bca()
    assert few == pytest.approx(each, abs=0.02 * (each[1] - each[0]))


def test_refuses_one_cluster():
    with pytest.raises(DataError, match="one cluster"):
        bootstrap(mean_of(np.ones(1)), 1, seed=0, replicates=10, rows=1)


def test_refuses_a_statistic_that_is_mostly_undefined():
    def sometimes(weights):
        return np.where(weights[:, :1] > 0, 1.0, np.nan)

    with pytest.raises(DataError, match="not defined"):
        bootstrap(sometimes, 5, seed=0, replicates=500, rows=5).bca()


def test_a_constant_statistic_has_no_width():
    assert bootstrap(mean_of(np.full(20, 3.0)), 20, seed=0, replicates=100, rows=20).bca() == (3.0, 3.0)


def test_clusters_are_numbered_by_first_appearance():
    codes, count = cluster_codes(["b", "a", "b", ("c", 1)], 4)
    assert codes.tolist() == [0, 1, 0, 2]
    assert count == 3
    assert sum_by(codes, count, np.array([1.0, 2.0, 3.0, 4.0])).ravel().tolist() == [4.0, 2.0, 4.0]
    with pytest.raises(DataError, match="4 observations but 2 cluster names"):
        cluster_codes(["a", "b"], 4)


def test_clusters_of_a_kind_can_be_drawn_together() -> None:
    rng = np.random.default_rng(3)
    values = rng.choice([0.0, 1.0, 4.0], 3000, p=[0.6, 0.3, 0.1])
    kinds_, sizes = np.unique(values, return_counts=True)

    def mean_of(rows):
        return lambda weights: (weights @ rows / weights.sum(1))[:, None]

    one = bootstrap(mean_of(values), 3000, seed=0, replicates=2000, rows=3000)
    other = bootstrap(mean_of(kinds_), 3000, seed=0, replicates=2000, rows=3, sizes=sizes.astype(float))
    assert other.point == pytest.approx(one.point)
    assert other.draws.std() == pytest.approx(one.draws.std(), rel=0.08)
    assert other._acceleration(0) == pytest.approx(one._acceleration(0), rel=0.4)
    assert other.bca() == pytest.approx(one.bca(), abs=0.006)
