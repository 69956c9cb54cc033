"""Adjudication: a researcher gives the deciding answer where raters differ.

On the record it is a judgment as any other, of the researcher, not blinded, and with an exposure to an artifact of the
kind "adjudication" that lists the judgments it decides between: so the record says that this judge had seen them. The
raters' own judgments stay, and numbers on raters rest on them alone.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Connection, delete, insert, select

from kilter.errors import DataError
from kilter.feedback.tasks import Shown, Task, TaskItem, read_answers
from kilter.feedback.work.queue import SUBMITTED
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.submission import AddJudgments, Submission
from kilter.feedback.work.tables import assignments, decisions, items
from kilter.record import Judgment


@dataclass(frozen=True)
class Dealt:
    """How the responses of an item stand on one person's page: the same for the same person every time."""

    seed: int
    sides: tuple[int, ...]


def deal(task: Task, artifact: str, item: TaskItem, person: str) -> Dealt:
    """Deal the sides for somebody who looks at an item without an assignment."""
    digest = hashlib.sha256(json.dumps([task.name, artifact, person]).encode()).digest()
    seed, sides = int.from_bytes(digest[:7]), list(range(len(item.responses)))
    if task.blind:
        Random(seed).shuffle(sides)
    return Dealt(seed, tuple(sides))


def said_of(connection: Connection, task: str, artifact: str) -> list[str]:
    """Ids of what raters said of an item, corrections applied."""
    query = select(assignments.c.judgments).join(items, items.c.id == assignments.c.item)
    here = items.c.task == task, items.c.artifact == artifact, assignments.c.state == SUBMITTED
    return [key for one in connection.execute(query.where(*here)).scalars() for key in json.loads(one).values()]


def seen(task: str, artifact: str, judgments: list[str]) -> dict[str, Any]:
    """The body of the artifact that says which judgments were decided between."""
    return {"task": task, "item": artifact, "judgments": sorted(judgments)}


def decide(
    connection: Connection, add: AddJudgments, task: Task, rater: Rater, artifact: str, sent: Submission, now: float
) -> list[str]:
    """Take the deciding answers to one question or several of an item; earlier decisions on these are superseded.

    Returns the ids of the new judgments; none where the submission was taken before.

    Raises:
        DataError: the item is no work item of the task, or an answer is not of its question's form.
    """
    query = select(items.c.id, items.c.content).where(
        items.c.task == task.name, items.c.artifact == artifact, items.c.use == "work"
    )
    found = connection.execute(query).one_or_none()
    if found is None:
        raise DataError("This is no item that raters judge for its own sake; there is nothing to decide.")
    row = connection.execute(select(decisions).where(decisions.c.item == found.id)).mappings().one_or_none()
    if row is not None and row["submission"] == sent.key:
        return []
    before: Mapping[str, str] = {} if row is None else json.loads(row["judgments"])
    judgments = _judgments(task, rater, artifact, TaskItem.from_json(json.loads(found.content)), sent, before)
    ids = dict(zip(judgments, add(list(judgments.values())), strict=True))
    connection.execute(delete(decisions).where(decisions.c.item == found.id))
    connection.execute(insert(decisions), {
        "item": found.id, "task": task.name, "person": rater.id, "submission": sent.key, "submitted": now,
        "judgments": json.dumps({**before, **ids}),
    })  # fmt: skip
    return list(ids.values())


def _judgments(
    task: Task, rater: Rater, artifact: str, item: TaskItem, sent: Submission, before: Mapping[str, str]
) -> dict[str, Judgment]:
    dealt = deal(task, artifact, item, rater.id)
    asked = [one for one in task.questions if one.name in sent.answers] or list(task.questions)
    answers = read_answers(asked, dict(sent.answers), Shown(item, dealt.sides))
    asks = {one.name: one.ask for one in task.questions}
    return {
        name: Judgment(
            target=artifact, question=asks[name], judge=rater.judge, principal=rater.principal, value=answer.value,
            spans=answer.spans, side_shown=list(dealt.sides) or None, seed=dealt.seed, blinded=False,
            started=sent.started, active_ms=sent.active_ms.get(name), supersedes=before.get(name),
        )
        for name, answer in answers.items()
    }  # fmt: skip
