"""Who judges what next: items are handed out, held for a while, and come back when they are left alone.

Every change is made under the writers' lock of the record, in the transaction that also records the judgments: so an
item is never judged by more raters than it is for, however many submit at the same moment.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, exists, func, insert, select, update

from kilter.feedback.tasks import Task, TaskItem, Use
from kilter.feedback.work import second_look
from kilter.feedback.work.second_look import SecondLook
from kilter.feedback.work.standing import Standing, standing_of
from kilter.feedback.work.tables import assignments, items, second_looks

HELD: Final = "held"
FREED: Final = "freed"
SUBMITTED: Final = "submitted"
SKIPPED: Final = "skipped"
FLAGGED: Final = "flagged"
SURPLUS: Final = "surplus"


@dataclass(frozen=True)
class Assignment:
    """An item in the hands of a rater.

    Attributes:
        id: its name outside, hard to guess.
        number: of the item in the database.
        artifact: what is judged, on the record.
        content: the item with all that the rater must not see.
        sides: for each place on screen, the number of the response that stands there. Never leaves the server.
        given, until: when it was handed out and when it is freed, in seconds since 1970.
        submission: the browser's name for what it sent.
        answers: a draft, or what was submitted, as the rater saw it.
        judgments: ids on the record, by question, once submitted.
        look: in an experiment on help, once the unaided answer was taken.
    """

    id: str
    task: str
    number: int
    rater: str
    state: str
    artifact: str
    content: TaskItem
    sides: tuple[int, ...]
    seed: int
    given: float
    until: float
    submission: str | None = None
    answers: Mapping[str, Any] | None = None
    judgments: Mapping[str, str] | None = None
    look: SecondLook | None = None


def next_assignments(
    connection: Connection, task: Task, rater: str, count: int, now: float
) -> tuple[list[Assignment], Standing]:
    """Up to `count` assignments for a rater, those in hand already first, then new ones; and where the rater stands."""
    free_expired(connection, task.name, now)
    until = now + 60 * task.hold_minutes
    connection.execute(
        update(assignments).where(*in_hand(task.name, rater)).values(until=until)
    )  # who asks for more is still there
    standing = standing_of(connection, task, rater)
    held = find(connection, *in_hand(task.name, rater))
    mine = len(held)
    while mine < count:
        number = _choose(connection, task, rater, standing.use, standing.judged + mine)
        if number is None:
            break
        _hold(connection, task, number, rater, now + 1e-5 * mine, until)  # one after another
        mine += 1
    if mine > len(held):
        held = find(connection, *in_hand(task.name, rater))
    return held[:count], standing


def find(connection: Connection, *conditions: ColumnElement[bool]) -> list[Assignment]:
    """Assignments that meet the conditions, in the order in which they were given."""
    columns = (*assignments.columns, items.c.artifact, items.c.content, *second_look.columns)
    query = select(*columns).join(items, items.c.id == assignments.c.item).where(*conditions)
    query = query.join(second_looks, second_looks.c.assignment == assignments.c.id, isouter=True)
    query = query.order_by(assignments.c.given, assignments.c.id)
    return [_assignment(row) for row in connection.execute(query).mappings()]


def free_expired(connection: Connection, task: str, now: float) -> None:
    """Take back what raters have left alone for too long."""
    late = assignments.c.task == task, assignments.c.state == HELD, assignments.c.until < now
    if connection.execute(select(assignments.c.id).where(*late).limit(1)).first() is None:
        return  # nearly always
    for one in find(connection, *late):
        close(connection, one, FREED)


def close(connection: Connection, one: Assignment, state: str, **values: Any) -> None:
    """Give an assignment the state in which it no longer is in hand, and count its item anew."""
    connection.execute(update(assignments).where(assignments.c.id == one.id).values(state=state, **values))
    recount(connection, [one.number])


def keep_in_hand(connection: Connection, one: Assignment, until: float, **values: Any) -> None:
    """Leave an assignment in its rater's hands, or put it back there, and count its item anew."""
    kept = {"state": HELD, "until": until, **values}
    connection.execute(update(assignments).where(assignments.c.id == one.id).values(kept))
    recount(connection, [one.number])


def recount(connection: Connection, numbers: Iterable[int]) -> None:
    """Count who has and had these items, and whether there is room for one more."""
    for number in numbers:
        states: dict[str, int] = dict(
            connection.execute(
                select(assignments.c.state, func.count()).where(assignments.c.item == number)
                .group_by(assignments.c.state)
            ).all()
        )  # fmt: skip
        taken, held = states.get(SUBMITTED, 0), states.get(HELD, 0)
        room = (items.c.wanted.is_(None)) | (items.c.wanted > taken + held)
        connection.execute(update(items).where(items.c.id == number).values(taken=taken, held=held, free=room))


def in_hand(task: str, rater: str) -> tuple[ColumnElement[bool], ...]:
    """The condition for what a rater has not done with yet."""
    return assignments.c.task == task, assignments.c.rater == rater, assignments.c.state == HELD


def _choose(connection: Connection, task: Task, rater: str, use: Use | None, turn: int) -> int | None:
    """The number of the item to hand out next, or None when there is nothing left for this rater."""
    if use is None:
        return None
    if use != "work":
        return _first(connection, task.name, rater, use)
    if task.quota is not None and turn >= task.quota:
        return None
    if task.checks.gold and _chance(task.name, rater, turn) < task.checks.gold:
        gold = _first(connection, task.name, rater, "gold")
        if gold is not None:
            return gold
    return _first(connection, task.name, rater, "work")


def _first(connection: Connection, task: str, rater: str, use: Use) -> int | None:
    """The first free item that this rater has not had."""
    had = exists().where(assignments.c.item == items.c.id, assignments.c.rater == rater, assignments.c.state != FREED)
    query = select(items.c.id).where(items.c.task == task, items.c.use == use, items.c.free, ~had)
    found: int | None = connection.execute(
        query.order_by(items.c.priority.desc(), items.c.place, items.c.id).limit(1)
    ).scalar()
    return found


def _chance(*parts: object) -> float:
    """A number from 0 to 1 that is the same for the same parts: whether a turn is a gold one survives a restart."""
    digest = hashlib.sha256(json.dumps([str(one) for one in parts]).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _hold(connection: Connection, task: Task, number: int, rater: str, now: float, until: float) -> None:
    """Put an item into a rater's hands, its sides dealt at random; one that was freed keeps its sides and draft."""
    values = {"state": HELD, "given": now, "until": until}
    mine = assignments.c.item == number, assignments.c.rater == rater
    if not connection.execute(update(assignments).where(*mine).values(values)).rowcount:
        content = connection.execute(select(items.c.content).where(items.c.id == number)).scalar_one()
        seed = secrets.randbits(62)
        sides = list(range(len(json.loads(content).get("responses", []))))
        if task.blind:
            Random(seed).shuffle(sides)
        row = {
            "id": secrets.token_hex(16), "task": task.name, "item": number, "rater": rater, "state": HELD,
            "sides": json.dumps(sides), "seed": seed, "given": now, "until": until,
        }  # fmt: skip
        connection.execute(insert(assignments), row)
    recount(connection, [number])


def _assignment(row: RowMapping) -> Assignment:
    return Assignment(
        row["id"], row["task"], row["item"], row["rater"], row["state"], row["artifact"],
        TaskItem.from_json(json.loads(row["content"])), tuple(json.loads(row["sides"])), row["seed"], row["given"],
        row["until"], row["submission"], _json(row["answers"]), _json(row["judgments"]), SecondLook.from_row(row),
    )  # fmt: skip


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
