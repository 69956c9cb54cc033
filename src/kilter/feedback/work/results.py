"""What people said in a task, read back from the record: one result per question, rater and item."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Select, select

from kilter.feedback.tasks import TaskItem
from kilter.feedback.work.queue import FLAGGED, SUBMITTED
from kilter.feedback.work.tables import assignments, decisions, items
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
        adjudicated: whether a researcher said so, having seen what the raters said, to decide what they differ about.
    """

    id: str
    question: str
    item: TaskItem
    judgment: Judgment
    submitted: float
    adjudicated: bool = False

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


def flagged(connection: Connection, task: str) -> set[str]:
    """Ids of the items that somebody flagged as ones that nobody should judge, unless a researcher returned them."""
    query = select(items.c.artifact).join(assignments, assignments.c.item == items.c.id)
    out = items.c.task == task, items.c.wanted == 0, assignments.c.state == FLAGGED
    return set(connection.execute(query.where(*out)).scalars())


def results(connection: Connection, task: str) -> list[Result]:
    """What raters said in a task, in the order of submission; corrected and withdrawn results are left out."""
    query = (
        select(assignments.c.judgments, assignments.c.submitted, items.c.content)
        .join(items, items.c.id == assignments.c.item)
        .where(assignments.c.task == task, assignments.c.state == SUBMITTED)
        .order_by(assignments.c.submitted, assignments.c.id)
    )
    return _read(connection, query, _judged(task), adjudicated=False)


def adjudications(connection: Connection, task: str) -> list[Result]:
    """What researchers decided in a task, in the order of time; of each item and question the last decision."""
    query = (
        select(decisions.c.judgments, decisions.c.submitted, items.c.content)
        .join(items, items.c.id == decisions.c.item)
        .where(decisions.c.task == task)
        .order_by(decisions.c.submitted, decisions.c.item)
    )
    judged = _judged(task).join(decisions, decisions.c.item == items.c.id)  # of all judgments few
    return _read(connection, query, judged, adjudicated=True)


def answers(connection: Connection, task: str) -> list[Result]:
    """What counts in the end: the decision where there is one, and else what the raters said."""
    decided = adjudications(connection, task)
    settled = {(one.artifact, one.question) for one in decided}
    said = results(connection, task)
    return [one for one in said if (one.artifact, one.question) not in settled] + decided


def _judged(task: str) -> Select[*tuple[Any, ...]]:
    """All judgments of a task's items."""
    return select(Judgment.table).join(items, items.c.artifact == Judgment.table.c.target).where(items.c.task == task)


def _read(
    connection: Connection, query: Select[*tuple[Any, ...]], judged: Select[*tuple[Any, ...]], adjudicated: bool
) -> list[Result]:
    """The results of rows of judgments' ids by question, time and content; `judged` are the judgments themselves."""
    work = [(json.loads(one), submitted, content) for one, submitted, content in connection.execute(query)]
    if not work:
        return []
    rows = {row["id"]: Judgment.from_stored(row) for row in connection.execute(judged).mappings()}
    contents = {content: TaskItem.from_json(json.loads(content)) for _, _, content in work}
    return [
        Result(key, question, contents[content], rows[key], submitted, adjudicated)
        for ids, submitted, content in work
        for question, key in ids.items()
    ]
