"""The desk at which work is given out and handed in: what the pages and the command line call, a transaction each."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from random import Random
from typing import Any, Literal

from sqlalchemy import Connection, bindparam, func, insert, select, update

from kilter.errors import DataError
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.tasks.help import with_artifacts
from kilter.feedback.work import decisions, flags, queue, submission
from kilter.feedback.work.asides import Aside, asides
from kilter.feedback.work.flags import Flag, Ruling
from kilter.feedback.work.queue import Assignment
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.results import Result, adjudications, answers, flagged, results
from kilter.feedback.work.standing import Standing, standing_of
from kilter.feedback.work.submission import Outcome, Submission
from kilter.feedback.work.tables import assignments, items, metadata, tasks
from kilter.feedback.work.tables import decisions as decided_items
from kilter.feedback.work.trials import HelpTrial, trials
from kilter.record import Exposure, NewArtifact, Record
from kilter.settings import build, nearest


@dataclass(frozen=True)
class Progress:
    """How far a task is.

    Attributes:
        items: work items; those flagged are wanted by nobody.
        complete: items judged by as many raters as they are for.
        judgments, wanted: submitted work, and as much as there will be.
        flagged, skipped, surplus: how often.
        raters: who have submitted anything.
        given_up: items that are not complete, and that as many raters skipped as still were to judge them.
    """

    items: int
    complete: int
    judgments: int
    wanted: int
    flagged: int
    skipped: int
    surplus: int
    raters: int
    given_up: int = 0

    @property
    def done(self) -> bool:
        """Whether all work is done."""
        return self.complete >= self.items


@dataclass(frozen=True)
class Stamp:
    """A task at one moment.

    Attributes:
        judgments: submitted work and checks.
        changed: when anything was submitted, corrected, set aside or decided last, in seconds since 1970; 0 for never.
    """

    judgments: int
    changed: float


class Desk:
    """Tasks, their items, and who has what in hand."""

    def __init__(self, record: Record, now: Callable[[], float] = time.time) -> None:
        self.record = record
        self._now = now
        record.lay(metadata)

    # Tasks and items

    def add_task(self, task: Task, seed: int = 0) -> None:
        """Put a task on the record and open it; the same task again changes nothing.

        Raises:
            DataError: another task has this name.
        """
        definition = task.definition()
        artifact = self.record.add_artifact("task", json.loads(definition))
        with self.record.transaction() as transaction:
            there = _definition(transaction.connection, task.name)
            if there is None:
                row = {
                    "name": task.name, "definition": definition, "artifact": artifact, "open": True,
                    "created": self._now(), "seed": seed,
                }  # fmt: skip
                transaction.connection.execute(insert(tasks), row)
            elif there != definition:
                raise DataError(
                    f"There is another task called '{task.name}' in this workspace, with other questions or rules. "
                    "Judgments under changed questions must not be mixed: give the new one a name of its own."
                )

    def add_items(self, task: Task, new: Sequence[TaskItem]) -> int:
        """Add items to a task; those it has already stay as they are. Returns how many are new.

        Claims that help makes of them become artifacts, unless they name one.

        Raises:
            DataError: in an experiment on help, an item lacks the help of an arm.
            RecordError: a claim names an artifact that is not on the record.
        """
        ids = self.record.add_artifacts(NewArtifact(one.kind, one.body()) for one in new)
        if task.help is not None or any(one.help for one in new):
            task.check_items(list(new), f"the items of '{task.name}'")
            new = self._with_claims(ids, new)
        with self.record.transaction() as transaction:
            return _add_items(transaction.connection, task, list(zip(ids, new, strict=True)))

    def _with_claims(self, ids: Sequence[str], new: Sequence[TaskItem]) -> list[TaskItem]:
        """The items, each claim of their help with its artifact: of the kind "claim", with the item as its parent."""
        claims = [
            (key, [one for several in item.help.values() for one in several])
            for key, item in zip(ids, new, strict=True)
        ]
        for key in {one.artifact for _, several in claims for one in several if one.artifact}:
            self.record.artifact(key)
        made = iter(self.record.add_artifacts(
            NewArtifact("claim", one.body(), "feedback", [key]) for key, several in claims for one in several
            if not one.artifact
        ))  # fmt: skip
        return [replace(item, help=with_artifacts(item.help, made)) for item in new]

    def task(self, name: str) -> Task:
        """The task of this name; raises `DataError` where there is none."""
        with self.record.reading() as connection:
            definition = _definition(connection, name)
            if definition is None:
                names = connection.execute(select(tasks.c.name)).scalars().all()
                hint = nearest(name, names) if names else "there is none in this workspace yet."
                raise DataError(f"There is no task '{name}': {hint}")
        return _built(definition)

    def tasks(self) -> list[tuple[Task, bool]]:
        """All tasks in the order in which they were added, and whether each is open."""
        with self.record.reading() as connection:
            rows = connection.execute(select(tasks.c.definition, tasks.c.open).order_by(tasks.c.created)).all()
        return [(_built(row.definition), row.open) for row in rows]

    def set_open(self, name: str, is_open: bool) -> None:
        """Open or close a task; a closed one hands out nothing, but takes what raters still hold."""
        with self.record.transaction() as transaction:
            transaction.connection.execute(update(tasks).where(tasks.c.name == name).values(open=is_open))

    def is_open(self, name: str) -> bool:
        """Whether a task hands out items."""
        with self.record.reading() as connection:
            return _is_open(connection, name)

    def prioritize(self, task: str, priorities: Mapping[str, float]) -> None:
        """Set the priority of items, by the ids of their artifacts; higher ones come first.

        In a task whose order is "disputed" an item's next judgment that differs from another sets it anew.
        """
        with self.record.transaction() as transaction:
            for artifact, priority in priorities.items():
                here = (items.c.task == task) & (items.c.artifact == artifact)
                transaction.connection.execute(update(items).where(here).values(priority=priority))

    def waiting(self, task: str) -> dict[str, TaskItem]:
        """The work items that more raters are to judge, by the ids of their artifacts, in the order they came in."""
        more = (items.c.task == task) & (items.c.use == "work") & (items.c.taken < items.c.wanted)
        query = select(items.c.artifact, items.c.content).where(more).order_by(items.c.number)
        with self.record.reading() as connection:
            return {key: TaskItem.from_json(json.loads(content)) for key, content in connection.execute(query)}

    def progress(self, task: str) -> Progress:
        """How far a task is."""
        with self.record.reading() as connection:
            return _progress(connection, task)

    def results(self, task: str) -> list[Result]:
        """What raters said in a task so far, corrections applied."""
        with self.record.reading() as connection:
            return results(connection, task)

    def trials(self, task: str) -> list[HelpTrial]:
        """What came of an experiment on help so far, unfinished trials included; none where a task is no experiment."""
        with self.record.reading() as connection:
            return trials(connection, task)

    def adjudications(self, task: str) -> list[Result]:
        """What researchers decided where raters differed."""
        with self.record.reading() as connection:
            return adjudications(connection, task)

    def answers(self, task: str) -> list[Result]:
        """What counts in the end: what a researcher decided, and else what raters said."""
        with self.record.reading() as connection:
            return answers(connection, task)

    def stamp(self, task: str) -> Stamp:
        """What a task's numbers depend on, in short: they are out of date when it has changed."""
        with self.record.reading() as connection:
            return _stamp(connection, task)

    def flagged(self, task: str) -> set[str]:
        """Ids of the items that a rater flagged, so that nobody judges them."""
        with self.record.reading() as connection:
            return flagged(connection, task)

    def asides(self, task: str) -> list[Aside]:
        """What raters skipped or flagged, and did not judge later."""
        with self.record.reading() as connection:
            return asides(connection, task)

    # What researchers decide

    def adjudicate(self, task: Task, rater: Rater, artifact: str, sent: Submission) -> None:
        """Put the deciding answers to an item on the record; see `decisions`.

        Raises:
            DataError: nobody has judged the item, or an answer is not of its question's form.
        """
        with self.record.reading() as connection:
            said = decisions.said_of(connection, task.name, artifact)
        if not said:
            raise DataError("Nobody has judged this item yet; there is nothing to decide between.")
        shown = self.record.add_artifact(
            "adjudication", decisions.seen(task.name, artifact, said), producer="feedback", parents=[artifact]
        )
        with self.record.transaction() as transaction:
            ids = decisions.decide(
                transaction.connection, transaction.add_judgments, task, rater, artifact, sent, self._now()
            )
            transaction.add_exposures([Exposure(one, shown, sent.started, opened=True) for one in ids])

    def flags(self, task: str) -> list[Flag]:
        """The flagged items of a task, those that wait for a decision first."""
        with self.record.reading() as connection:
            return flags.standing_flags(connection, task)

    def rule(self, task: Task, rater: Rater, artifact: str, ruling: Ruling, reason: str = "") -> None:
        """Return a flagged item to the queue, or retire it; see `flags.rule`."""
        with self.record.transaction() as transaction:
            note = flags.rule(transaction.connection, task, rater, artifact, ruling, reason, self._now())
            transaction.add_judgments([note])

    # A rater's work

    def next(self, task: Task, rater: Rater, count: int = 1) -> list[Assignment]:
        """Up to `count` assignments: those in hand already, then new ones."""
        return self.batch(task, rater, count)[0]

    def batch(self, task: Task, rater: Rater, count: int) -> tuple[list[Assignment], Standing]:
        """As `next`, with where the rater stands in the task."""
        with self.record.transaction() as transaction:
            connection = transaction.connection
            if not _is_open(connection, task.name):
                held = queue.in_hand(connection, task.name, rater.id)[:count]
                return held, standing_of(connection, task, rater.id)
            return queue.next_assignments(connection, task, rater.id, count, self._now())

    def submit(self, task: Task, rater: Rater, assignment: str, sent: Submission) -> Outcome:
        """Take answers; see `submission.submit`."""
        with self.record.transaction() as transaction:
            one = submission.own(transaction.connection, task.name, rater.id, assignment)
            return submission.submit(transaction, task, rater, one, sent, self._now())

    def set_aside(
        self, task: Task, rater: Rater, assignment: str, state: Literal["skipped", "flagged"], reason: str, key: str,
        started: str,
    ) -> None:  # fmt: skip
        """Skip or flag an item; see `submission.set_aside`."""
        with self.record.transaction() as transaction:
            one = submission.own(transaction.connection, task.name, rater.id, assignment)
            submission.set_aside(
                transaction.connection, transaction.add_judgments, task, rater, one, state, reason, key, started,
                self._now(),
            )  # fmt: skip

    def assignment(self, task: Task, rater: Rater, assignment: str) -> Assignment:
        """A rater's assignment as it is now; `DataError` where it is somebody else's, of another task, or none."""
        with self.record.reading() as connection:
            return submission.own(connection, task.name, rater.id, assignment)

    def save_draft(
        self, task: Task, rater: Rater, assignment: str, answers: Mapping[str, Any],
        followed: Mapping[str, bool | None] | None = None, opened: Sequence[int] = (),
    ) -> None:  # fmt: skip
        """Keep answers that are not finished; on a second look also how claims were taken so far."""
        with self.record.transaction() as transaction:
            one = submission.own(transaction.connection, task.name, rater.id, assignment)
            until = self._now() + 60 * task.hold_minutes
            submission.save_draft(transaction.connection, one, answers, until, followed, opened)

    def last_done(self, task: Task, rater: Rater, before: str | None = None) -> Assignment | None:
        """What the rater submitted or skipped last, or last before another assignment."""
        with self.record.reading() as connection:
            return submission.last_done(connection, rater.id, task.name, before)

    def standing(self, task: Task, rater: Rater) -> Standing:
        """Where a rater stands in a task."""
        with self.record.transaction() as transaction:
            return standing_of(transaction.connection, task, rater.id)


