"""What a rater does with an item: submit, skip, flag, write a draft, take back.

A submission may come twice, because a connection was lost before the answer arrived: its name tells, and the second
one changes nothing. It may come late: as long as there is room for one more rater it counts, and else it is kept as
surplus and not put on the record, so that the number of judgments per item is exactly the one that was asked for.

In an experiment on help an item is submitted twice: the first, unaided answer brings the help of the rater's arm and
leaves the item in hand; the second supersedes it on the record, with an exposure for each claim that was shown.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, select, update

from kilter.errors import DataError
from kilter.feedback.tasks import Answer, HelpClaim, Shown, Task, known_met, placed, read_answers
from kilter.feedback.work import flags, queue, second_look
from kilter.feedback.work.asides import CAN_BE_JUDGED
from kilter.feedback.work.queue import FLAGGED, HELD, SKIPPED, SUBMITTED, SURPLUS, Assignment
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.standing import keep, standing_of
from kilter.feedback.work.tables import assignments, items
from kilter.record import Judgment, Transaction

NOT_JUDGED = CAN_BE_JUDGED
_TAKEN = select(items.c.taken, items.c.wanted).where(items.c.id == bindparam("number"))
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
        followed: with the answer after help, by the number of each claim whether it was accepted, None where that was
            left open; None with every other answer.
        opened: numbers of the claims that the rater looked at.
    """

    key: str
    answers: Mapping[str, Any]
    started: str
    active_ms: Mapping[str, int]
    followed: Mapping[str, bool | None] | None = None
    opened: Sequence[int] = ()


@dataclass(frozen=True)
class Outcome:
    """What became of a submission.

    Attributes:
        state: "submitted", or "surplus" when enough others had judged the item meanwhile.
        right: for items with known answers that teach, whether each question was answered as it should be.
        explanation: of such an item.
        known: its right answers, by question, with responses by their place on the rater's screen.
        shown: the responses, by place.
        help: after an unaided answer, the claims of the rater's arm, for the second look; None where there is none.
    """

    state: Literal["submitted", "surplus"]
    right: Mapping[str, bool] | None = None
    explanation: str = ""
    known: Mapping[str, Any] = field(default_factory=dict)
    shown: tuple[str, ...] = ()
    help: tuple[HelpClaim, ...] | None = None


def own(connection: Connection, task: str, rater: str, assignment: str) -> Assignment:
    """A rater's assignment in a task; raises `DataError` where it is somebody else's, of another task, or none."""
    found = queue.find_one(connection, assignment, task, rater)
    if found is None:
        raise DataError("This item is not in your hands; reload the page to get your own.")
    return found


def submit(
    transaction: Transaction, task: Task, rater: Rater, one: Assignment, sent: Submission, now: float
) -> Outcome:
    """Take a rater's answers; what they correct is superseded.

    Raises:
        DataError: an answer is missing or of another form than its question, or belongs to the other look; or the rater
            had flagged the item, and the flag cannot be taken back any more.
    """
    connection = transaction.connection
    if one.state == SUBMITTED and one.submission == sent.key:
        return _outcome(task, one, one.answers or {})
    if one.look is not None and one.look.submission == sent.key:  # what it brought was lost on the way
        return Outcome(SUBMITTED, help=None if one.state == SUBMITTED else one.look.claims(one.content))
    _check_look(one, sent)
    answers = read_answers(task.questions, dict(sent.answers), Shown(one.content, one.sides))
    if one.state == FLAGGED:
        flags.withdraw(connection, one)
    kept: dict[str, Any] = {"answers": json.dumps(sent.answers), "submission": sent.key, "reason": None}
    if one.state != SUBMITTED and not _room(connection, one):
        queue.close(connection, one, SURPLUS, submitted=now, **kept)
        return Outcome(SURPLUS)
    rows = _judgments(task, rater, one, sent, answers)
    ids = transaction.add_judgments([*rows.values(), *_withdrawn(task, rater, one, rows, sent.started)])
    kept["judgments"] = json.dumps(dict(zip(rows, ids, strict=False)))  # without those withdrawn
    if one.look is None and task.is_trial(one.content):
        return _look_again(connection, task, one, sent, kept, now)
    if one.look is not None:
        followed = sent.followed or {}
        second_look.keep(connection, one.id, followed, sent.opened, sum(sent.active_ms.values()))
        transaction.add_exposures(one.look.exposures(one.content, ids[: len(rows)], followed, sent.opened))
    queue.close(connection, one, SUBMITTED, submitted=now, **kept)
    if one.state != SUBMITTED:  # a correction counts no second time
        _count(connection, task, one, 1)
    if task.order == "disputed" and one.content.use == "work":
        _dispute(connection, task, one)
    return _outcome(task, one, sent.answers)


