"""Taking in what was found: items into a task, old answers onto the record, counted only where that is asked for."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, get_args

from kilter.errors import DataError
from kilter.feedback.exchange.found import Found, FoundData, OldAnswer
from kilter.feedback.exchange.matching import fitted, match_questions
from kilter.feedback.exchange.raters import Pseudonyms, key_of
from kilter.feedback.readings import Skip, Skipped
from kilter.feedback.rows import stem_and_kind
from kilter.feedback.tasks import Answer, Question, Task, TaskItem
from kilter.feedback.work import Desk
from kilter.feedback.work.earlier import Earlier, enter
from kilter.record import Judgment, NewArtifact

Use = Literal["record", "count", "gold", "leave"]
USES: tuple[Use, ...] = get_args(Use)
"""What becomes of old answers: on the record, beside the task; also as work of the task; also as the known answers of
gold items; or nothing."""


@dataclass(frozen=True)
class Intake:
    """What was taken in.

    Attributes:
        items, new: how many there were, and how many the task did not have yet.
        judgments: how many old answers are on the record.
        dataset: their id on the record as a data set; empty where there are none.
        questions: for each question of the source the task's, None where there is none.
        counted, over: how many pieces of old work count toward the task, and how many are more than it asks for.
        gold: how many items have known answers now.
        raters, hashed: how many there are, and how many of them had names that were replaced.
        skipped, unused: items and answers that were left out here, with the reason.
    """

    items: int
    new: int
    judgments: int = 0
    dataset: str = ""
    questions: Mapping[str, str | None] = field(default_factory=dict)
    counted: int = 0
    over: int = 0
    gold: int = 0
    raters: int = 0
    hashed: int = 0
    skipped: Skipped = field(default_factory=Skipped)
    unused: Skipped = field(default_factory=Skipped)


@dataclass(frozen=True)
class _Said:
    """An old answer in the task's terms, where one of its questions stands for it."""

    old: OldAnswer
    question: Question | None
    given: Any
    answer: Answer


def take_in(
    desk: Desk,
    task: Task,
    data: FoundData,
    *,
    use: Use = "record",
    named: Mapping[str, str] | None = None,
    source: str = "",
) -> Intake:
    """Add items to a task, and what was said of them to the record, as judgments of humans called `<source>/<number>`.

    Old answers count neither toward overlap nor as known answers unless `use` says so: they were given under other
    guidelines, on another page. Repeating it adds nothing.

    Args:
        desk: where to.
        task: a task at this desk.
        data: what was read.
        use: what becomes of the old answers.
        named: which question of the task stands for which of the source, {theirs: ours}.
        source: what stands before the raters' names; by default the tool's, or the file's where no tool made it.

    Raises:
        DataError: no item fits the task.
        SettingsError: `named` speaks of questions that are not there.
    """
    skipped, unused = Skipped(), Skipped()
    fitting = _fitting(task, data, skipped)
    kinds: dict[str, list[str]] = {}
    for found in fitting if use != "leave" else ():
        for old in found.answers:
            kinds.setdefault(old.question, []).append(old.kind)
    questions = match_questions(task, kinds, named or {})
    said = [_read(found, questions, unused) if use != "leave" else [] for found in fitting]
    items = [found.item for found in fitting]
    if use == "gold":
        items = [_as_gold(item, several) for item, several in zip(items, said, strict=True)]
    artifacts = desk.record.add_artifacts(NewArtifact(one.kind, one.body()) for one in items)
    new = desk.add_items(task, items)
    names = {their: one.name if one else None for their, one in questions.items()}
    gold = len({artifact for artifact, one in zip(artifacts, items, strict=True) if one.use == "gold"})
    intake = Intake(len(set(artifacts)), new, questions=names, gold=gold, skipped=skipped, unused=unused)
    if not any(said):
        return intake
    pseudonyms = Pseudonyms(source or _source_name(data), key_of(desk.record))
    return _record(desk, task, data, intake, list(zip(artifacts, said, strict=True)), pseudonyms, use)


def _source_name(data: FoundData) -> str:
    """The same for all exports of one tool, so that a rater has one name; of a plain file what it is called."""
    tool = next((one for one in ("label-studio", "argilla", "prm800k") if data.form.startswith(one)), None)
    stem = stem_and_kind(Path(data.source))[0]
    return tool or re.sub(r"[^A-Za-z0-9._-]+", "-", stem).strip("-")[:60] or "file"


def _fitting(task: Task, data: FoundData, skipped: Skipped) -> list[Found]:
    kept = []
    for found in data:
        lacks = next(((one.name, lack) for one in task.questions if (lack := one.shape(found.item))), None)
        if lacks is None:
            kept.append(found)
        else:
            skipped.add(f"items that the question '{lacks[0]}' cannot be asked of: it needs {lacks[1]}", found.where)
    if not kept:
        raise DataError(f"None of the {len(data):,} items of {data.source} fits the task '{task.name}': "
                        f"{skipped.words()}.")  # fmt: skip
    return kept


