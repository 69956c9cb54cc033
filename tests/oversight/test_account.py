"""What the report says of a study is true of that study."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from made_cases import made_case

from kilter.oversight import RaterSettings, oracle
from kilter.oversight.account import EFFORT, account_of, notices
from kilter.oversight.assistance import NOTHING
from kilter.oversight.conduct import Conducted, planned_trials
from kilter.oversight.experiment import Unread, simulate
from kilter.oversight.study import Study, plan_of
from kilter.settings import build

CASES = [made_case(number) for number in range(12)]


def conducted(first: int | None = None, **values: Any) -> Conducted:
    """A study of two arms, of whose plan the first trials were done."""
    study = build(Study, {"name": "one", "arms": ["none", "oracle"], **values}, "here")
    trials = plan_of(study, len(CASES))[:first]
    shown = {"none": [NOTHING] * len(CASES), "oracle": [oracle(case) for case in CASES]}
    outcomes = simulate(CASES, shown, trials, [RaterSettings()] * study.raters.count)
    return Conducted(study, Path(), CASES, shown, outcomes, 0.8, planned_trials(study, len(CASES)))


def raters(kind: str, count: int = 4) -> dict[str, Any]:
    return {"kind": kind, "count": count, **({"model": "http://here"} if kind == "model" else {})}


def test_a_whole_plan_is_a_square_and_a_part_says_how_far_it_goes() -> None:
    assert (
        "Every rater judged with every arm, and every case was judged with every arm: a Latin"
        in (account_of(conducted())[0])
    )
    enough = conducted(raters=raters("simulated"), items_per_rater=6)
    assert account_of(enough)[0] == "Every rater judged with every arm, and every case was judged with every arm."
    few = conducted(raters=raters("simulated", 2), items_per_rater=6)
    assert account_of(few)[:2] == [
        "2 of 2 raters judged with every arm, and 0 of 12 cases were judged with every arm.",
        "Not every case met every arm, so arms are compared on cases that are not all the same.",
    ]
    assert "square" not in " ".join(account_of(conducted(raters=raters("people"))))


def test_only_simulated_raters_are_said_to_take_the_same_effort() -> None:
    told = {kind: account_of(conducted(raters=raters(kind)))[-1] for kind in EFFORT}
    assert [kind for kind, line in told.items() if "same effort" in line] == ["simulated"]
    assert len(set(told.values())) == len(set(EFFORT.values())) == 3
    assert EFFORT["people"] == "Time, in seconds"


@pytest.mark.parametrize(
    ("kind", "first", "unread", "said"),
    [
        ("people", None, 0, []),
        ("people", 20, 0, ["trial was done: 20 of 48"]),
        ("model", 45, 3, ["prompted models", "3 of 48 trials are left out"]),
        ("model", 40, 3, ["prompted models", "trial was done: 43 of 48", "3 of 48 trials are left out"]),
    ],
)
def test_what_is_missing_is_said_before_the_figures(kind: str, first: int | None, unread: int, said: list[str]) -> None:
    done = conducted(first, raters=raters(kind))
    odd = [Unread(one, "Hm.") for one in plan_of(done.study, len(CASES))[45 : 45 + unread]]
    found = notices(Conducted(done.study, Path(), CASES, done.shown, done.outcomes, 0.8, done.planned, odd))
    assert len(found) == len(said)
    assert all(words in line for words, line in zip(said, found, strict=True))


def test_who_saw_less_is_said() -> None:
    judges = conducted(cases={"testbed": "facts", "view": "judge"})
    assert "saw the source without what is cut" in account_of(judges)[1]
    assert "critic" not in account_of(judges)[1]
