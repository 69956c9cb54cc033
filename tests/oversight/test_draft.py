"""A study before it is begun: its file reads back as itself, and its effort is what will be asked for."""

from __future__ import annotations

from pathlib import Path

import pytest
from made_cases import made_case

from kilter.oversight.draft import MINUTES_A_LOOK, WORDS_A_MINUTE, as_file, effort_of, words_per_case
from kilter.oversight.people import judges_per_case
from kilter.oversight.study import Study, plan_of, read_study
from kilter.settings import build


def study(**values: object) -> Study:
    return build(Study, {"name": "one", **values}, "here")


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"critic": {"kind": "model", "model": "yes"}},
        {"critic": {"kind": "model", "model": "a\x85b\u2028c\u2029d"}},
        {"critic": {"kind": "passages", "model": "a: b # c", "threshold": 0.3}},
        {"raters": {"kind": "people"}},
        {"raters": {"kind": "model", "model": "http://here:1/v1", "name": "1e3"}, "name": "on"},
        {"raters": {"kind": "simulated", "work": {"sees": 0.7, "sees_type": {"order": 0.2}}}},
        {"arms": ["none", "oracle"], "items_per_rater": 7, "expected": {"ratio": 2}, "seed": 4, "name": "007"},
        {"cases": {"testbed": "facts", "n": 9, "difficulty": 1e-5}},
    ],
)
def test_a_file_reads_back_as_the_study(tmp_path: Path, values: dict[str, object]) -> None:
    one = study(**values)
    file = tmp_path / "other_name.yaml"
    file.write_text(as_file(one))
    assert read_study(file) == one


def test_a_file_says_what_differs_and_nothing_else() -> None:
    assert as_file(study()).splitlines() == ["# kilter oversee run one.yaml", "name: one"]
    assert as_file(study(raters={"kind": "simulated", "count": 30})).splitlines() == [
        "# kilter oversee run one.yaml",
        "name: one",
        "raters: {kind: simulated, count: 30}",
    ]


def test_the_effort_is_that_of_the_plan() -> None:
    for values in ({}, {"items_per_rater": 7}):
        one = study(cases={"n": 20}, raters={"kind": "simulated", "count": 9}, **values)
        effort = effort_of(one, 20, 100)
        assert effort.trials == len(plan_of(one, 20))
        assert (effort.judgments, effort.minutes) == (2 * effort.trials, None)


def test_people_are_asked_for_whole_judges_of_each_case_and_their_time_is_told() -> None:
    one = study(cases={"n": 20}, raters={"kind": "people", "count": 9}, items_per_rater=7)
    effort = effort_of(one, 20, WORDS_A_MINUTE)
    assert judges_per_case(one, 20) == 3
    assert (effort.trials, effort.each, effort.judgments) == (60, 7, 120)
    assert effort.minutes == pytest.approx(60 * (1 + 2 * MINUTES_A_LOOK))


def test_words_are_those_that_a_rater_reads() -> None:
    case = made_case()
    read = f"{case.task} {case.source} {case.response}"
    assert words_per_case([case, case]) == len(read.split()) == 18
