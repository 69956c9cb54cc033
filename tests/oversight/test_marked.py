"""What raters marked, as cases."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from made_cases import WIDTH, made_case

from kilter.errors import DataError
from kilter.oversight.assistance import NOTHING, Arm
from kilter.oversight.experiment import Outcome
from kilter.oversight.findings import Mark, compare
from kilter.oversight.marked import UNNAMED, marked_cases
from kilter.oversight.plan import Trial
from kilter.oversight.simulated_rater import Review
from kilter.testbeds import Case

CASES = [made_case(0, wrong=(1, 4)), made_case(1, wrong=(2,))]


def outcome(item: int, rater: int, arm: Arm, *marks: tuple[int, str | None]) -> Outcome:
    made = [Mark(WIDTH * unit + 1, WIDTH * unit + 4, kind) for unit, kind in marks]
    found = compare(CASES[item], made)
    return Outcome(Trial(rater, item, arm, 0), CASES[item], NOTHING, Review(marks=made), found, found)


def units_of(case: Case) -> list[int]:
    return [unit for flaw in case.flaws for unit in case.units_of(flaw)]


def made(outcomes: Sequence[Outcome], arms: Sequence[Arm] = ("none", "oracle"), share: float = 0.5) -> list[Case]:
    return marked_cases(CASES, outcomes, arms, share)


SAID = [
    outcome(0, 0, "none", (1, "odd"), (3, "even")), outcome(0, 1, "oracle", (1, "even"), (4, None)),
    outcome(0, 2, "none", (1, "odd")), outcome(1, 0, "oracle"),
]  # fmt: skip


def test_a_passage_that_enough_raters_marked_is_a_flaw_of_the_kind_that_most_named() -> None:
    first, second = made(SAID)
    assert units_of(first) == [1]
    assert (first.flaws[0].type, first.flaws[0].note) == ("odd", "3 of 3 raters marked this as odd.")
    assert (first.correct, second.correct) == ("", CASES[1].response)
    assert second.flaws == ()
    assert first.hidden["raters"] == 3
    assert first.hidden["marked"][:5] == [0.0, 1.0, 0.0, 1 / 3, 1 / 3]


def test_a_smaller_share_makes_more_flaws() -> None:
    first, _ = made(SAID, share=0.3)
    assert [(unit, flaw.type) for unit, flaw in zip(units_of(first), first.flaws, strict=True)] == [
        (1, "odd"), (3, "even"), (4, UNNAMED),
    ]  # fmt: skip


def test_only_some_arms_count() -> None:
    assert [units_of(one) for one in made(SAID, ["oracle"])] == [[1, 4], []]
    with pytest.raises(DataError, match="in the arms placebo"):
        made(SAID, ["placebo"])
