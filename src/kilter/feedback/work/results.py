"""What people said in a task, read back from the record: one result per question, rater and item."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from kilter.feedback.tasks import TaskItem
from kilter.feedback.work.queue import SUBMITTED
from kilter.feedback.work.tables import assignments, items
from kilter.record import Judgment


@dataclass(frozen=True)
class Result:
    """A judgment that counts, with what it is about.

    Attributes:
        id: of the judgment on the record.
        question: its name in the task.
        item: what was judged, with its use ("work", "gold", ...) and known answers.
        judgment: `value` and `spans` in the item's own numbers, `judge`, `side_shown`, `started`, `active_ms`.
        submitted: seconds since 1970.
    """

    id: str
    question: str
    item: TaskItem
    judgment: Judgment
    submitted: float

    @property
    def artifact(self) -> str:
        """Id of what was judged."""
        return self.judgment.target

    @property
    def judge(self) -> str:
        """Who judged, by the name on the record."""
        return self.judgment.judge

    @property
    def value(self) -> Any:
        """What was said."""
        return self.judgment.value


def results(connection: Connection, task: str) -> list[Result]:
    """All results of a task in the order of submission; corrected and withdrawn ones are left out."""
    query = (
        select(assignments.c.judgments, assignments.c.submitted, items.c.content)
        .join(items, items.c.id == assignments.c.item)
        .where(assignments.c.task == task, assignments.c.state == SUBMITTED)
        .order_by(assignments.c.submitted, assignments.c.id)
    )
    work = [(json.loads(one), submitted, content) for one, submitted, content in connection.execute(query)]
    judged = select(Judgment.table).join(items, items.c.artifact == Judgment.table.c.target).where(items.c.task == task)
    rows = {row["id"]: Judgment.from_stored(row) for row in connection.execute(judged).mappings()}
    contents = {content: TaskItem.from_json(json.loads(content)) for _, _, content in work}
    return [
        Result(key, question, contents[content], rows[key], submitted)
        for ids, submitted, content in work
        for question, key in ids.items()
    ]
