"""Items that a rater flagged as ones that nobody should judge: handed to nobody until a researcher decides.

The researcher returns them to the queue or retires them; both are notes on the record, as the flag is.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

from sqlalchemy import Connection, delete, insert, select, update

from kilter.errors import DataError
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import queue
from kilter.feedback.work.asides import CAN_BE_JUDGED, Aside, asides
from kilter.feedback.work.queue import FLAGGED
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.tables import assignments, flags, items
from kilter.record import Judgment

Ruling = Literal["returned", "retired"]


@dataclass(frozen=True)
class Flag:
    """A flagged item, with the notes of those who flagged it; `retired` where a researcher has agreed with them."""

    artifact: str
    item: TaskItem
    notes: tuple[Aside, ...]
    retired: bool


def raise_flag(connection: Connection, number: int) -> None:
    """Take an item out of the queue, and remember how many raters it was for."""
    wanted = connection.execute(select(items.c.wanted).where(items.c.id == number)).scalar()
    if wanted == 0:
        return  # another rater, who held it too, was faster
    connection.execute(delete(flags).where(flags.c.item == number))
    connection.execute(insert(flags), {"item": number, "wanted": wanted, "retired": False})
    connection.execute(update(items).where(items.c.id == number).values(wanted=0))


def withdraw(connection: Connection, one: queue.Assignment) -> None:
    """Put an item back into the queue that a rater flagged, and judges or skips after all.

    Raises:
        DataError: a researcher has retired it, or another rater has flagged it, too.
    """
    flag = connection.execute(select(flags.c.wanted, flags.c.retired).where(flags.c.item == one.number)).one_or_none()
    if flag is None:
        return  # a researcher was faster
    same = assignments.c.item == one.number, assignments.c.state == FLAGGED, assignments.c.id != one.id
    if flag.retired or connection.execute(select(assignments.c.id).where(*same).limit(1)).first() is not None:
        who = "A researcher has taken this item out" if flag.retired else "Somebody else has flagged this item, too"
        raise DataError(f"{who}, so it is not judged any more; your flag stays. Go on with the next one.")
    connection.execute(delete(flags).where(flags.c.item == one.number))
    connection.execute(update(items).where(items.c.id == one.number).values(wanted=flag.wanted))


def standing_flags(connection: Connection, task: str) -> list[Flag]:
    """The items that are out of a task's queue, those that wait for a decision first."""
    query = select(items.c.artifact, flags.c.retired).join(flags, flags.c.item == items.c.id, isouter=True)
    out = {one.artifact: bool(one.retired) for one in connection.execute(
        query.where(items.c.task == task, items.c.wanted == 0)
    )}  # fmt: skip
    if not out:
        return []
    notes: dict[str, list[Aside]] = {}
    for one in asides(connection, task):
        if one.state == FLAGGED and one.artifact in out:
            notes.setdefault(one.artifact, []).append(one)
    found = [Flag(artifact, own[0].item, tuple(own), out[artifact]) for artifact, own in notes.items()]
    return sorted(found, key=lambda one: one.retired)


def rule(
    connection: Connection, task: Task, rater: Rater, artifact: str, ruling: Ruling, reason: str, now: float
) -> Judgment:
    """Return a flagged item to the queue, or retire it; the note that belongs on the record.

    Raises:
        DataError: no flag stands on this item; another researcher may have decided meanwhile.
    """
    here = items.c.task == task.name, items.c.artifact == artifact
    number = connection.execute(select(items.c.id).where(*here, items.c.wanted == 0)).scalar()
    if number is None:
        raise DataError(
            "No flag stands on this item: somebody has returned it to the queue, or it is none of the task."
        )
    found = connection.execute(select(flags.c.wanted).where(flags.c.item == number)).one_or_none()
    wanted = found.wanted if found else _usual(connection, task, number)
    connection.execute(delete(flags).where(flags.c.item == number))
    if ruling == "retired":
        connection.execute(insert(flags), {"item": number, "wanted": wanted, "retired": True})
    else:
        connection.execute(update(items).where(items.c.id == number).values(wanted=wanted))
        queue.recount(connection, [number])
    started = datetime.fromtimestamp(now, UTC).isoformat()
    return Judgment(
        artifact, CAN_BE_JUDGED, rater.judge, rater.principal, {ruling: reason.strip()}, blinded=False, started=started
    )


def _usual(connection: Connection, task: Task, number: int) -> int | None:
    """How many raters an item is for that was flagged before flags were kept: as many as one outside the sample."""
    use = connection.execute(select(items.c.use).where(items.c.id == number)).scalar_one()
    return task.overlap.judges if use == "work" else None
