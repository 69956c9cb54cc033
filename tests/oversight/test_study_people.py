"""The experiment with people: what they were dealt and said becomes the outcomes that the analysis takes."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from made_cases import made_case

from kilter.errors import DataError, SettingsError
from kilter.feedback.tasks import Task
from kilter.feedback.work import Assignment, Desk, Rater, Submission
from kilter.models.chat import ChatModel
from kilter.oversight import ProgramCritic, cases_by_artifact, outcomes_of, people, task_of_study
from kilter.oversight.assistance import Arm
from kilter.oversight.conduct import conduct, done_so_far
from kilter.oversight.effects import effects, reliance
from kilter.oversight.experiment import help_by_arm
from kilter.oversight.findings import Mark
from kilter.oversight.page import write_page
from kilter.oversight.recording import add_shown
from kilter.oversight.results import results_of
from kilter.oversight.study import Study
from kilter.record import Record, Workspace
from kilter.settings import build
from kilter.testbeds import as_jsonl
from kilter.testbeds.facts import judge_view

ARMS: tuple[Arm, ...] = ("none", "oracle", "misleading")
CASES = [made_case(number, wrong=(1, 4) if number % 3 else ()) for number in range(9)]
STARTED = "2026-11-23T10:00:00Z"


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Workspace.open(tmp_path / "ws") as opened:
        yield Desk(opened.record)


def study(raters: int = 6) -> tuple[Task, list]:  # type: ignore[type-arg]
    shown = help_by_arm(CASES, [ProgramCritic(0.5, 0.5).criticize(case, 0) for case in CASES], ARMS, 0)
    return task_of_study(CASES, shown, name="study", title="Study", raters=raters)


def flaw(start: int, end: int, kind: str = "odd") -> dict[str, object]:
    return {"place": 0, "start": start, "end": end, "type": kind, "severity": "minor", "note": ""}


def trusting(desk: Desk, task: Task, who: Rater, one: Assignment) -> None:
    """Marks the second unit alone, and follows every claim about the text."""
    alone = [flaw(10, 18)]
    claims = desk.submit(task, who, one.id, Submission(f"a-{one.id}", {"flaws": alone}, STARTED, {"flaws": 4000})).help
    assert claims is not None
    fine = [claim for claim in claims if claim.verdict == "fine"]
    marks = [mark for mark in alone if not any(c.start < 18 and c.end > 10 for c in fine)]
    marks += [flaw(c.start, c.end, c.type or "odd") for c in claims if c.verdict == "wrong" and c.start != 10]
    followed = {str(number): True for number in range(len(claims))}
    sent = Submission(f"b-{one.id}", {"flaws": marks}, STARTED, {"flaws": 2000}, followed, list(range(len(claims))))
    desk.submit(task, who, one.id, sent)


def test_people_go_through_the_same_analysis(desk: Desk) -> None:
    task, items = study()
    desk.add_task(task)
    assert desk.add_items(task, items) == len(CASES)
    for number in range(6):
        who = Rater(f"{number:032}", f"simulated/{number}", "simulated")
        for one in desk.next(task, who, len(CASES)):
            trusting(desk, task, who, one)
    unfinished = Rater(f"{9:032}", "simulated/9", "simulated")
    assert desk.next(task, unfinished) == []
    outcomes = outcomes_of(desk.trials("study"), cases_by_artifact(desk.record, CASES, items))
    assert len(outcomes) == 6 * len(CASES)
    assert Counter((one.trial.rater, one.trial.arm) for one in outcomes) == {
        (who, arm): 3 for who in range(6) for arm in ARMS
    }
    for one in outcomes:
        assert one.case is CASES[one.trial.item]
        assert one.review.alone == [Mark(10, 18, "odd")]
        assert one.review.effort == 6
        if one.trial.arm == "none":
            assert (one.help.claims, one.review.marks) == ((), one.review.alone)
        if one.trial.arm == "oracle":
            assert one.found.found == len(one.case.flaws)
        if one.trial.arm == "misleading":
            assert one.found.found == 0
    found = effects(outcomes)
    assert found["oracle"].found.value > found["none"].found.value > found["misleading"].found.value == 0
    over = reliance(outcomes, "misleading").over.estimate
    assert over is not None
    assert over.value == 1


def test_the_task_asks_for_the_flaws_of_the_cases_and_hides_the_help() -> None:
    task, items = study(raters=4)
    [question] = task.questions
    assert question.type == "flaws"
    assert (question.types, task.overlap.judges) == (("even", "odd"), 4)
    assert task.help is not None
    assert task.help.arms == ARMS
    assert [one.responses for one in items] == [(case.response,) for case in CASES]
    assert CASES[1].source in items[1].prompt[0]["content"]
    assert set(items[1].help) == {"oracle", "misleading"}
    assert items[1].body().keys() == {"prompt", "responses"}


def test_claims_that_are_recorded_already_name_their_critic(desk: Desk) -> None:
    critiques = [ProgramCritic(1, 0).criticize(case, 0) for case in CASES]
    shown = help_by_arm(CASES, critiques, ["critiques"], 0)
    recorded = add_shown(desk.record, CASES, shown)
    task, items = task_of_study(CASES, shown, name="study", title="Study", raters=1, recorded=recorded)
    desk.add_task(task)
    desk.add_items(task, items)
    who = Rater(f"{1:032}", "simulated/1", "simulated")
    for one in desk.next(task, who, 2):
        trusting(desk, task, who, one)
    exposures = desk.record.exposures()
    assert len(exposures) == sum(len(each.claims) for each in critiques[:2]) > 0
    assert {desk.record.artifact(one.assistance).producer for one in exposures} == {"program/finds-1-invents-0"}


def test_unfinished_trials_and_strange_items_give_no_outcome(desk: Desk) -> None:
    task, items = study()
    desk.add_task(task)
    desk.add_items(task, items)
    who = Rater(f"{1:032}", "people/1")
    [one, other] = desk.next(task, who, 2)
    desk.submit(task, who, other.id, Submission("alone-key", {"flaws": []}, STARTED, {}))
    cases = cases_by_artifact(desk.record, CASES, items)
    assert outcomes_of(desk.trials("study"), cases) == []
    trusting(desk, task, who, one)
    assert len(outcomes_of(desk.trials("study"), cases)) == 1
    with pytest.raises(DataError, match="none of the cases"):
        outcomes_of(desk.trials("study"), {})


def test_help_that_does_not_fit_the_cases_is_refused() -> None:
    with pytest.raises(DataError, match="no cases"):
        task_of_study([], {}, name="study", title="Study", raters=1)
    one = help_by_arm(CASES[:1], [], ["oracle"], 0)
    with pytest.raises(DataError, match="help for 1 cases"):
        task_of_study(CASES, one, name="study", title="Study", raters=1)


def test_people_are_handed_what_a_judge_may_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "LOOK_SECONDS", 0.01)
    values = {
        "name": "seen", "arms": ["none", "oracle"], "cases": {"testbed": "facts", "n": 4, "flawed": 1, "view": "judge"},
        "raters": {"kind": "people", "count": 2}, "expected": {"power": 0.01},
    }  # fmt: skip
    handed: list[str] = []

    @contextmanager
    def pages(record: Record, name: str) -> Iterator[None]:
        desk = Desk(record)
        task = desk.task(name)
        for who in (Rater(f"{number:032}", f"people/{number}", "human") for number in range(2)):
            for one in desk.next(task, who, 4):
                handed.append(one.content.prompt[0]["content"])
                help_ = desk.submit(task, who, one.id, Submission(f"a-{one.id}", {"flaws": []}, STARTED, {})).help
                followed = {str(number): False for number in range(len(help_ or ()))}
                desk.submit(task, who, one.id, Submission(f"b-{one.id}", {"flaws": []}, STARTED, {}, followed, []))
        yield

    def no_model(*_: object) -> ChatModel:
        raise AssertionError("no model is asked")

    with Workspace.open(tmp_path / "w") as opened:
        done = conduct(build(Study, values, "here"), opened, no_model, lambda *_: None, pages)
        assert len(done.outcomes) == done.planned == 8
        assert len(done_so_far(opened, "seen").outcomes) == 8
    for case in done.cases:
        assert sum(judge_view(case) in one for one in handed) == 2
        assert not any(case.source in one for one in handed)


class Closing(Exception):
    """The program is stopped."""


def test_a_study_waits_for_people_is_stopped_and_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(people, "LOOK_SECONDS", 0.01)
    file = tmp_path / "cases.jsonl"
    file.write_text(as_jsonl(CASES))
    values = {
        "name": "with-people", "arms": ARMS, "cases": {"file": str(file)}, "raters": {"kind": "people", "count": 3},
        "expected": {"power": 0.05, "ratio": 3},
    }  # fmt: skip
    plan = build(Study, values, "here")
    workers = [Rater(f"{number:032}", f"people/{number}", "human") for number in range(3)]

    @contextmanager
    def pages(record: Record, name: str) -> Iterator[None]:
        desk = Desk(record)
        task = desk.task(name)
        for who in workers[: 1 if stop else 3]:
            for one in desk.next(task, who, len(CASES)):
                trusting(desk, task, who, one)
        if stop:
            raise Closing
        yield

    def no_model(*_: object) -> ChatModel:
        raise AssertionError("no model is asked")

    with Workspace.open(tmp_path / "w") as opened:
        stop = True
        with pytest.raises(Closing):
            conduct(plan, opened, no_model, lambda *_: None, pages)
        assert len(done_so_far(opened, "with-people").outcomes) == len(CASES)
        stop = False
        done = conduct(plan, opened, no_model, lambda *_: None, pages)
        assert len(done.outcomes) == 3 * len(CASES)
        assert conduct(plan, opened, no_model, lambda *_: None, pages).outcomes == done.outcomes
        results = results_of(done)
        assert results.arms["oracle"].effect.found.value > results.arms["misleading"].effect.found.value
        assert results.arms["oracle"].ece.reason == "These raters do not say how sure they are of a mark."
        page = write_page(done, results).page.read_text()
        assert "3 people" in page
        assert "never an effect on people" not in page
        assert {one.principal for one in opened.record.judgments()} == {"human"}
        with pytest.raises(SettingsError, match="no pages"):
            conduct(plan, opened, no_model, lambda *_: None)
