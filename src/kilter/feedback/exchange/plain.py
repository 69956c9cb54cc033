"""Files of plain columns: items, preferences, rankings, marks, step labels, demonstrations, prompts."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Collection
from dataclasses import replace
from typing import Any

from kilter.feedback.exchange.fields import RATERS, Columns, item_of, plain, unpacked
from kilter.feedback.exchange.found import Found, FoundData, Kind, OldAnswer
from kilter.feedback.exchange.raw import principal_of
from kilter.feedback.preferences import preference_reader
from kilter.feedback.readings import Skip, collect, column
from kilter.feedback.rows import Rows
from kilter.feedback.step_labels import step_label_reader
from kilter.feedback.tasks import TaskItem, read_item
from kilter.feedback.tasks.items import COLUMNS

_RESPONSE = ("completion", "response")
_TRUE, _FALSE = ("true", "1", "1.0"), ("false", "0", "0.0")


def is_items(source: Rows) -> bool:
    """Whether all columns are those of Kilter's items."""
    found = set(source.columns())
    return found <= set(COLUMNS) and bool(found & {"prompt", "responses", "response", "steps"})


def is_preferences(source: Rows) -> bool:
    """Whether the columns say which response is better."""
    found = set(source.columns())
    return (
        {"chosen", "rejected"} <= found or {"prompt", "responses", "ranking"} <= found or {"prompt", "ranked"} <= found
    )


def is_marks(source: Rows) -> bool:
    """Whether there is one response and a label, true or false."""
    found = set(source.columns())
    return {"prompt", "label"} <= found and bool(found & set(_RESPONSE))


def is_step_labels(source: Rows) -> bool:
    """Whether there are steps and labels, as in TRL's stepwise supervision."""
    found = set(source.columns())
    return {"prompt", "labels"} <= found and bool(found & {"steps", "completions"})


def read_items(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Kilter's own items, with what is known of the right answers."""
    source = _prepared(source, columns)
    kept, skipped = collect(source, lambda row, where: Found(read_item(_with_number(row), where), where=where))
    return FoundData(kept, source.source, source.sha256, skipped, "items")


def read_preferences(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Comparisons and rankings in any layout that `kilter.feedback.read_preferences` knows, in neutral order."""
    source = _prepared(source, columns)
    read_row = preference_reader(source, ties=True)
    ours = ("prompt", "chosen", "rejected", "responses", "ranking", "ranked", "margin")

    def read(row: dict[str, Any], where: str) -> Found:
        one = read_row(row, where)
        item = TaskItem(tuple(one.prompt), one.responses, meta=_meta(row, ours))
        value: Any = one.value
        if len(one.responses) == 2:
            grade = int(one.margin)
            if value != "tie" and grade == one.margin and 1 <= grade <= 4:  # else a margin says no grade
                value = {"better": value, "strength": grade}
            return Found(item, answers=(_answer(row, "preference", "choice", value, where),), where=where)
        return Found(item, answers=(_answer(row, "ranking", "ranking", value, where),), where=where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "preferences")


def read_marks(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Single responses with a label, true or false."""
    source = _prepared(source, columns)

    def read(row: dict[str, Any], where: str) -> Found:
        about = item_of(row, where, Columns(), _beside(row, "label"))
        label = column(row, "label", where)
        word = str(label).lower()
        if word not in (*_TRUE, *_FALSE):
            raise Skip("a label that is neither true nor false")
        answer = _answer(row, "label", "mark", word in _TRUE, where)
        return Found(_with_meta(about.item, row), about.names, (answer,), where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "marks")


def read_step_labels(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Solutions in steps, each right or wrong."""
    source = _prepared(source, columns)
    read_row = step_label_reader(source)
    ours = ("prompt", "steps", "completions", "labels")

    def read(row: dict[str, Any], where: str) -> Found:
        one = read_row(row, where)
        if not set(one.labels) <= {0.0, 1.0}:
            raise Skip("labels between right and wrong")
        item = TaskItem(tuple(one.prompt), steps=one.steps, meta=_meta(row, ours))
        value = [1 if label else -1 for label in one.labels]
        return Found(item, answers=(_answer(row, "steps", "steps", value, where),), where=where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "step-labels")


def read_texts(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Prompts, with or without responses; columns named in `asked` are answers, in words."""
    source = _prepared(source, columns)
    told = dict[str, tuple[str, ...]]()

    def read(row: dict[str, Any], where: str) -> Found:
        said = [name for name in asked if row.get(name) not in (None, "")]
        about = item_of(row, where, Columns(), _beside(row, *said))
        told.update({} if told else about.columns)
        answers = [_answer(row, name, *_said(row[name]), where) for name in said]
        return Found(_with_meta(about.item, row), about.names, tuple(answers), where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "texts", columns=told)


def is_texts(source: Rows) -> bool:
    """Always: what is none of the others is read for its prompts and responses."""
    return True


def _beside(row: dict[str, Any], *names: str) -> tuple[str, ...]:
    return (*RATERS, *names, *(name for name in row if name.startswith("kilter_")))


def _said(value: Any) -> tuple[Kind, Any]:
    """A number as a rating, anything else as words."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return "words", str(value)
    whole = int(number) if math.isfinite(number) and number == int(number) else number
    return ("rating", whole) if math.isfinite(number) else ("words", str(value))


def _with_number(row: dict[str, Any]) -> dict[str, Any]:
    """The row with its priority as a number where a CSV file holds it as a text."""
    try:
        return row | {"priority": float(row["priority"])} if isinstance(row.get("priority"), str) else row
    except ValueError:
        return row


def _prepared(source: Rows, columns: Columns) -> Rows:
    unpack: Callable[[dict[str, Any]], dict[str, Any]] = unpacked
    named = columns.of_rows(source)
    return replace(named, rows=[unpack(row) for row in named.rows])


def _meta(row: dict[str, Any], ours: Collection[str]) -> dict[str, Any]:
    """What goes along; of an export of Kilter's own, what went along with the item."""
    kept = {name: plain(value) for name, value in row.items()
            if name not in (*ours, *RATERS) and not name.startswith("kilter_") and value is not None}  # fmt: skip
    return kept | _exported_meta(row)


def _with_meta(item: TaskItem, row: dict[str, Any]) -> TaskItem:
    return replace(item, meta={**item.meta, **_exported_meta(row)})


def _exported_meta(row: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(row.get("kilter_meta") or "{}")
    except (TypeError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}


def _answer(row: dict[str, Any], question: str, kind: Any, value: Any, where: str) -> OldAnswer:
    """One answer; what Kilter exported keeps its judge, or is the aggregate that it was."""
    judges, principals = row.get("kilter_judges"), row.get("kilter_principals")
    if judges and principals:
        alone = len(judges) == 1 and row.get("kilter_aggregate") == "none"
        behind = "simulated" if "simulated" in principals else principals[0] if alone else "aggregate"
        name = judges[0] if alone else f"kilter/{row.get('kilter_aggregate')}".replace(" ", "-")
        return OldAnswer(question, kind, value, judge=name, principal=principal_of(behind, where), where=where)
    rater = next((row[name] for name in RATERS if row.get(name) not in (None, "")), "")
    return OldAnswer(question, kind, value, rater=str(rater), where=where)
