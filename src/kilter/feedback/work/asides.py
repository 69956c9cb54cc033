"""What raters did not judge, and why: items that they skipped or flagged."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Literal

from sqlalchemy import Connection, select

from kilter.feedback.tasks import TaskItem
from kilter.feedback.work.queue import FLAGGED, SKIPPED
from kilter.feedback.work.tables import assignments, items
from kilter.record import Judgment

CAN_BE_JUDGED = "Can this be judged?"
"""The question that notes on items answer: why one was skipped, flagged, returned or retired."""


@dataclass(frozen=True)
class Aside:
    """An item that a rater set aside, and did not judge later.

    Attributes:
        id: of the note on the record.
        note: that note; its judge is the rater.
        submitted: seconds since 1970.
    """

    id: str
    item: TaskItem
    note: Judgment
    state: Literal["skipped", "flagged"]
    reason: str
    submitted: float

    @property
    def artifact(self) -> str:
        """Id of what was not judged."""
        return self.note.target

    @property
    def judge(self) -> str:
        """Who set it aside, by the name on the record."""
        return self.note.judge


def asides(connection: Connection, task: str) -> list[Aside]:
    """All items of a task that a rater set aside and left so, in the order of time."""
    columns = assignments.c
    query = (
        select(columns.judgments, columns.state, columns.reason, columns.submitted, items.c.content)
        .join(items, items.c.id == columns.item)
        .where(columns.task == task, columns.state.in_([SKIPPED, FLAGGED]), columns.judgments.is_not(None))
        .order_by(columns.submitted, columns.id)
    )
    rows = [(*json.loads(one).values(), *rest) for one, *rest in connection.execute(query)]
    judged = select(Judgment.table).join(items, items.c.artifact == Judgment.table.c.target).where(items.c.task == task)
    judged = judged.where(Judgment.table.c.question == CAN_BE_JUDGED)
    notes = {row["id"]: Judgment.from_stored(row) for row in connection.execute(judged).mappings()}
    return [
        Aside(key, TaskItem.from_json(json.loads(content)), notes[key], state, reason, submitted)
        for key, state, reason, submitted, content in rows
    ]
