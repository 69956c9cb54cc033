"""Label Studio's exports: JSON, with every annotation, and JSON-MIN, with one row per annotation.

Checked against label-studio-sdk 2.1 (`converter`), which writes both.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from kilter.errors import DataError
from kilter.feedback.exchange.fields import Chosen, Columns, item_of, milliseconds
from kilter.feedback.exchange.found import Found, FoundData, OldAnswer
from kilter.feedback.exchange.label_studio_results import KEYS, read_value, sides_of, spans_of, targets_of
from kilter.feedback.readings import Skip, Skipped, collect
from kilter.feedback.rows import Rows

_ABOUT_ROW = ("id", "annotator", "annotation_id", "created_at", "updated_at", "lead_time", "agreement")


def is_json(source: Rows) -> bool:
    """Whether these are tasks: each with its `data`, and annotations or predictions beside it."""
    row = source.rows[0]
    return isinstance(row.get("data"), dict) and any(
        isinstance(row.get(name), list) for name in ("annotations", "completions", "predictions", "drafts")
    )


def is_min(source: Rows) -> bool:
    """Whether these are rows of JSON-MIN (or of the CSV that is like it)."""
    return {"annotation_id", "annotator", "lead_time"} <= set(source.columns())


def read_json(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Tasks with all their annotations; predictions and drafts are counted and left out.

    Raises:
        DataError: a task is not of this form, with its place.
    """
    unused, told = Skipped(), dict[str, tuple[str, ...]]()

    def read(row: dict[str, Any], where: str) -> Found:
        if not isinstance(row.get("data"), dict):
            raise DataError(f"{where}: a task without 'data'; this is no whole export of Label Studio.")
        chosen = item_of(row["data"], where, columns)
        told.update({} if told else chosen.columns)
        for name, reason in (("predictions", "predictions of models"), ("drafts", "drafts that were not submitted")):
            for _ in row[name] if isinstance(row.get(name), list) else ():
                unused.add(reason, where)
        given = row.get("annotations", row.get("completions")) or []
        if not isinstance(given, list) or not all(isinstance(one, dict | int) for one in given):
            raise DataError(f"{where}: 'annotations' must be a list of annotations, not {given!r:.60}.")
        answers = [answer for one in given for answer in _annotation(one, chosen, where, unused)]
        return Found(chosen.item, chosen.names, tuple(answers), where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "label-studio", unused, told)


def _annotation(one: Any, about: Chosen, where: str, unused: Skipped) -> list[OldAnswer]:
    if isinstance(one, int):
        unused.add("annotations of which there is only the number", where)
        return []
    if one.get("was_cancelled") or one.get("skipped"):
        unused.add("annotations that their raters skipped", where)
        return []
    results = one.get("result") or []
    if not isinstance(results, list) or not all(isinstance(result, dict) for result in results):
        raise DataError(f"{where}: an annotation's 'result' must be a list of results, not {results!r:.60}.")
    if not results:
        unused.add("annotations without a result", where)
    controls: dict[str, list[dict[str, Any]]] = {}
    for result in results:
        if result.get("from_name") and result.get("type") not in (None, "relation"):
            controls.setdefault(str(result["from_name"]), []).append(result)
    answers = []
    for name, several in controls.items():
        answer = _control(name, several, about, where, unused)
        if answer is not None:
            answers.append(answer)
    return _attributed(answers, one, _rater(one.get("completed_by")), bool(one.get("ground_truth")), where)


def _control(
    name: str, results: Sequence[dict[str, Any]], about: Chosen, where: str, unused: Skipped
) -> OldAnswer | None:
    """What one control says in one annotation; None where that cannot be used, which is counted."""
    kind = str(results[0].get("type"))
    try:
        if kind == "labels":
            spans = spans_of(results, about)
            return OldAnswer(name, "flaws", len(spans), spans)
        for _ in results[1:]:
            unused.add("more than one result of a control", where)
        targets = targets_of(results[0])
        meaning, value = read_value(kind, results[0].get("value"), targets, about)
        sides = sides_of(targets, about) if kind == "pairwise" else None
        return OldAnswer(name, meaning, value, sides=sides)
    except Skip as reason:
        unused.add(str(reason), where)
        return None


