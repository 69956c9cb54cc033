"""A task's answers as training data, in a file or folder, and on the record as the data set that it is."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from kilter import __version__
from kilter.errors import DataError, SettingsError
from kilter.feedback.exchange.files import check_target, write_rows
from kilter.feedback.exchange.layouts import (
    LAYOUTS,
    Choices,
    LeftOut,
    Row,
    check_desirable,
    choose_question,
    needs_chats,
)
from kilter.feedback.exchange.provenance import COLUMNS, Stamp, provenance
from kilter.feedback.exchange.verdicts import ADJUDICATED, Verdict, verdicts, ways
from kilter.feedback.readings import Skipped
from kilter.feedback.tasks import Question
from kilter.feedback.work import Desk, Result

_WITHOUT_PROMPT = ("rating", "raw")
"""Layouts of rows that no trainer takes as prompt and reply."""


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        target: where.
        rows: how many.
        layout, question, aggregate: what was chosen.
        items, judgments, judges: behind these rows.
        simulated: how many of the judgments are not of people.
        adjudicated: how many of the items have the answer that a researcher decided.
        dataset: id on the record.
        root, size: of the record's log, with the data set on it.
        left_out: verdicts, or parts of them, that became no row, with the reason.
    """

    target: Path
    rows: int
    layout: str
    question: str
    aggregate: str
    items: int
    judgments: int
    judges: int
    simulated: int
    adjudicated: int
    dataset: str
    root: str
    size: int
    left_out: Skipped = field(default_factory=Skipped)


def export(
    desk: Desk,
    task_name: str,
    target: Path,
    layout: str,
    *,
    question: str | None = None,
    aggregate: str | None = None,
    choices: Choices | None = None,
    overwrite: bool = False,
) -> Exported:
    """Write what was said in a task as rows of a layout, each with the columns of its provenance.

    The rows depend on what is on the record only; while nothing is added there, exporting again gives the same bytes.
    The data set goes onto the record first, so that every row can name it.

    Args:
        desk: where the task is.
        task_name: which.
        target: a name that ends in .jsonl or .parquet, or in nothing for a folder of `datasets`.
        layout: a key of `LAYOUTS`.
        question: its name; not needed where only one fits the layout.
        aggregate: "none" for a row per judgment, or how several judgments of an item become one; by default
            "majority" where there is one, "none" for texts, flaws and the layout raw.
        choices: of single layouts.
        overwrite: whether a target that is there is replaced.

    Raises:
        SettingsError: the layout, the question and the way to aggregate do not go together; it says what does.
        DataError: there is no such task, nothing to export, or something at the target already.
        StorageError: the disk is full or not writable.
    """
    check_target(target, overwrite)
    task = desk.task(task_name)
    asked = choose_question(layout, task.questions, question, task.name)
    choices = choices or Choices()
    if layout == "kto":
        check_desirable(asked, choices.desirable)
    elif choices.desirable:
        raise SettingsError(f"--desirable is for the layout kto, not for {layout}; leave it out.")
    way = aggregate or ("none" if layout == "raw" else ways(asked)[0])
    results, left_out = _used(desk, task.name, asked, layout, way)
    settled, undecided = verdicts(asked, results, way)
    _add(left_out, undecided)
    settled = [one for one in settled if _has_prompt(one, layout, left_out)]
    choices = replace(choices, chats=needs_chats(settled))
    laid = _lay(asked, settled, layout, choices, left_out)
    if not laid:
        raise DataError(f"Nothing that was said of '{asked.name}' in '{task.name}' becomes a row of the layout "
                        f"'{layout}': {left_out.words() or 'there are no answers yet'}.")  # fmt: skip
    used = _distinct(verdict for verdict, _ in laid)
    decided = {one.artifact for one in used if one.method == ADJUDICATED}
    meta = {
        "name": f"{task.name}, {asked.name}: {layout}", "task": task.name, "question": asked.name, "layout": layout,
        "aggregate": way, "rows": len(laid), "skipped": dict(sorted(left_out.counts.items())), "kilter": __version__,
    }  # fmt: skip
    if decided:
        meta["adjudicated"] = len(decided)
    stamp = _recorded(desk, json.loads(task.definition()), asked, used, meta)
    rows = [row | provenance(verdict, stamp) for verdict, row in laid]
    write_rows(rows, {**LAYOUTS[layout].columns(asked, choices), **COLUMNS}, target)
    judged = {one.id: one for verdict in used for one in verdict.results}
    return Exported(
        target, len(rows), layout, asked.name, way, len({one.artifact for one in used}), len(judged),
        len({one.judge for one in judged.values()}),
        sum(one.judgment.principal == "simulated" for one in judged.values()),
        len(decided),
        stamp.dataset, stamp.root, stamp.size, left_out,
    )  # fmt: skip