def _check_look(one: Assignment, sent: Submission) -> None:
    """Refuse an unaided answer by who has seen the help, in another tab or browser, and the other way round."""
    if one.look is None and sent.followed is not None:
        raise DataError("This item has no help to follow before it was answered without. Reload the page.")
    if one.look is not None:
        if sent.followed is None:
            raise DataError(
                "This item was answered without help before, and what help says of it was shown: that answer stays as "
                "it was. Reload the page to look at it a second time."
            )
        second_look.check_taken(one.look.claims(one.content), sent.followed, sent.opened)


def _look_again(
    connection: Connection, task: Task, one: Assignment, sent: Submission, kept: Mapping[str, Any], now: float
) -> Outcome:
    """Keep the unaided answer, leave the item in hand, and bring the help of the rater's arm."""
    assert task.help is not None
    queue.keep_in_hand(connection, one, now + 60 * task.hold_minutes, **kept)
    arm = second_look.begin(
        connection, task.help, task.name, one.id, one.rater, one.number, now, submission=sent.key,
        answers=kept["answers"], judgments=kept["judgments"], alone_ms=sum(sent.active_ms.values()),
    )  # fmt: skip
    return Outcome(SUBMITTED, help=one.content.help.get(arm, ()))


def set_aside(
    connection: Connection, add: AddJudgments, task: Task, rater: Rater, one: Assignment,
    state: Literal["skipped", "flagged"], reason: str, key: str, started: str, now: float,
) -> None:  # fmt: skip
    """Skip an item, or flag it as one that nobody should judge; the record says so, and an earlier answer is undone.

    A flagged item is handed to nobody until a researcher has looked at it, or the rater has taken the flag back.

    Raises:
        DataError: there is no reason, or a flag cannot be taken back any more.
    """
    if one.state == state and one.submission == key:
        return
    if not reason.strip() or len(reason) > 2000:
        raise DataError("Say in a few words why, so that somebody can mend the item.")
    if state == FLAGGED:
        flags.raise_flag(connection, one.number)
    elif one.state == FLAGGED:
        flags.withdraw(connection, one)
    note = Judgment(
        one.artifact, NOT_JUDGED, rater.judge, rater.principal, {state: reason.strip()}, blinded=task.blind,
        started=started,
    )  # fmt: skip
    ids = add([note, *_withdrawn(task, rater, one, {}, started)])
    kept = {"reason": reason.strip(), "submission": key, "submitted": now}
    queue.close(connection, one, state, judgments=json.dumps({NOT_JUDGED: ids[0]}), **kept)
    if one.state == SUBMITTED:
        _count(connection, task, one, -1)


def save_draft(
    connection: Connection, one: Assignment, answers: Mapping[str, Any], until: float,
    followed: Mapping[str, bool | None] | None = None, opened: Sequence[int] = (),
) -> None:  # fmt: skip
    """Keep what the rater has answered so far, and the item in the rater's hands.

    A draft of the unaided answer that comes after that answer changes nothing.
    """
    if one.state != HELD or (one.look is None) != (followed is None):
        return
    kept = {"answers": json.dumps(answers), "until": until}
    connection.execute(update(assignments).where(assignments.c.id == one.id).values(kept))
    if one.look is not None and followed is not None:
        second_look.check_taken(one.look.claims(one.content), followed, opened)
        second_look.keep(connection, one.id, followed, opened)


def last_done(connection: Connection, rater: str, task: str, before: str | None = None) -> Assignment | None:
    """What the rater did last in a task, or last before another assignment: to look at it again and change it."""
    done = (assignments.c.rater == rater, assignments.c.task == task, assignments.c.state.in_([SUBMITTED, SKIPPED]))
    query = select(assignments.c.id).where(*done).order_by(assignments.c.given.desc(), assignments.c.id.desc())
    if before is not None:
        given = own(connection, task, rater, before).given
        query = query.where(assignments.c.given < given)
    found = connection.execute(query.limit(1)).scalar()
    return None if found is None else own(connection, task, rater, found)


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
    right = {name: score >= 1 for name, score in known_met(task.questions, one.content, answers).items()}
    return Outcome(SUBMITTED, right, one.content.explanation, _known(task, one), _dealt(one))


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
    taken, wanted = connection.execute(_TAKEN, {"number": one.number}).one()
    return wanted is None or taken < wanted


def _count(connection: Connection, task: Task, one: Assignment, by: int) -> None:
    """Bring the rater's standing up to date when an item was done, or is no longer."""
    now = standing_of(connection, task, one.rater)
    if one.content.use in ("work", "gold"):
        now = replace(now, judged=now.judged + by)
    keep(connection, task, one.rater, now)


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
