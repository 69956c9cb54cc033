"""What a rater does with an item: submit, skip, flag, write a draft, take back.

A submission may come twice, because a connection was lost before the answer arrived: its name tells, and the second
one changes nothing. It may come late: as long as there is room for one more rater it counts, and else it is kept as
surplus and not put on the record, so that the number of judgments per item is exactly the one that was asked for.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Connection, select, update

from kilter.errors import DataError
from kilter.feedback.tasks import Answer, Shown, Task, placed, read_answers
from kilter.feedback.work import flags, queue
from kilter.feedback.work.asides import CAN_BE_JUDGED
from kilter.feedback.work.queue import FLAGGED, HELD, SKIPPED, SUBMITTED, SURPLUS, Assignment
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.standing import keep, standing_of
from kilter.feedback.work.tables import assignments, items
from kilter.record import Judgment

NOT_JUDGED = CAN_BE_JUDGED
AddJudgments = Callable[[list[Judgment]], list[str]]
"""Puts judgments on the record, in the transaction that is under way."""


@dataclass(frozen=True)
class Submission:
    """What the browser sent.

    Attributes:
        key: its name for it; equal keys are one submission.
        answers: by question, as the rater saw the item.
        started: ISO 8601, when the item came on screen.
        active_ms: by question, how long the rater was at it, idle time left out.
    """

    key: str
    answers: Mapping[str, Any]
    started: str
    active_ms: Mapping[str, int]


@dataclass(frozen=True)
class Outcome:
    """What became of a submission.

    Attributes:
        state: "submitted", or "surplus" when enough others had judged the item meanwhile.
        right: for items with known answers that teach, whether each question was answered as it should be.
        explanation: of such an item.
        known: its right answers, by question, with responses by their place on the rater's screen.
        shown: the responses, by place.
    """

    state: Literal["submitted", "surplus"]
    right: Mapping[str, bool] | None = None
    explanation: str = ""
    known: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] = ()


def own(connection: Connection, rater: str, assignment: str) -> Assignment:
    """A rater's assignment; raises `DataError` where it is somebody else's or none."""
    found = queue.find(connection, assignments.c.id == assignment, assignments.c.rater == rater)
    if not found:
        raise DataError("This item is not in your hands; reload the page to get your own.")
    return found[0]


def submit(
    connection: Connection, add: AddJudgments, task: Task, rater: Rater, one: Assignment, sent: Submission, now: float
) -> Outcome:
    """Take a rater's answers; what they correct is superseded.

    Raises:
        DataError: an answer is missing or of another form than its question.
    """
    if one.state == SUBMITTED and one.submission == sent.key:
        return _outcome(task, one, one.answers or {})
    answers = read_answers(task.questions, dict(sent.answers), Shown(one.content, one.sides))
    kept: dict[str, Any] = {
        "answers": json.dumps(sent.answers), "submission": sent.key, "submitted": now, "reason": None,
    }  # fmt: skip
    if one.state != SUBMITTED and not _room(connection, one):
        queue.close(connection, one, SURPLUS, **kept)
        return Outcome(SURPLUS)
    rows = _judgments(task, rater, one, sent, answers)
    ids = add([*rows.values(), *_withdrawn(task, rater, one, rows, sent.started)])
    judgments = json.dumps(dict(zip(rows, ids, strict=False)))  # without those withdrawn
    queue.close(connection, one, SUBMITTED, judgments=judgments, **kept)
    _count(connection, task, one, _right(one, answers))
    if task.order == "disputed" and one.content.use == "work":
        _dispute(connection, task, one)
    return _outcome(task, one, sent.answers)


def set_aside(
    connection: Connection, add: AddJudgments, task: Task, rater: Rater, one: Assignment,
    state: Literal["skipped", "flagged"], reason: str, key: str, started: str, now: float,
) -> None:  # fmt: skip
    """Skip an item, or flag it as one that nobody should judge; the record says so, and an earlier answer is undone.

    A flagged item is handed to nobody until a researcher has looked at it.

    Raises:
        DataError: there is no reason.
    """
    if one.state == state and one.submission == key:
        return
    if not reason.strip() or len(reason) > 2000:
        raise DataError("Say in a few words why, so that somebody can mend the item.")
    if state == FLAGGED:
        flags.raise_flag(connection, one.number)
    note = Judgment(
        one.artifact, NOT_JUDGED, rater.judge, rater.principal, {state: reason.strip()}, blinded=task.blind,
        started=started,
    )  # fmt: skip
    ids = add([note, *_withdrawn(task, rater, one, {}, started)])
    kept = {"reason": reason.strip(), "submission": key, "submitted": now}
    queue.close(connection, one, state, judgments=json.dumps({NOT_JUDGED: ids[0]}), **kept)


def save_draft(connection: Connection, one: Assignment, answers: Mapping[str, Any], until: float) -> None:
    """Keep what the rater has answered so far, and the item in the rater's hands."""
    if one.state == HELD:
        kept = {"answers": json.dumps(answers), "until": until}
        connection.execute(update(assignments).where(assignments.c.id == one.id).values(kept))


