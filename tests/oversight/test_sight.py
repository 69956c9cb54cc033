"""What a rater may not see is nowhere in what the rater is given, and a simulated one does not see it either."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
from made_cases import made_case

from kilter.errors import SettingsError
from kilter.oversight import NOTHING, RaterSettings, oracle, review
from kilter.oversight.prompted import question
from kilter.oversight.recording import item_of
from kilter.oversight.sight import require_view, unchecked_units
from kilter.oversight.study import CasesSettings, cases_of
from kilter.testbeds import Case
from kilter.testbeds.facts import TYPES, judge_view

CASES = cases_of(CasesSettings(testbed="facts", n=30, flawed=1, view="judge"))
SHARP = RaterSettings(first_look=1, second_look=0, sees=1, imagines=0)


def cut_passages(case: Case) -> set[str]:
    """Passages that the judge may not see, and that stand nowhere else."""
    shown = judge_view(case) + case.response + case.task
    cut = {case.source[start:end] for start, end in case.hidden["cut"]}
    return {one for one in cut if one not in shown}


def test_what_is_cut_is_neither_in_the_item_nor_in_the_question() -> None:
    for case in CASES:
        cut = cut_passages(case)
        assert len(cut) > 10
        item, asked = item_of(case, "judge"), question(case, TYPES, view="judge")
        for given in (item.prompt[0]["content"], asked):
            assert judge_view(case) in given
            assert not [one for one in cut if one in given]
        assert item.body().keys() == {"prompt", "responses"}
        assert case.source in item_of(case, "expert").prompt[0]["content"]
        assert case.source in question(case, TYPES)


def test_a_simulated_rater_sees_no_flaw_that_cannot_be_checked() -> None:
    found = {"judge": 0, "expert": 0}
    for case in CASES:
        hidden = unchecked_units(case, "judge")
        assert hidden == {number for number, enough in enumerate(case.hidden["suffices"]) if not enough}
        for view in ("judge", "expert"):
            marks = review(SHARP, case, NOTHING, random.Random(0), view=view).marks
            found[view] += len(marks)
            touched = {case.units_of(flaw)[0] for flaw in case.flaws if any(flaw.start == m.start for m in marks)}
            assert view == "expert" or not touched & hidden
    assert 0 < found["judge"] < 0.8 * found["expert"]


def test_about_what_cannot_be_checked_a_rater_guesses() -> None:
    blind = [replace(case, hidden={**case.hidden, "suffices": [False] * len(case.units)}) for case in CASES]
    fanciful = RaterSettings(first_look=1, second_look=0, sees=0, imagines=1)
    assert len(review(fanciful, blind[0], NOTHING, random.Random(0), view="judge").marks) == len(blind[0].units)
    careful = RaterSettings(first_look=0, second_look=1, trust=0, check_right=1, check_cost=0.1)
    followed = {
        view: [
            one
            for number, case in enumerate(blind)
            for one in review(careful, case, oracle(case), random.Random(number), view=view).followed
        ]
        for view in ("judge", "expert")
    }
    assert all(followed["expert"])
    assert 0.25 < sum(one is True for one in followed["judge"]) / len(followed["judge"]) < 0.75


def test_cases_that_nothing_is_cut_from_have_no_view_of_the_judge() -> None:
    with pytest.raises(SettingsError, match=r"testbed 'stories'.* leave cases.view out"):
        cases_of(CasesSettings(testbed="stories", n=2, words=200, view="judge"))
    require_view([made_case()], "expert")
    odd = {"no cut": {}, "no suffices": {"cut": []}, "no passage": {"cut": [[1]], "suffices": [True] * 8}}
    for hidden in odd.values():
        with pytest.raises(SettingsError, match="case 2"):
            require_view([CASES[0], replace(made_case(), hidden=hidden)], "judge")