def _read(found: Found, questions: Mapping[str, Question | None], unused: Skipped) -> list[_Said]:
    """The answers in the task's terms; what its question does not take is recorded in the source's own."""
    read = []
    for old in found.answers:
        question = questions[old.question]
        if question is not None:
            try:
                read.append(_Said(old, question, *fitted(old, question, found)))
                continue
            except Skip as reason:
                unused.add(f"{reason}; on the record as they are", old.where)
        read.append(_Said(old, None, None, Answer(old.value, old.spans)))
    return read


def _as_gold(item: TaskItem, said: Sequence[_Said]) -> TaskItem:
    """The item with the answers that most of its raters gave, or that were marked as right; as it is for a tie.

    Texts and flaws have none: that somebody wrote something else does not make it wrong.
    """
    answers: dict[str, Any] = dict(item.answers)
    known = [one.question for one in said if one.question and one.question.type not in ("text", "flaws")]
    for name in dict.fromkeys(one.name for one in known):
        mine = [one for one in said if one.question and one.question.name == name]
        mine = [one for one in mine if one.old.truth] or mine
        votes = Counter(json.dumps(one.answer.value, sort_keys=True) for one in mine).most_common(2)
        if len(votes) == 1 or votes[0][1] > votes[1][1]:
            answers[name] = json.loads(votes[0][0])
    return replace(item, use="gold", answers=answers) if answers and item.use == "work" else item


def _record(
    desk: Desk, task: Task, data: FoundData, intake: Intake, said: Sequence[tuple[str, Sequence[_Said]]],
    pseudonyms: Pseudonyms, use: Use,
) -> Intake:  # fmt: skip
    record = desk.record
    flat = [(artifact, one) for artifact, several in said for one in several]
    rows = [_judgment(artifact, one, pseudonyms) for artifact, one in flat]
    ids = record.add_judgments(rows)
    source = record.add_artifact("source", {"name": data.source, "sha256": data.sha256, "rows_kept": len(data)})
    left = {**data.unused.counts, **data.skipped.counts}
    meta = {"name": f"{data.source}, as it was imported", "form": data.form, "skipped": dict(sorted(left.items()))}
    targets = list(dict.fromkeys(artifact for artifact, several in said if several))
    dataset = record.add_dataset(targets, list(dict.fromkeys(ids)), meta=meta, parents=[source])
    counted, over = 0, 0
    if use == "count":
        work = _as_work(task, flat, rows, ids)
        with record.transaction() as transaction:
            counted, over = enter(transaction.connection, task.name, work)
    return replace(
        intake, judgments=len(set(ids)), dataset=dataset, counted=counted, over=over,
        raters=len({row.judge for row in rows}), hashed=len(pseudonyms.hashed),
    )  # fmt: skip


def _judgment(artifact: str, one: _Said, pseudonyms: Pseudonyms) -> Judgment:
    old = one.old
    return Judgment(
        artifact, one.question.ask if one.question else old.question, pseudonyms.judge(old.rater, old.judge),
        old.principal, one.answer.value, spans=one.answer.spans, side_shown=list(old.sides) if old.sides else None,
        blinded=not old.sides or bool(old.judge),  # a known order in another tool was not dealt at random
        started=old.started, active_ms=old.active_ms,
    )  # fmt: skip


def _as_work(
    task: Task, flat: Sequence[tuple[str, _Said]], rows: Sequence[Judgment], ids: Sequence[str]
) -> list[Earlier]:
    """What each judge said of each item, where all that is required was answered; of two answers the later one."""
    required = {one.name for one in task.questions if one.required}
    work: dict[tuple[str, str], dict[str, tuple[float, Any, str]]] = {}
    for (artifact, one), row, key in zip(flat, rows, ids, strict=True):
        if one.question is not None and row.principal == "human":
            answers = work.setdefault((artifact, row.judge), {})
            at = _seconds(row.started)
            if one.question.name not in answers or answers[one.question.name][0] <= at:
                answers[one.question.name] = at, one.given, key
    return [
        Earlier(
            artifact, judge, {name: given for name, (_, given, _) in answers.items()},
            {name: key for name, (_, _, key) in answers.items()}, max(at for at, _, _ in answers.values()),
        )
        for (artifact, judge), answers in work.items() if required <= answers.keys()
    ]  # fmt: skip


def _seconds(started: str | None) -> float:
    """When it was said, in seconds since 1970; now where the source does not say."""
    try:
        at = datetime.fromisoformat(started or "")
    except ValueError:
        return time.time()
    return (at if at.tzinfo else at.replace(tzinfo=UTC)).timestamp()