def _attributed(
    answers: Sequence[OldAnswer], row: Mapping[str, Any], rater: str, truth: bool, where: str
) -> list[OldAnswer]:
    """The answers with rater and time; the time an annotation took is shared equally by its answers."""
    active = milliseconds(row.get("lead_time"), 1000 / max(1, len(answers)))
    started = row.get("created_at")
    return [
        OldAnswer(
            one.question, one.kind, one.value, one.spans, rater, sides=one.sides, truth=truth, where=where,
            started=started if isinstance(started, str) and started else None, active_ms=active,
        )
        for one in answers
    ]  # fmt: skip


def _rater(given: Any) -> str:
    """The number of who annotated; the e-mail address only where there is no number."""
    if isinstance(given, dict):
        given = given.get("id", given.get("email"))
    return "" if given is None else str(given)


def read_min(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Rows of one annotation each.

    A cell that holds a plain text may be part of the task or an answer. A column is one of answers where `asked` names
    it, where it holds results in any row, or where it differs between two rows of one task.
    """
    unused, told = Skipped(), dict[str, tuple[str, ...]]()
    rows = [{name: _cell(value) for name, value in row.items() if value not in (None, "")} for row in source.rows]
    answered = _answer_columns(rows, asked) - {one for several in columns.named.values() for one in several}

    def read(row: dict[str, Any], where: str) -> Found:
        fields = {name: value for name, value in row.items() if name not in answered}
        about = item_of(fields, where, columns, _ABOUT_ROW)
        told.update({} if told else about.columns)
        read = [
            answer for name, value in row.items() if name in answered and value != []
            and (answer := _control(name, _as_results(value), about, where, unused)) is not None
        ]  # fmt: skip
        said = _attributed(read, row, _rater(row.get("annotator")), False, where)
        return Found(about.item, about.names, tuple(said), where)

    kept, skipped = collect(replace(source, rows=rows), read)
    notes = (
        "JSON-MIN does not tell which columns of plain texts are answers; these were taken as answers: "
        f"{', '.join(sorted(answered)) or 'none'} (--map names others; the JSON export tells)",
    )
    return FoundData(kept, source.source, source.sha256, skipped, "label-studio-min", unused, told, notes)


def _answer_columns(rows: Sequence[Mapping[str, Any]], asked: Collection[str]) -> set[str]:
    found = set(asked)  # other columns are told by what they hold
    tasks: dict[str, Mapping[str, Any]] = {}
    for row in rows:
        first = tasks.setdefault(json.dumps(row["id"]), row) if row.get("id") is not None else row
        for name, value in row.items():
            several = value if isinstance(value, list) else [value]
            if several and all(isinstance(one, dict) and _type_of(one) for one in several):
                found.add(name)
        found |= {name for name in {*row, *first} if row.get(name) != first.get(name)}
    return found - {*_ABOUT_ROW}


def _type_of(value: Mapping[str, Any]) -> str | None:
    return next((kind for key, kind in KEYS.items() if key in value), None)


def _cell(value: Any) -> Any:
    """A cell of the CSV export, which holds as JSON what is no text."""
    if isinstance(value, str) and value.startswith(("[{", '{"')):
        try:
            return json.loads(value)
        except ValueError:
            return value
    return value


def _as_results(value: Any) -> list[dict[str, Any]]:
    """The cell of JSON-MIN as results of the JSON export: the prettifier left out the type and single texts' lists."""
    several = value if isinstance(value, list) else [value]
    return [
        {"type": _type_of(one), "value": one} if isinstance(one, dict)
        else {"type": "choices", "value": {"choices": [str(one)]}}
        for one in several
    ]  # fmt: skip
