"""Work that was done elsewhere, entered as if it had been handed in here."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, insert, select

from kilter.feedback.work.queue import COUNT_ANEW, HELD, SUBMITTED
from kilter.feedback.work.tables import assignments, items


@dataclass(frozen=True)
class Earlier:
    """What one judge said of one item before it came here.

    Attributes:
        artifact: the item.
        judge: by the name on the record; no account belongs to it.
        answers: by question, responses by their own number, as a page with sides not dealt would have sent them.
        judgments: ids on the record, by question.
        at: seconds since 1970.
    """

    artifact: str
    judge: str
    answers: Mapping[str, Any]
    judgments: Mapping[str, str]
    at: float


def enter(connection: Connection, task: str, work: Sequence[Earlier]) -> tuple[int, int]:
    """Count earlier work toward a task's items, oldest first; return how much was counted, and how much is too much.

    An item takes no more raters than it is for: what is over stays on the record and is not counted. What was entered
    before changes nothing.
    """
    places = {
        row.artifact: row for row in connection.execute(
            select(items.c.artifact, items.c.id, items.c.content, items.c.wanted).where(items.c.task == task)
        )
    }  # fmt: skip
    held = select(assignments.c.item, assignments.c.rater, assignments.c.state).where(assignments.c.task == task)
    done = {(item, rater): state for item, rater, state in connection.execute(held)}
    filled: dict[int, int] = {}
    for (number, _), state in done.items():
        filled[number] = filled.get(number, 0) + (state in (SUBMITTED, HELD))
    rows, over = [], 0
    for one in sorted(work, key=lambda one: (one.at, one.judge, one.artifact)):
        place = places[one.artifact]
        rater = hashlib.sha256(one.judge.encode()).hexdigest()[:32]
        if (place.id, rater) in done:
            continue
        if place.wanted is not None and filled.get(place.id, 0) >= place.wanted:
            over += 1
            continue
        filled[place.id] = filled.get(place.id, 0) + 1
        done[place.id, rater] = SUBMITTED
        rows.append(_row(task, place.id, rater, one, len(json.loads(place.content)["responses"])))
    if rows:
        connection.execute(insert(assignments), rows)
        connection.execute(COUNT_ANEW.where(items.c.task == task))  # so that no rater waits for thousands
    return len(rows), over


def _row(task: str, item: int, rater: str, one: Earlier, responses: int) -> dict[str, Any]:
    name = hashlib.sha256(f"{task}\0{item}\0{rater}".encode()).hexdigest()
    return {
        "id": name[:32], "task": task, "item": item, "rater": rater, "state": SUBMITTED,
        "sides": json.dumps(list(range(responses))), "seed": 0, "given": one.at, "until": one.at, "submitted": one.at,
        "submission": f"earlier-{name[:32]}", "answers": json.dumps(dict(one.answers)),
        "judgments": json.dumps(dict(one.judgments)),
    }  # fmt: skip
