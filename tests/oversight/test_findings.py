"""Marks against the truth."""

from __future__ import annotations

from made_cases import made_case

from kilter.oversight import Mark, compare


def test_a_word_or_the_whole_unit_is_a_find() -> None:
    case = made_case(wrong=(1, 4))
    found = compare(case, [Mark(12, 13), Mark(40, 49), Mark(70, 79)])
    assert (found.hits, found.false, found.found) == ((0, 1), (2,), 2)


def test_beside_the_words_but_of_the_right_type_is_a_find() -> None:
    case = made_case(wrong=(1,))
    assert compare(case, [Mark(18, 19, "odd")]).found == 1
    assert compare(case, [Mark(18, 19, "even")]).found == 0
    assert compare(case, [Mark(18, 19)]).found == 0


def test_one_mark_finds_one_flaw_and_one_flaw_is_found_once() -> None:
    case = made_case(wrong=(1, 2))
    whole = compare(case, [Mark(0, 79)])
    assert (whole.found, whole.false) == (1, ())
    twice = compare(case, [Mark(10, 14), Mark(11, 12)])
    assert (twice.found, len(twice.false)) == (1, 1)


def test_as_many_flaws_as_can_be_are_found() -> None:
    """The wide mark fits the first flaw best of all marks, but it alone reaches the second."""
    case = made_case(wrong=(1, 2))
    assert compare(case, [Mark(10, 24), Mark(10, 11)]).found == 2


def test_nothing_planted_and_nothing_marked() -> None:
    assert compare(made_case(wrong=()), [Mark(0, 5)]).false == (0,)
    assert compare(made_case(), []).hits == (None, None)