def _stamp(connection: Connection, task: str) -> Stamp:
    done = assignments.c.task == task, assignments.c.state == queue.SUBMITTED
    judgments = connection.execute(select(func.count()).select_from(assignments).where(*done)).scalar_one()
    said = connection.execute(select(func.max(assignments.c.submitted)).where(assignments.c.task == task)).scalar()
    decided = select(func.max(decided_items.c.submitted)).where(decided_items.c.task == task)
    return Stamp(judgments, max(said or 0.0, connection.execute(decided).scalar() or 0.0))


# Made once, for every request needs them: making a statement takes longer than asking it.
_DEFINITION = select(tasks.c.definition).where(tasks.c.name == bindparam("of_task"))
_OPEN = select(tasks.c.open).where(tasks.c.name == bindparam("of_task"))


def _definition(connection: Connection, name: str) -> str | None:
    found: str | None = connection.execute(_DEFINITION, {"of_task": name}).scalar()
    return found


@lru_cache(maxsize=64)
def _built(definition: str) -> Task:
    # every request of a rater names its task, and building one takes as long as looking it up
    return build(Task, json.loads(definition), "a task of the record")


def _is_open(connection: Connection, name: str) -> bool:
    return bool(connection.execute(_OPEN, {"of_task": name}).scalar())


