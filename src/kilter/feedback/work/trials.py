"""What came of an experiment on help: of each unaided answer the arm, the help, and the answer after it."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, select

from kilter.feedback.tasks import HelpClaim, TaskItem
from kilter.feedback.work import queue
from kilter.feedback.work.queue import SUBMITTED, Assignment
from kilter.feedback.work.second_look import SecondLook
from kilter.feedback.work.tables import assignments, items, second_looks
from kilter.record import Judgment


@dataclass(frozen=True)
class HelpTrial:
    """One item answered by one rater, alone and, unless the trial is unfinished, after the help.

    Attributes:
        rater: number among those who began the task, from 0.
        judge: the rater's name on the record.
        place: of the trial among the rater's own, from 0.
        artifact: id of the item.
        arm: whose help was shown.
        claims: what was shown.
        alone: the unaided judgments, by question, the last ones before the help.
        aided: those after it; None where the trial is unfinished.
        followed: for each claim whether it was accepted; None where that was left open.
        opened: for each claim whether the rater looked at it.
        alone_ms, aided_ms: how long the rater was at it before the help and after.
        state: "submitted" when finished; else what became of it: "held", "freed", "skipped", "flagged", "surplus".
    """

    rater: int
    judge: str
    place: int
    artifact: str
    item: TaskItem
    arm: str
    claims: tuple[HelpClaim, ...]
    alone: Mapping[str, Judgment]
    aided: Mapping[str, Judgment] | None
    followed: tuple[bool | None, ...]
    opened: tuple[bool, ...]
    alone_ms: int
    aided_ms: int
    state: str

    @property
    def finished(self) -> bool:
        """Whether both answers are there."""
        return self.aided is not None

    def as_json(self) -> dict[str, Any]:
        """The trial for a file: ids on the record in place of what they name."""
        return {
            "rater": self.rater, "judge": self.judge, "place": self.place, "item": self.artifact, "arm": self.arm,
            "claims": [one.artifact for one in self.claims], "followed": list(self.followed),
            "opened": list(self.opened), "alone": {name: one.id for name, one in self.alone.items()},
            "aided": None if self.aided is None else {name: one.id for name, one in self.aided.items()},
            "alone_ms": self.alone_ms, "aided_ms": self.aided_ms, "state": self.state,
        }  # fmt: skip


def trials(connection: Connection, task: str) -> list[HelpTrial]:
    """All trials of a task, unfinished ones too, in the order in which their help was sent."""
    begun = select(second_looks.c.assignment).where(second_looks.c.task == task)
    found = [(one.look, one) for one in queue.find(connection, assignments.c.id.in_(begun)) if one.look is not None]
    judged = select(Judgment.table).join(items, items.c.artifact == Judgment.table.c.target).where(items.c.task == task)
    rows = {row["id"]: Judgment.from_stored(row) for row in connection.execute(judged).mappings()}
    places: Counter[int] = Counter()
    made = []
    for look, one in sorted(found, key=lambda pair: pair[0].began):
        made.append(_trial(look, one, rows, places[look.number]))
        places[look.number] += 1
    return made


def _trial(look: SecondLook, one: Assignment, rows: Mapping[str, Judgment], place: int) -> HelpTrial:
    claims = look.claims(one.content)
    alone = {name: rows[key] for name, key in look.judgments.items()}
    finished = one.state == SUBMITTED
    return HelpTrial(
        rater=look.number, judge=next(iter(alone.values())).judge, place=place, artifact=one.artifact,
        item=one.content, arm=look.arm, claims=claims, alone=alone,
        aided={name: rows[key] for name, key in (one.judgments or {}).items()} if finished else None,
        followed=tuple(look.followed.get(str(number)) for number in range(len(claims))),
        opened=tuple(number in look.opened for number in range(len(claims))),
        alone_ms=look.alone_ms, aided_ms=look.aided_ms, state=one.state,
    )  # fmt: skip
