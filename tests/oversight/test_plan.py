"""Dealing out items and arms."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.oversight.assistance import ARMS
from kilter.oversight.plan import latin_square


@settings(deadline=None)
@given(st.integers(2, 5), st.integers(5, 16), st.integers(5, 24), st.integers(0, 99), st.data())
def test_every_rater_and_every_item_have_the_arms_equally_often(
    arms: int, raters: int, items: int, seed: int, data: st.DataObject
) -> None:
    each = data.draw(st.integers(arms, items))
    trials = latin_square(raters, items, ARMS[:arms], items_per_rater=each, seed=seed)
    assert len({(one.rater, one.item) for one in trials}) == raters * each == len(trials)
    for who in ("rater", "item"):
        for number in range(raters if who == "rater" else items):
            had = Counter(one.arm for one in trials if getattr(one, who) == number)
            counts = [had[arm] for arm in ARMS[:arms]]
            assert max(counts) - min(counts) <= 1
            assert min(counts) >= 1 or (who == "item" and raters * each < items * arms)


@pytest.mark.parametrize(("raters", "items", "each"), [(10, 60, 30), (20, 60, 15), (833, 60, 59), (40, 10, 7)])
def test_studies_of_common_sizes_are_balanced(raters: int, items: int, each: int) -> None:
    trials = latin_square(raters, items, ARMS, items_per_rater=each)
    for who in ("rater", "item"):
        counts = Counter((getattr(one, who), one.arm) for one in trials)
        ends = {getattr(one, who) for one in trials}
        spread = [[counts[end, arm] for arm in ARMS] for end in ends]
        assert all(max(one) - min(one) <= 1 and min(one) >= 1 for one in spread)


def test_a_whole_plan_is_the_plain_square() -> None:
    trials = latin_square(7, 10, ARMS)
    first = {one.item: ARMS.index(one.arm) for one in trials if one.rater == 0}
    assert all(ARMS.index(one.arm) == (first[one.item] + one.rater) % len(ARMS) for one in trials)


@given(st.integers(2, 4), st.integers(4, 10), st.integers(8, 30), st.data())
def test_raters_who_judge_a_part_share_out_the_items(arms: int, raters: int, items: int, data: st.DataObject) -> None:
    each = data.draw(st.integers(arms, items))
    trials = latin_square(raters, items, ARMS[:arms], items_per_rater=each)
    assert {sum(one.rater == rater for one in trials) for rater in range(raters)} == {each}
    judged = Counter(one.item for one in trials)
    assert max(judged.values()) - min(judged.get(item, 0) for item in range(items)) <= 1
    for rater in range(raters):
        assert sorted(one.place for one in trials if one.rater == rater) == list(range(each))


@pytest.mark.parametrize(("raters", "items", "each"), [(5, 4, None), (5, 10, 3), (5, 10, 11), (4, 10, None)])
def test_too_little_for_the_arms_is_refused(raters: int, items: int, each: int | None) -> None:
    with pytest.raises(DataError, match=r"fewer arms"):
        latin_square(raters, items, ARMS, items_per_rater=each)


def test_the_order_is_random_and_the_same_again() -> None:
    assert latin_square(5, 10, ARMS, seed=1) == latin_square(5, 10, ARMS, seed=1) != latin_square(5, 10, ARMS, seed=2)
