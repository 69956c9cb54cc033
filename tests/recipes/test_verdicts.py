"""Judgments as pairs, ties and labels, and when raters agree enough."""

from __future__ import annotations

from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilter.recipes.verdicts import LEAST_SHARED, Verdict, agree, judges_of, order_of


def verdict(value: Any, item: int = 0, judge: str = "people/a") -> Verdict:
    return Verdict(item, judge, "human", f"{judge}{item}", order_of(value))


@pytest.mark.parametrize(
    ("value", "pairs", "ties"),
    [
        (0, [(0, 1)], []),
        (1, [(1, 0)], []),
        ("tie", [], [(0, 1)]),
        ("both bad", [], [(0, 1)]),
        ([2, 0, 1], [(0, 1), (2, 0), (2, 1)], []),
        ((2, 0, 1), [(0, 1), (2, 0), (2, 1)], []),
        ([2, [0, 1]], [(2, 0), (2, 1)], [(0, 1)]),
        ([[0, 1, 2]], [], [(0, 1), (0, 2), (1, 2)]),
    ],
)
def test_values_as_pairs_and_ties(value: Any, pairs: list[Any], ties: list[Any]) -> None:
    assert (verdict(value).pairs, verdict(value).ties) == (pairs, ties)


def test_labels_say_whether_the_first_of_a_pair_is_better() -> None:
    assert verdict([2, [0, 1]], item=7).triples == [
        ("people/a", "7:0:1", 0.5), ("people/a", "7:0:2", 0), ("people/a", "7:1:2", 0)
    ]  # fmt: skip
    assert verdict(0).triples == [("people/a", "0:0:1", 1)]


@given(st.permutations(range(5)), st.sets(st.integers(1, 4)))
def test_every_pair_of_a_ranking_is_decided_or_tied(order: list[int], borders: set[int]) -> None:
    edges = [0, *sorted(borders), 5]
    groups = [order[first:last] for first, last in pairwise(edges)]
    found = verdict([group[0] if len(group) == 1 else group for group in groups])
    assert len(found.pairs) + len(found.ties) == 10
    rank = {number: place for place, group in enumerate(groups) for number in group}
    assert all(rank[better] < rank[worse] for better, worse in found.pairs)
    assert all(rank[a] == rank[b] for a, b in found.ties)


def test_judges_are_counted_with_who_stands_behind_them() -> None:
    said = [("people/b", "human"), ("people/a", "human"), ("people/b", "human"), ("simulated/x", "simulated")]
    assert judges_of(said) == {
        "people/a": {"principal": "human", "judgments": 1}, "people/b": {"principal": "human", "judgments": 2},
        "simulated/x": {"principal": "simulated", "judgments": 1},
    }  # fmt: skip
    assert list(judges_of(said)) == ["people/a", "people/b", "simulated/x"]


def two(values: list[tuple[Any, Any]]) -> list[Verdict]:
    return [
        verdict(value, item, judge)
        for item, both in enumerate(values)
        for judge, value in zip(("people/a", "people/b"), both, strict=True)
    ]


def test_raters_who_agree_are_enough_once_they_shared_some() -> None:
    same = [(number % 2, number % 2) for number in range(LEAST_SHARED)]
    assert agree(two(same), 0.6)
    assert not agree(two(same[:-1]), 0.6)  # a few that agree prove little
    assert not agree(two(same)[: 2 * LEAST_SHARED - 1], 0.6)  # the last was judged by one alone


def test_the_lower_end_decides() -> None:
    mostly = [(number % 2, number % 2 if number % 6 else 1 - number % 2) for number in range(30)]
    assert agree(two(mostly), 0.2)
    assert not agree(two(mostly), 0.6)  # alpha is 0.67, but how surely?


def test_raters_who_always_say_the_same_have_shown_no_agreement() -> None:
    assert not agree(two([(0, 0)] * 40), 0.1)


def test_of_a_ranking_the_first_pair_counts() -> None:
    rankings = [
        verdict([0, 1, 2] if item % 2 else [2, 1, 0], item, judge) for item in range(20) for judge in ("a", "b")
    ]
    assert agree(rankings, 0.6)
