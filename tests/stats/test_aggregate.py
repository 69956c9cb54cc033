from __future__ import annotations

import numpy as np
import pytest

from kilter.errors import DataError
from kilter.stats import Ratings, majority, mean_grades


def test_majority_shows_ties():
    assert majority(Ratings.from_table([[1, 0], [0, 0]])).tolist() == [[0.5, 0.5], [1.0, 0.0]]


def test_intervals_of_mean_grades_cover_the_true_grade_of_items_with_three_raters():
    rng = np.random.default_rng(0)
    hits = total = 0
    for _ in range(40):
        truth = rng.uniform(3, 5, size=30)
        grades = np.clip(np.rint(truth + rng.normal(0, 0.8, size=(3, 30))), 1, 7).astype(int)
        found = mean_grades(Ratings.from_table(grades.tolist()), (1, 7))
        hits += sum(one.low <= true <= one.high for one, true in zip(found, truth, strict=True))
        total += 30
    assert hits / total == pytest.approx(0.95, abs=0.02)


def test_a_mean_grade_of_one_rater_borrows_the_spread_and_stays_on_the_scale():
    lone, other = mean_grades(Ratings.from_table([[7, 2], [None, 6]]), (1, 7))
    assert (lone.value, lone.high, lone.n) == (7.0, 7.0, 1)
    assert lone.low < 7
    assert (other.value, other.low, other.n) == (4.0, 1.0, 2)


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([[3, 4]], "no item was judged by two raters"),
        ([[3, 4], [3, 4]], "no two raters of the same item differ"),
        ([["a", "b"], ["b", "a"]], "needs numbers"),
    ],
)
def test_refuses_a_spread_that_nobody_saw(table, reason: str):
    with pytest.raises(DataError, match=reason):
        mean_grades(Ratings.from_table(table))