def last_done(connection: Connection, rater: str, task: str, before: str | None = None) -> Assignment | None:
    """What the rater did last in a task, or last before another assignment: to look at it again and change it."""
    done = (assignments.c.rater == rater, assignments.c.task == task, assignments.c.state.in_([SUBMITTED, SKIPPED]))
    query = select(assignments.c.id).where(*done).order_by(assignments.c.given.desc(), assignments.c.id.desc())
    if before is not None:
        given = own(connection, rater, before).given
        query = query.where(assignments.c.given < given)
    found = connection.execute(query.limit(1)).scalar()
    return None if found is None else own(connection, rater, found)


def _judgments(
    task: Task, rater: Rater, one: Assignment, sent: Submission, answers: Mapping[str, Answer]
) -> dict[str, Judgment]:
    """One row for each question that was answered, by the question's name."""
    asked = {question.name: question.ask for question in task.questions}
    before = one.judgments or {}
    return {
        name: Judgment(
            target=one.artifact, question=asked[name], judge=rater.judge, principal=rater.principal, value=answer.value,
            spans=answer.spans, side_shown=list(one.sides) or None, seed=one.seed, blinded=task.blind,
            started=sent.started, active_ms=sent.active_ms.get(name), supersedes=before.get(name),
        )
        for name, answer in answers.items()
    }  # fmt: skip


def _withdrawn(
    task: Task, rater: Rater, one: Assignment, answered: Mapping[str, Judgment], started: str
) -> list[Judgment]:
    """Rows without a value for questions that were answered before and are not now, or for a note that is void."""
    asked = {NOT_JUDGED: NOT_JUDGED} | {question.name: question.ask for question in task.questions}
    return [
        Judgment(
            one.artifact,
            asked[name],
            rater.judge,
            rater.principal,
            None,
            blinded=task.blind,
            started=started,
            supersedes=before,
        )
        for name, before in (one.judgments or {}).items()
        if name not in answered
    ]


def _outcome(task: Task, one: Assignment, given: Mapping[str, Any]) -> Outcome:
    """What the rater is told; that an item was a check, only where it is there to teach."""
    if one.content.use != "training":
        return Outcome(SUBMITTED)
    answers = read_answers(task.questions, dict(given), Shown(one.content, one.sides))
    return Outcome(SUBMITTED, _right(one, answers), one.content.explanation, _known(task, one), _dealt(one))


def _dealt(one: Assignment) -> tuple[str, ...]:
    return tuple(one.content.responses[number] for number in one.sides)


def _known(task: Task, one: Assignment) -> dict[str, Any]:
    """The right answers as the rater would have given them; those that their question would not take are left out."""
    questions = {question.name: question for question in task.questions}
    found = {}
    for name, value in one.content.answers.items():
        with suppress(KeyError, TypeError, IndexError, AttributeError, DataError):  # written by hand in the items' file
            answer = placed(questions[name], value, None, one.sides)
            if not (questions[name].type == "flaws" and isinstance(answer, int)):  # their number alone may be known
                questions[name].read(answer, Shown(one.content, one.sides))
            found[name] = answer
    return found


def _room(connection: Connection, one: Assignment) -> bool:
    """Whether one more judgment is wanted: what others only hold gives way to what is done."""
    taken, wanted = connection.execute(select(items.c.taken, items.c.wanted).where(items.c.id == one.number)).one()
    return wanted is None or taken < wanted


def _right(one: Assignment, answers: Mapping[str, Answer]) -> dict[str, bool] | None:
    if one.content.use == "work":
        return None
    return {name: name in answers and answers[name].value == known for name, known in one.content.answers.items()}


def _count(connection: Connection, task: Task, one: Assignment, right: Mapping[str, bool] | None) -> None:
    """Bring the rater's standing up to date; a correction counts no second time."""
    if one.state == SUBMITTED:
        return
    now = standing_of(connection, task, one.rater)
    if one.content.use in ("work", "gold"):
        now = replace(now, judged=now.judged + 1)
    elif one.content.use == "qualification" and right is not None:
        now = replace(now, right=now.right + sum(right.values()), asked=now.asked + len(right))
    keep(connection, task, one.rater, now)
    standing_of(connection, task, one.rater)  # a stage may be over now


def _dispute(connection: Connection, task: Task, one: Assignment) -> None:
    """Let an item come sooner, the more its raters differ on the first question."""
    name = task.questions[0].name
    others = queue.find(connection, assignments.c.item == one.number, assignments.c.state == SUBMITTED)
    values = {
        json.dumps(found[name].value)
        for other in others
        if other.answers is not None
        and name in (found := read_answers(task.questions, dict(other.answers), Shown(other.content, other.sides)))
    }
    if len(values) > 1:
        priority = one.content.priority + len(values) - 1
        connection.execute(update(items).where(items.c.id == one.number).values(priority=priority))
