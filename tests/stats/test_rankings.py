from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau

from kilter.errors import DataError
from kilter.stats import kendall_tau, rank_agreement, ranking_pairs, ranks


def test_ranks_and_pairs_of_a_ranking_with_ties():
    assert ranks([2, [0, 3], 1]).tolist() == [2.5, 4, 1, 2.5]
    assert ranking_pairs([1, [0, 2]]) == [(0, 1, 0.0), (0, 2, 0.5), (1, 2, 1.0)]


groups = st.lists(st.integers(0, 3), min_size=4, max_size=4).map(
    lambda grades: [[n for n, grade in enumerate(grades) if grade == level] for level in sorted(set(grades))]
)


@given(groups, groups)
def test_tau_equals_scipy(one, other):
    """scipy gives NaN where a ranking puts all level; here that is None, for a mean must not swallow it."""
    theirs = kendalltau(ranks(one), ranks(other)).statistic
    ours = kendall_tau(one, other)
    assert ours == pytest.approx(theirs) if ours is not None else np.isnan(theirs)


def test_recovers_the_tau_of_plackett_luce_raters_and_covers_it():
    # Two raters order a pair alike with p * p + (1 - p) * (1 - p), p = u_i / (u_i + u_j): tau = mean of (2 p - 1)^2.
    worth = np.array([8.0, 4.0, 2.0, 1.0, 0.5])
    p = worth[:, None] / (worth[:, None] + worth)
    true = float(np.mean(((2 * p - 1) ** 2)[np.triu_indices(5, 1)]))
    rng = np.random.default_rng(0)
    values, hits = [], 0
    for trial in range(60):
        given_ = {item: {rater: _draw(rng, worth) for rater in range(3)} for item in range(50)}
        found = rank_agreement(given_, seed=trial, replicates=200)
        assert found.tau.estimate is not None
        assert (found.items, found.raters, found.level) == (50, 3, 0)
        values.append(found.tau.estimate.value)
        hits += found.tau.estimate.low <= true <= found.tau.estimate.high
    assert np.mean(values) == pytest.approx(true, abs=0.015)
    assert hits / 60 > 0.88


def _draw(rng, worth) -> list[int]:
    return [int(one) for one in np.argsort(-(np.log(worth) + rng.gumbel(size=len(worth))))]


def test_what_has_no_order_is_counted_and_refused():
    level = rank_agreement({0: {"a": [[0, 1, 2]], "b": [0, 1, 2]}})
    assert level.level == 1
    assert "no pair of rankings has an order" in (level.tau.reason or "")
    assert "no item was ranked by two" in (rank_agreement({0: {"a": [0, 1]}}).tau.reason or "")
    alike = rank_agreement({n: {"a": [0, 1], "b": [0, 1]} for n in range(9)})
    assert "all 9 items have the same tau" in (alike.tau.reason or "")
    with pytest.raises(DataError, match="is no ranking"):
        ranks([0, 0, 1])
    with pytest.raises(DataError, match="cannot be compared"):
        kendall_tau([0, 1], [0, 1, 2])
