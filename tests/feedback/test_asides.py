from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from people import STARTED, make_items, make_task, rater, send

from kilter.errors import DataError
from kilter.feedback.work import Desk, Rater
from kilter.record import Judgment, Workspace


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Workspace.open(tmp_path / "ws") as opened:
        yield Desk(opened.record)


def test_what_was_skipped_or_flagged_is_told_with_who_and_why(desk: Desk) -> None:
    task = make_task(order="given")
    desk.add_task(task)
    desk.add_items(task, make_items(3))
    for state, reason in (("skipped", "too long"), ("flagged", "an insult")):
        [one] = desk.next(task, rater(1))
        desk.set_aside(task, rater(1), one.id, state, f" {reason} ", f"key-{state}", STARTED)  # type: ignore[arg-type]
    [one] = desk.next(task, rater(2))
    desk.set_aside(task, rater(2), one.id, "skipped", "too long", "key", STARTED)
    found = desk.asides(task.name)
    assert [(one.judge, one.state, one.reason) for one in found] == [
        ("people/1", "skipped", "too long"), ("people/1", "flagged", "an insult"), ("people/2", "skipped", "too long"),
    ]  # fmt: skip
    assert found[0].item.responses == ("good 0", "bad 0")
    assert found[0].artifact == found[0].note.target
    assert desk.asides("another") == []


def test_an_answer_after_a_skip_makes_the_note_void(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    desk.set_aside(task, rater(1), one.id, "skipped", "unsure", "k1", STARTED)
    [note] = desk.record.judgments()
    assert send(desk, task, rater(1), one, 0, "k2") == "submitted"
    assert desk.asides(task.name) == []
    assert len(desk.results(task.name)) == 1
    assert [row.supersedes for row in _void(desk)] == [note.id]
    desk.set_aside(task, rater(1), one.id, "skipped", "unsure after all", "k3", STARTED)
    [aside] = desk.asides(task.name)
    assert aside.reason == "unsure after all"
    assert desk.results(task.name) == []
    assert desk.record.verify().ok


def _void(desk: Desk) -> list[Judgment]:
    return [one for one in desk.record.judgments() if one.question == "Can this be judged?" and one.value is None]


def test_simulated_raters_are_called_so_on_the_record(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(2))
    who = Rater("a", "simulated/a", "simulated")
    [one, other] = desk.next(task, who, 2)
    send(desk, task, who, one)
    desk.set_aside(task, who, other.id, "skipped", "why not", "k", STARTED)
    assert {(row.judge, row.principal) for row in desk.record.judgments()} == {("simulated/a", "simulated")}
    with pytest.raises(DataError, match="cannot have the principal 'human'"):
        Rater("a", "simulated/a")
    with pytest.raises(DataError, match="cannot have the principal 'simulated'"):
        Rater("a", "people/a", "simulated")
