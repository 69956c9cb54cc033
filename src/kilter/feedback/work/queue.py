"""Who judges what next: items are handed out, held for a while, and come back when they are left alone.

Every change is made under the writers' lock of the record, in the transaction that also records the judgments: so an
item is never judged by more raters than it is for, however many submit at the same moment.
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, RowMapping, bindparam, exists, func, insert, select, update

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


# Statements that every request needs are made once: making one takes longer than asking it.

_IN_HAND = (
    assignments.c.task == bindparam("of_task"),
    assignments.c.rater == bindparam("by"),
    assignments.c.state == HELD,
)
_LATE = select(assignments.c.id).where(
    assignments.c.task == bindparam("of_task"), assignments.c.state == HELD, assignments.c.until < bindparam("now")
)
_STILL_THERE = update(assignments).where(*_IN_HAND).values(until=bindparam("later"))
_FOUND = (
    select(*assignments.columns, items.c.artifact, items.c.content, *second_look.columns)
    .join(items, items.c.id == assignments.c.item)
    .join(second_looks, second_looks.c.assignment == assignments.c.id, isouter=True)
    .order_by(assignments.c.given, assignments.c.id)
)
_FOUND_IN_HAND = _FOUND.where(*_IN_HAND)
_FOUND_ONE = _FOUND.where(
    assignments.c.id == bindparam("one"),
    assignments.c.rater == bindparam("by"),
    assignments.c.task == bindparam("of_task"),
)
_CLOSE = update(assignments).where(assignments.c.id == bindparam("one"))
_FREE = (
    select(items.c.id)
    .where(
        items.c.task == bindparam("of_task"), items.c.use == bindparam("for_use"), items.c.free,
        ~exists().where(
            assignments.c.item == items.c.id, assignments.c.rater == bindparam("by"), assignments.c.state != FREED
        ),
    )
    .order_by(items.c.priority.desc(), items.c.place, items.c.id)
    .limit(bindparam("most"))
)  # fmt: skip
_CONTENTS = (
    select(items.c.id, items.c.content, assignments.c.id.label("freed"))
    .join(assignments, (assignments.c.item == items.c.id) & (assignments.c.rater == bindparam("by")), isouter=True)
    .where(items.c.id.in_(bindparam("numbers", expanding=True)))
)
_COUNTED = {
    name: select(func.count()).where(assignments.c.item == items.c.id, assignments.c.state == state).scalar_subquery()
    for name, state in (("taken", SUBMITTED), ("held", HELD))
}
COUNT_ANEW = update(items).values(
    **_COUNTED, free=items.c.wanted.is_(None) | (items.c.wanted > _COUNTED["taken"] + _COUNTED["held"])
)
"""Counts who has and had items, and whether there is room for one more; to be given the items' condition."""
_COUNT_THESE = COUNT_ANEW.where(items.c.id.in_(bindparam("numbers", expanding=True)))


def next_assignments(
    connection: Connection, task: Task, rater: str, count: int, now: float
) -> tuple[list[Assignment], Standing]:
    """Up to `count` assignments for a rater, those in hand already first, then new ones; and where the rater stands."""
    free_expired(connection, task.name, now)
    until = now + 60 * task.hold_minutes
    mine = {"of_task": task.name, "by": rater}
    connection.execute(_STILL_THERE, {**mine, "later": until})  # who asks for more is still there
    standing = standing_of(connection, task, rater)
    held = in_hand(connection, task.name, rater)
    chosen = _choose(connection, task, rater, standing.use, standing.judged + len(held), count - len(held))
    if chosen:
        _hold(connection, task, chosen, rater, now, until)
        held = in_hand(connection, task.name, rater)
    return held[:count], standing


def find(connection: Connection, *conditions: ColumnElement[bool]) -> list[Assignment]:
    """Assignments that meet the conditions, in the order in which they were given."""
    return [_assignment(row) for row in connection.execute(_FOUND.where(*conditions)).mappings()]


def in_hand(connection: Connection, task: str, rater: str) -> list[Assignment]:
    """What a rater has not done with yet, in the order in which it was given."""
    asked = {"of_task": task, "by": rater}
    return [_assignment(row) for row in connection.execute(_FOUND_IN_HAND, asked).mappings()]