def _add_items(connection: Connection, task: Task, new: Sequence[tuple[str, TaskItem]]) -> int:
    here = items.c.task == task.name
    there = set(connection.execute(select(items.c.artifact).where(here)).scalars())
    first = connection.execute(select(func.count()).select_from(items).where(here)).scalar_one()
    seed = connection.execute(select(tasks.c.seed).where(tasks.c.name == task.name)).scalar_one()
    fresh = {artifact: item for artifact, item in new if artifact not in there}
    sampled = _sample(task, fresh, seed)
    random = Random(f"{seed}:{first}")
    rows = []
    for number, (artifact, item) in enumerate(fresh.items(), first):
        wanted = task.wanted(item, artifact in sampled)
        rows.append({
            "task": task.name, "artifact": artifact, "number": number, "use": item.use,
            "content": json.dumps(item.as_json()), "wanted": wanted, "taken": 0, "held": 0, "free": wanted != 0,
            "priority": item.priority, "place": number if task.order == "given" else random.getrandbits(60),
        })  # fmt: skip
    if rows:
        connection.execute(insert(items), rows)
    return len(rows)


def _sample(task: Task, new: Mapping[str, TaskItem], seed: int) -> set[str]:
    """The items that more raters see: the same share of each stratum, drawn at random."""
    strata: dict[str, list[str]] = {}
    for artifact, item in new.items():
        if item.use == "work":
            strata.setdefault(item.stratum, []).append(artifact)
    chosen: set[str] = set()
    for stratum, members in strata.items():
        random = Random(f"{seed}:{stratum}:{len(members)}")
        share = task.overlap.sample * len(members)
        count = int(share) + (random.random() < share % 1)  # right on average where strata are small
        chosen.update(random.sample(sorted(members), count))
    return chosen