def _used(desk: Desk, task: str, asked: Question, layout: str, way: str) -> tuple[list[Result], Skipped]:
    """The answers to the question that may become rows: of items that nobody flagged, and that were judged as work.

    Where judgments stay single a decision stands in place of what raters said, except in the layout that keeps all.
    """
    flagged, left_out, used = desk.flagged(task), Skipped(), []
    single = way == "none" and layout != "raw"
    given = desk.answers(task) if single else [*desk.results(task), *desk.adjudications(task)]
    for one in given:
        where = f"item {one.artifact[:8]}"
        if one.question != asked.name:
            continue
        if one.artifact in flagged:
            left_out.add("judgments of items that were flagged", where)
        elif one.item.use != "work" and layout != "raw":
            left_out.add(f"judgments of {one.item.use} items", where)
        else:
            used.append(one)
    return used, left_out


def _has_prompt(verdict: Verdict, layout: str, left_out: Skipped) -> bool:
    prompt = verdict.item.prompt
    if layout in _WITHOUT_PROMPT:
        return True
    reason = "items without a prompt" if not any(one["content"].strip() for one in prompt) else (
        "prompts that do not end with a turn of the user" if prompt[-1]["role"] != "user" else ""
    )  # fmt: skip
    if reason:
        left_out.add(reason, f"item {verdict.artifact[:8]}")
    return not reason


def _lay(
    asked: Question, settled: Sequence[Verdict], layout: str, choices: Choices, left_out: Skipped
) -> list[tuple[Verdict, Row]]:
    laid = []
    for verdict in settled:
        for row in LAYOUTS[layout].rows(asked, verdict, choices):
            if isinstance(row, LeftOut):
                left_out.add(row.reason, f"item {verdict.artifact[:8]}")
            else:
                laid.append((verdict, row))
    return laid


def _recorded(
    desk: Desk, task: dict[str, Any], asked: Question, used: Sequence[Verdict], meta: dict[str, Any]
) -> Stamp:
    record = desk.record
    definition = record.add_artifact("task", task)  # it is there: this is its id
    judgments = dict.fromkeys(one.id for verdict in used for one in verdict.results)
    dataset = record.add_dataset(
        list(dict.fromkeys(one.artifact for one in used)), list(judgments), meta=meta, producer="feedback/export",
        parents=[definition],
    )  # fmt: skip
    size = record.size()
    arms = {
        one.id: trial.arm for trial in desk.trials(meta["task"]) for one in (trial.aided or trial.alone).values()
    }  # fmt: skip
    return Stamp(dataset, meta["task"], asked.name, asked.ask, record.root(size), size, arms)


def _distinct(several: Iterable[Verdict]) -> list[Verdict]:
    return list({id(one): one for one in several}.values())


def _add(to: Skipped, more: Skipped) -> None:
    for reason, count in more.counts.items():
        to.counts[reason] = to.counts.get(reason, 0) + count
        to.first.setdefault(reason, more.first[reason])
