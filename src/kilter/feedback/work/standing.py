"""How far a rater is in a task: learning it, being tested, working, or not let in."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, replace
from typing import Literal

from sqlalchemy import ColumnElement, Connection, bindparam, exists, insert, select, update

from kilter.feedback.tasks import Shown, Task, TaskItem, Use, known_met, read_answers
from kilter.feedback.work.tables import assignments, items, standings

Stage = Literal["training", "qualification", "working", "refused"]


@dataclass(frozen=True)
class Standing:
    """Where a rater stands.

    Attributes:
        judged: work and gold items submitted.
        right, asked: once the qualification is over, known answers that were met in it, and all that were asked for.
    """

    stage: Stage
    judged: int = 0
    right: int = 0
    asked: int = 0

    @property
    def use(self) -> Use | None:
        """What kind of items comes next; None where none does."""
        match self.stage:
            case "training" | "qualification":
                return self.stage
            case "working":
                return "work"
            case "refused":
                return None


# Made once, for every request needs them: making a statement takes longer than asking it.
_MINE = standings.c.task == bindparam("of_task"), standings.c.rater == bindparam("by")
_STANDING = select(standings.c.stage, standings.c.judged, standings.c.right, standings.c.asked).where(*_MINE)
_KEEP = update(standings).where(*_MINE)


def standing_of(connection: Connection, task: Task, rater: str) -> Standing:
    """Where a rater stands; a stage of which nothing is left to do is over."""
    row = connection.execute(_STANDING, {"of_task": task.name, "by": rater}).one_or_none()
    found = Standing(*row) if row is not None else Standing("training" if task.checks.training else "qualification")
    moved = _moved_on(connection, task, rater, found)
    if row is None or moved != found:
        _write(connection, task, rater, moved)
    return moved


def keep(connection: Connection, task: Task, rater: str, standing: Standing) -> None:
    """Write down where a rater stands, in the next stage if nothing of this one is left to do."""
    _write(connection, task, rater, _moved_on(connection, task, rater, standing))


def _write(connection: Connection, task: Task, rater: str, standing: Standing) -> None:
    values = asdict(standing)
    if not connection.execute(_KEEP, {"of_task": task.name, "by": rater, **values}).rowcount:
        connection.execute(insert(standings), {"task": task.name, "rater": rater, **values})


def _moved_on(connection: Connection, task: Task, rater: str, now: Standing) -> Standing:
    if now.stage == "training" and not _left(connection, task, rater, "training"):
        now = replace(now, stage="qualification")
    if now.stage == "qualification":
        wanted = task.checks.qualification
        if wanted is None:
            return replace(now, stage="working")
        if not _left(connection, task, rater, "qualification"):
            scores = _agreement(connection, task, rater)
            passed = sum(scores) >= wanted * len(scores) - 1e-9
            stage: Stage = "working" if passed else "refused"
            return replace(now, stage=stage, right=round(sum(scores)), asked=len(scores))
    return now


def _agreement(connection: Connection, task: Task, rater: str) -> list[float]:
    """From 0 to 1, how far a rater met each known answer of the qualification; what was skipped was not met."""
    done = (
        select(items.c.content, assignments.c.state, assignments.c.sides, assignments.c.answers)
        .join(assignments, assignments.c.item == items.c.id)
        .where(*_asked(task, "qualification"), assignments.c.rater == rater)
        .where(assignments.c.state.in_(["submitted", "skipped"]))
    )
    scores: list[float] = []
    for content, state, sides, given in connection.execute(done):
        item = TaskItem.from_json(json.loads(content))
        shown = Shown(item, tuple(json.loads(sides)))
        answers = read_answers(task.questions, json.loads(given), shown) if state == "submitted" else {}
        scores += known_met(task.questions, item, answers).values()
    return scores


def _left(connection: Connection, task: Task, rater: str, use: Use) -> bool:
    """Whether items of a kind are left that the rater has not done with."""
    done = exists().where(
        assignments.c.item == items.c.id, assignments.c.rater == rater, assignments.c.state.notin_(["held", "freed"])
    )
    return connection.execute(select(items.c.id).where(*_asked(task, use), ~done).limit(1)).first() is not None


def _asked(task: Task, use: Use) -> tuple[ColumnElement[bool], ...]:
    """The condition for a task's items of a kind that anybody is asked: no flagged ones."""
    return items.c.task == task.name, items.c.use == use, items.c.wanted.is_(None) | (items.c.wanted > 0)
