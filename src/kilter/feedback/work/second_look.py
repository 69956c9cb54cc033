"""The second look of an experiment on help: begun by the unaided answer, with the help of the arm that was dealt.

The arm is dealt in turn, by the item's place in the task and the rater's among those who began it: of any A raters in a
row each has an item with another of the A arms, and of any A items in a row of a rater each comes with another.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Self

from sqlalchemy import Connection, RowMapping, func, insert, select, update

from kilter.errors import DataError
from kilter.feedback.tasks import Help, HelpClaim, TaskItem
from kilter.feedback.work.tables import items, second_looks
from kilter.record import Exposure


@dataclass(frozen=True)
class SecondLook:
    """What is kept of it.

    Attributes:
        number: of the rater among those who began the task, from 0.
        arm: never told to the rater.
        began: when the help was first sent, in seconds since 1970.
        submission: the browser's name for the unaided answer.
        answers: the unaided ones, as the rater saw the item.
        judgments: their ids on the record, by question.
        alone_ms, aided_ms: how long the rater was at it before the help and after, corrections included.
        followed: by the number of the claim, as text, whether it was accepted; None where that was left open.
        opened: numbers of the claims that the rater looked at.
    """

    number: int
    arm: str
    began: float
    submission: str
    answers: Mapping[str, Any]
    judgments: Mapping[str, str]
    alone_ms: int
    aided_ms: int
    followed: Mapping[str, bool | None]
    opened: tuple[int, ...]

    @classmethod
    def from_row(cls, row: RowMapping) -> Self | None:
        """Of a row with the columns of `columns`; None where the assignment has no second look."""
        if row["look_assignment"] is None:
            return None
        plain = {name: row[f"look_{name}"] for name in ("number", "arm", "began", "submission", "alone_ms", "aided_ms")}
        nested = {name: json.loads(row[f"look_{name}"]) for name in ("answers", "judgments", "followed")}
        return cls(**plain, **nested, opened=tuple(json.loads(row["look_opened"])))

    def claims(self, item: TaskItem) -> tuple[HelpClaim, ...]:
        """What is shown with the item; their places here are their numbers."""
        return item.help.get(self.arm, ())

    def exposures(self, item: TaskItem, judgments: Sequence[str], followed: Mapping[str, bool | None],
                  opened: Sequence[int]) -> list[Exposure]:  # fmt: skip
        """That these judgments were made with the claims in sight: a row for each of both."""
        shown = datetime.fromtimestamp(self.began, UTC).isoformat()
        return [
            Exposure(judgment, claim.artifact or "", shown, number in opened, followed.get(str(number)))
            for judgment in judgments
            for number, claim in enumerate(self.claims(item))
        ]


columns = [one.label(f"look_{one.name}") for one in second_looks.columns]
"""The second look's, with names of their own."""


def begin(
    connection: Connection, help_: Help, task: str, assignment: str, rater: str, item: int, now: float, **kept: Any
) -> str:
    """Write down that an unaided answer was taken, and deal the arm.

    Args:
        item: its number in the database.
        kept: `submission`, `answers`, `judgments` and `alone_ms`, as the table has them.
    """
    number = _number_of(connection, task, rater)
    place = connection.execute(select(items.c.number).where(items.c.id == item)).scalar_one()
    arm = help_.arms[(int(place) + number) % len(help_.arms)]
    connection.execute(insert(second_looks), {
        "assignment": assignment, "task": task, "rater": rater, "number": number, "arm": arm, "began": now,
        "aided_ms": 0, "followed": "{}", "opened": "[]", **kept,
    })  # fmt: skip
    return arm


def keep(
    connection: Connection,
    assignment: str,
    followed: Mapping[str, bool | None],
    opened: Sequence[int],
    more_ms: int = 0,
) -> None:
    """Write down how the claims were taken so far, and the time that it took."""
    kept = {
        "followed": json.dumps(dict(followed)), "opened": json.dumps(sorted(set(opened))),
        "aided_ms": second_looks.c.aided_ms + more_ms,
    }  # fmt: skip
    connection.execute(update(second_looks).where(second_looks.c.assignment == assignment).values(kept))


def check_taken(claims: Sequence[HelpClaim], followed: Mapping[str, bool | None], opened: Sequence[int]) -> None:
    """Raise `DataError` where a claim is named that was not shown."""
    shown = {str(number) for number in range(len(claims))}
    unknown = [one for one in (*followed, *map(str, opened)) if one not in shown]
    if unknown:
        raise DataError(f"There is no claim {unknown[0]} about this item; {len(claims)} were shown, counted from 0.")


def _number_of(connection: Connection, task: str, rater: str) -> int:
    """The rater's number: that of their earlier second looks, or the next one."""
    here = second_looks.c.task == task
    own = select(second_looks.c.number).where(here, second_looks.c.rater == rater).limit(1)
    found: int | None = connection.execute(own).scalar()
    if found is not None:
        return found
    last = connection.execute(select(func.max(second_looks.c.number)).where(here)).scalar()
    return 0 if last is None else int(last) + 1
