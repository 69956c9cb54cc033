"""Simulated raters do what their settings say, and help moves them as it should."""

from __future__ import annotations

import random

import pytest
from made_cases import made_case

from kilter.oversight import NOTHING, Assistance, Mark, RaterSettings, compare, misleading, oracle, placebos, review

CASES = [made_case(number) for number in range(1000)]


def outcome(settings: RaterSettings, help_: list[Assistance]) -> tuple[float, float, float]:
    """Flaws found and right passages marked per case, and effort."""
    rng = random.Random(0)
    reviews = [review(settings, case, one, rng) for case, one in zip(CASES, help_, strict=True)]
    found = [compare(case, one.marks) for case, one in zip(CASES, reviews, strict=True)]
    n = len(CASES)
    return (
        sum(one.found for one in found) / n, sum(len(one.false) for one in found) / n,
        sum(one.effort for one in reviews) / n,
    )  # fmt: skip


def none() -> list[Assistance]:
    return [NOTHING] * len(CASES)


def test_without_help_finds_are_looks_times_sight() -> None:
    settings = RaterSettings(first_look=0.5, second_look=0.25, sees=0.6, imagines=0.1)
    found, false, effort = outcome(settings, none())
    assert found == pytest.approx(2 * 0.75 * 0.6, abs=0.06)
    assert false == pytest.approx(6 * 0.75 * 0.1, abs=0.06)
    assert effort == 6


def test_types_are_seen_each_with_its_own_chance() -> None:
    settings = RaterSettings(first_look=1, second_look=0, sees=0, sees_type={"odd": 1.0}, imagines=0)
    assert outcome(settings, none())[0] == 1.0


def test_oracles_help_placebos_do_nothing_and_misleading_help_harms() -> None:
    settings = RaterSettings()
    alone = outcome(settings, none())
    helped = outcome(settings, [oracle(case) for case in CASES])
    placebo = outcome(settings, placebos([oracle(case) for case in CASES], 0))
    misled = outcome(settings, [misleading(case, 0) for case in CASES])
    assert helped[0] > 1.5 * alone[0]
    assert helped[1] < alone[1] + 0.02
    assert placebo == pytest.approx(alone, abs=0.06)
    assert misled[0] < 0.9 * alone[0]
    assert misled[1] > 2 * alone[1]


def test_help_is_not_more_time() -> None:
    settings = RaterSettings(check_cost=1.0)
    assert outcome(settings, [oracle(case) for case in CASES])[2] <= outcome(settings, none())[2]


def test_blind_trust_takes_everything_and_distrust_checks() -> None:
    blind = RaterSettings(trust=1, first_look=0, second_look=0)
    assert outcome(blind, [oracle(case) for case in CASES])[0] == 2
    wary = RaterSettings(trust=0, first_look=0, second_look=1, check_right=1.0, sees=0, imagines=0)
    assert outcome(wary, [misleading(case, 0) for case in CASES])[:2] == (0, 0)
    assert outcome(wary, [oracle(case) for case in CASES])[0] == 2


def test_without_effort_left_a_claim_is_neither_followed_nor_checked() -> None:
    settings = RaterSettings(trust=0, second_look=0)
    one = review(settings, CASES[0], oracle(CASES[0]), random.Random(0))
    assert one.followed == [None, None]
    assert one.marks == one.alone


def test_the_answer_given_alone_does_not_depend_on_the_help() -> None:
    for number, case in enumerate(CASES[:50]):
        reviews = [
            review(RaterSettings(), case, help_, random.Random(number))
            for help_ in (NOTHING, oracle(case), misleading(case, 0))
        ]
        assert reviews[0].alone == reviews[1].alone == reviews[2].alone


def test_tired_raters_see_less() -> None:
    settings = RaterSettings(first_look=1, sees=1, imagines=0, fatigue=0.5)
    rng = random.Random(1)
    fresh = sum(len(review(settings, case, NOTHING, rng, 0.0).marks) for case in CASES)
    tired = sum(len(review(settings, case, NOTHING, rng, 1.0).marks) for case in CASES)
    assert (fresh, tired) == (2000, pytest.approx(1000, abs=70))
    assert all(isinstance(mark, Mark) and 0.5 <= mark.confidence <= 1 for mark in review(
        settings, CASES[0], NOTHING, rng).marks)  # fmt: skip