def find_one(connection: Connection, assignment: str, task: str, rater: str) -> Assignment | None:
    """An assignment of a rater in a task; None where it is somebody else's, of another task, or none."""
    asked = {"one": assignment, "of_task": task, "by": rater}
    row = connection.execute(_FOUND_ONE, asked).mappings().one_or_none()
    return None if row is None else _assignment(row)


def free_expired(connection: Connection, task: str, now: float) -> None:
    """Take back what raters have left alone for too long."""
    for late in connection.execute(_LATE, {"of_task": task, "now": now}).scalars().all():  # nearly always none
        for one in find(connection, assignments.c.id == late):
            close(connection, one, FREED)


def close(connection: Connection, one: Assignment, state: str, **values: Any) -> None:
    """Give an assignment the state in which it no longer is in hand, and count its item anew."""
    connection.execute(_CLOSE, {"one": one.id, "state": state, **values})
    recount(connection, [one.number])


def keep_in_hand(connection: Connection, one: Assignment, until: float, **values: Any) -> None:
    """Leave an assignment in its rater's hands, or put it back there, and count its item anew."""
    kept = {"state": HELD, "until": until, **values}
    connection.execute(update(assignments).where(assignments.c.id == one.id).values(kept))
    recount(connection, [one.number])


def recount(connection: Connection, numbers: Iterable[int]) -> None:
    """Count who has and had these items, and whether there is room for one more."""
    connection.execute(_COUNT_THESE, {"numbers": list(numbers)})


def _choose(connection: Connection, task: Task, rater: str, use: Use | None, turn: int, most: int) -> list[int]:
    """Numbers of the items to hand out next, `most` at most; `turn` counts those that the rater had before."""
    if use == "work" and task.quota is not None:
        most = min(most, task.quota - turn)
    if use is None or most <= 0:
        return []
    if use != "work":
        return _free(connection, task.name, rater, use, most)
    is_gold = [
        bool(task.checks.gold) and _chance(task.name, rater, turn + ahead) < task.checks.gold for ahead in range(most)
    ]
    gold = iter(_free(connection, task.name, rater, "gold", sum(is_gold)) if any(is_gold) else [])
    work = iter(_free(connection, task.name, rater, "work", most))
    found = [next(gold, None) or next(work, None) if golden else next(work, None) for golden in is_gold]
    return [number for number in found if number is not None]


def _free(connection: Connection, task: str, rater: str, use: Use, most: int) -> list[int]:
    """The first free items that this rater has not had."""
    asked = {"of_task": task, "for_use": use, "by": rater, "most": most}
    return list(connection.execute(_FREE, asked).scalars())


def _chance(*parts: object) -> float:
    """A number from 0 to 1 that is the same for the same parts: whether a turn is a gold one survives a restart."""
    digest = hashlib.sha256(json.dumps([str(one) for one in parts]).encode()).digest()
    return int.from_bytes(digest[:8]) / 2**64


def _hold(
    connection: Connection, task: Task, numbers: Sequence[int], rater: str, now: float, until: float
) -> None:  # fmt: skip
    """Put items into a rater's hands, their sides dealt at random; one that was freed keeps its sides and draft."""
    found = {row.id: row for row in connection.execute(_CONTENTS, {"numbers": numbers, "by": rater})}
    new = []
    for place, number in enumerate(numbers):
        values = {"state": HELD, "given": now + 1e-5 * place, "until": until}  # one after another
        if found[number].freed is not None:
            connection.execute(update(assignments).where(assignments.c.id == found[number].freed).values(values))
            continue
        seed = secrets.randbits(62)
        sides = list(range(len(json.loads(found[number].content).get("responses", []))))
        if task.blind:
            Random(seed).shuffle(sides)
        new.append({
            "id": secrets.token_hex(16), "task": task.name, "item": number, "rater": rater,
            "sides": json.dumps(sides), "seed": seed, **values,
        })  # fmt: skip
    if new:
        connection.execute(insert(assignments), new)
    recount(connection, numbers)


def _assignment(row: RowMapping) -> Assignment:
    return Assignment(
        row["id"], row["task"], row["item"], row["rater"], row["state"], row["artifact"],
        TaskItem.from_json(json.loads(row["content"])), tuple(json.loads(row["sides"])), row["seed"], row["given"],
        row["until"], row["submission"], _json(row["answers"]), _json(row["judgments"]), SecondLook.from_row(row),
    )  # fmt: skip


def _json(text: str | None) -> Any:
    return None if text is None else json.loads(text)
