from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from people import STARTED, make_items, make_task, rater, send
from sqlalchemy import delete

from kilter.errors import DataError
from kilter.feedback.tasks import Task
from kilter.feedback.work import Assignment, Desk, queue
from kilter.feedback.work.tables import assignments, flags
from kilter.record import Workspace

BOSS = rater("boss")


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    on_server = request.param == "postgresql"
    address = request.getfixturevalue("postgresql_server").schema() if on_server else None
    with Workspace.open(tmp_path / "ws", address) as opened:
        yield Desk(opened.record)


@pytest.fixture
def task(desk: Desk) -> Task:
    """One item for three raters, that the first has judged and the second flagged."""
    task = make_task(overlap={"judges": 3})
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    send(desk, task, rater(1), one)
    flag(desk, task, 2)
    return task


def flag(desk: Desk, task: Task, number: int) -> None:
    [one] = desk.next(task, rater(number))
    desk.set_aside(task, rater(number), one.id, "flagged", "an advertisement", f"key-flag-{number}", STARTED)


def test_a_flagged_item_waits_for_a_researcher(desk: Desk, task: Task) -> None:
    [found] = desk.flags("t")
    assert [(one.judge, one.reason) for one in found.notes] == [("people/2", "an advertisement")]
    assert not found.retired
    assert desk.next(task, rater(3)) == []
    assert desk.flagged("t") == {found.artifact}


def test_a_returned_item_is_judged_by_as_many_as_before(desk: Desk, task: Task) -> None:
    [found] = desk.flags("t")
    desk.rule(task, BOSS, found.artifact, "returned", "it is none")
    assert (desk.flags("t"), desk.flagged("t")) == ([], set())
    assert desk.next(task, rater(2)) == [], "who flagged it does not get it again"
    for number in (3, 4):
        [one] = desk.next(task, rater(number))
        assert send(desk, task, rater(number), one) == "submitted"
    assert desk.next(task, rater(5)) == []
    progress = desk.progress("t")
    assert (progress.judgments, progress.wanted, progress.complete) == (3, 3, 1)
    [note] = desk.record.judgments(judge=BOSS.judge)
    assert (note.question, note.value) == ("Can this be judged?", {"returned": "it is none"})
    assert desk.record.verify().ok


def test_a_returned_item_may_be_flagged_again(desk: Desk, task: Task) -> None:
    [found] = desk.flags("t")
    desk.rule(task, BOSS, found.artifact, "returned")
    flag(desk, task, 3)
    [again] = desk.flags("t")
    assert [one.judge for one in again.notes] == ["people/2", "people/3"]
    desk.rule(task, BOSS, found.artifact, "returned")
    assert desk.progress("t").wanted == 3


def test_two_who_hold_an_item_may_both_flag_it(desk: Desk) -> None:
    task = make_task(overlap={"judges": 4})
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    held = [desk.next(task, rater(number))[0] for number in (1, 2)]
    for number, one in enumerate(held, 1):
        desk.set_aside(task, rater(number), one.id, "flagged", "no", f"key-flag-{number}", STARTED)
    [found] = desk.flags("t")
    assert len(found.notes) == 2
    desk.rule(task, BOSS, found.artifact, "returned")
    assert desk.progress("t").wanted == 4


def test_a_retired_item_stays_out_and_may_come_back(desk: Desk, task: Task) -> None:
    [found] = desk.flags("t")
    desk.rule(task, BOSS, found.artifact, "retired")
    [retired] = desk.flags("t")
    assert retired.retired
    assert desk.flagged("t") == {found.artifact}, "its judgments stay out of exports"
    assert desk.next(task, rater(3)) == []
    desk.rule(task, BOSS, found.artifact, "returned")
    assert len(desk.next(task, rater(3))) == 1


def test_items_for_any_number_of_raters_come_back_for_everybody(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(1, use="training", answers={"better": 0}))
    flag(desk, task, 1)
    [found] = desk.flags("t")
    desk.rule(task, BOSS, found.artifact, "returned")
    for number in (2, 3):
        assert len(desk.next(task, rater(number))) == 1


def test_an_item_flagged_before_flags_were_kept_comes_back_for_the_usual_number(desk: Desk, task: Task) -> None:
    with desk.record.transaction() as transaction:
        transaction.connection.execute(delete(flags))
    [found] = desk.flags("t")
    desk.rule(task, BOSS, found.artifact, "returned")
    assert desk.progress("t").wanted == 3


def test_an_item_without_a_flag_cannot_be_ruled_on(desk: Desk, task: Task) -> None:
    [found] = desk.flags("t")
    desk.rule(task, BOSS, found.artifact, "returned")
    for artifact in (found.artifact, "a" * 64):
        with pytest.raises(DataError, match="No flag stands"):
            desk.rule(task, BOSS, artifact, "retired")


def mine(desk: Desk, task: Task, number: int) -> Assignment:
    with desk.record.reading() as connection:
        [one] = queue.find(connection, assignments.c.rater == rater(number).id)
    return one


def test_who_flagged_an_item_may_judge_it_after_all(desk: Desk, task: Task) -> None:
    assert send(desk, task, rater(2), mine(desk, task, 2), key="key-after-all") == "submitted"
    assert (desk.flags("t"), desk.flagged("t")) == ([], set())
    progress = desk.progress("t")
    assert (progress.judgments, progress.wanted) == (2, 3)
    [one] = desk.next(task, rater(3))
    assert send(desk, task, rater(3), one) == "submitted"
    current = {one.id for one in desk.record.judgments()} - {one.supersedes for one in desk.record.judgments()}
    notes = [one for one in desk.record.judgments() if one.id in current and isinstance(one.value, dict)]
    assert notes == [], "the flag is withdrawn on the record"


def test_a_skip_in_place_of_a_flag_returns_the_item(desk: Desk, task: Task) -> None:
    one = mine(desk, task, 2)
    desk.set_aside(task, rater(2), one.id, "skipped", "not for me", "key-skip-2", STARTED)
    assert desk.flags("t") == []
    assert len(desk.next(task, rater(3))) == 1


def test_a_flag_that_others_share_or_a_researcher_agrees_with_stays(desk: Desk) -> None:
    task = make_task(overlap={"judges": 3})
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [first], [second] = desk.next(task, rater(1)), desk.next(task, rater(2))
    for number, one in ((1, first), (2, second)):
        desk.set_aside(task, rater(number), one.id, "flagged", "an advertisement", f"key-flag-{number}", STARTED)
    with pytest.raises(DataError, match="Somebody else has flagged"):
        send(desk, task, rater(1), first)
    [found] = desk.flags("t")
    assert len(found.notes) == 2
    desk.rule(task, BOSS, found.artifact, "retired")
    with pytest.raises(DataError, match="taken this item out"):
        send(desk, task, rater(2), second)
    assert [one.retired for one in desk.flags("t")] == [True]
