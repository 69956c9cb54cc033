"""Permutation tests of arms."""

from __future__ import annotations

from itertools import permutations

import numpy as np
import pytest
from experiments import experiment

from kilter.stats.permutation import permutation_tests
from kilter.stats.trials import Trials


def test_p_is_uniform_where_there_is_no_effect() -> None:
    rng = np.random.default_rng(1)
    found = [
        permutation_tests(experiment(rng, raters=6, items=12, ratios=(1.0, 1.0)), deals=199, seed=number)["arm 1"]
        for number in range(300)
    ]
    assert 4 <= sum(p <= 0.05 for p in found) <= 27  # 15 expected
    assert np.mean(found) == pytest.approx(0.5, abs=0.07)


def test_p_is_true_of_a_plan_in_which_every_item_meets_every_arm() -> None:
    """Two of four raters judge each item with help; deals that do not keep to that vary less around an item's mean."""
    rng = np.random.default_rng(3)
    turn = np.array([[(rater + item) % 2 for item in range(20)] for rater in range(4)])
    shown = 0
    for number in range(1000):
        plan = turn[rng.permutation(4)][:, rng.permutation(20)]
        rows = [
            (rater, item, ("none", "help")[plan[rater, item]], float(rng.poisson(1.0)))
            for rater in range(4) for item in range(20)
        ]  # fmt: skip
        shown += permutation_tests(Trials.from_rows(rows, "none"), seed=number, deals=199)["help"] <= 0.05
    assert 30 <= shown <= 70  # 50 expected


def test_a_planted_effect_is_found() -> None:
    rng = np.random.default_rng(2)
    found = [permutation_tests(experiment(rng, ratios=(1.0, 1.0, 1.6)), deals=999)["arm 2"] for _ in range(20)]
    assert sum(p < 0.05 for p in found) >= 18


def test_p_equals_that_of_all_deals() -> None:
    rows = [("a", n % 2, "help" if n < 2 else "none", count) for n, count in enumerate([3.0, 2.0, 0.0, 1.0])]
    relative = np.array([1.5, 0.5, -1.5, -0.5])  # to the mean of each of the two items
    observed = relative[:2].mean() - relative[2:].mean()
    every = [abs(relative[list(deal[:2])].mean() - relative[list(deal[2:])].mean()) for deal in permutations(range(4))]
    exact = np.mean(np.array(every) >= observed - 1e-12)
    assert permutation_tests(Trials.from_rows(rows, "none"), deals=20_000)["help"] == pytest.approx(exact, abs=0.02)


def test_items_that_were_judged_once_tell_nothing() -> None:
    """Their difficulty explains everything; a difference would be one of items."""
    rows = [("a", n, "help" if n in (0, 2) else "none", count) for n, count in enumerate([3.0, 0.0, 2.0, 1.0])]
    assert permutation_tests(Trials.from_rows(rows, "none"), deals=99)["help"] == 1.0


def test_nothing_moves_between_raters() -> None:
    """A rater with one arm only tells nothing about arms."""
    rows = [
        (rater, item, arm, count) for rater, arm, count in (("a", "none", 1.0), ("b", "help", 9.0)) for item in range(5)
    ]
    assert permutation_tests(Trials.from_rows(rows, "none"), deals=99)["help"] == 1.0
