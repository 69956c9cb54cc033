"""How far a rater is in a task: learning it, being tested, working, or not let in."""

from __future__ import annotations

from dataclasses import asdict, dataclass, replace
from typing import Literal

from sqlalchemy import ColumnElement, Connection, delete, exists, func, insert, select

from kilter.feedback.tasks import Task, Use
from kilter.feedback.work.tables import assignments, items, standings

Stage = Literal["training", "qualification", "working", "refused"]


@dataclass(frozen=True)
class Standing:
    """Where a rater stands.

    Attributes:
        judged: work and gold items submitted.
        right, asked: known answers that were met in the qualification, and all that were asked for.
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


def standing_of(connection: Connection, task: Task, rater: str) -> Standing:
    """Where a rater stands; a stage of which nothing is left to do is over."""
    row = connection.execute(
        select(standings.c.stage, standings.c.judged, standings.c.right, standings.c.asked).where(*_mine(task, rater))
    ).one_or_none()
    found = Standing(*row) if row is not None else Standing("training" if task.checks.training else "qualification")
    moved = _moved_on(connection, task, rater, found)
    if row is None or moved != found:
        keep(connection, task, rater, moved)
    return moved


def keep(connection: Connection, task: Task, rater: str, standing: Standing) -> None:
    """Write down where a rater stands."""
    connection.execute(delete(standings).where(*_mine(task, rater)))
    connection.execute(insert(standings), {"task": task.name, "rater": rater, **asdict(standing)})


def _moved_on(connection: Connection, task: Task, rater: str, now: Standing) -> Standing:
    if now.stage == "training" and not _left(connection, task, rater, "training"):
        now = replace(now, stage="qualification")
    if now.stage == "qualification":
        wanted = task.checks.qualification
        if wanted is None:
            return replace(now, stage="working")
        if not _left(connection, task, rater, "qualification"):
            passed = now.asked == 0 or now.right >= wanted * now.asked
            return replace(now, stage="working" if passed else "refused")
    return now


def _left(connection: Connection, task: Task, rater: str, use: Use) -> bool:
    """Whether items of a kind are left that the rater has not done with."""
    done = exists().where(
        assignments.c.item == items.c.id, assignments.c.rater == rater, assignments.c.state.notin_(["held", "freed"])
    )
    query = select(func.count()).select_from(items).where(items.c.task == task.name, items.c.use == use, ~done)
    return connection.execute(query).scalar_one() > 0


def _mine(task: Task, rater: str) -> tuple[ColumnElement[bool], ...]:
    return standings.c.task == task.name, standings.c.rater == rater