def _progress(connection: Connection, task: str) -> Progress:
    work = (items.c.task == task) & (items.c.use == "work")
    rows = connection.execute(select(items.c.wanted, items.c.taken, func.count()).where(work).group_by(
        items.c.wanted, items.c.taken
    )).all()  # fmt: skip
    alive = [(wanted, taken, count) for wanted, taken, count in rows if wanted]
    states: dict[str, int] = dict(
        connection.execute(
            select(assignments.c.state, func.count()).where(assignments.c.task == task).group_by(assignments.c.state)
        ).all()
    )  # fmt: skip
    skips = (
        select(func.count()).where(assignments.c.item == items.c.id, assignments.c.state == queue.SKIPPED)
        .scalar_subquery()
    )  # fmt: skip
    given_up = connection.execute(
        select(func.count()).where(work, items.c.taken < items.c.wanted, skips >= items.c.wanted - items.c.taken)
    ).scalar_one()
    raters = connection.execute(
        select(func.count(func.distinct(assignments.c.rater))).where(
            assignments.c.task == task, assignments.c.state == queue.SUBMITTED
        )
    ).scalar_one()
    return Progress(
        sum(count for _, _, count in alive), sum(count for wanted, taken, count in alive if taken >= wanted),
        sum(taken * count for _, taken, count in alive), sum(wanted * count for wanted, _, count in alive),
        states.get(queue.FLAGGED, 0), states.get(queue.SKIPPED, 0), states.get(queue.SURPLUS, 0), raters,
        given_up,
    )  # fmt: skip
