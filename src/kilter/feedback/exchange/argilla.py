"""Argilla's exports: `records.to_json` and `to_list`, with nested answers, and the columns of `records.to_datasets`.

Checked against argilla 2.8.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Iterator, Mapping
from typing import Any

from kilter.errors import DataError
from kilter.feedback.exchange.fields import Chosen, Columns, item_of
from kilter.feedback.exchange.found import Found, FoundData, Kind, OldAnswer
from kilter.feedback.readings import Skip, Skipped, collect
from kilter.feedback.rows import Rows

_ABOUT_ROW = ("id", "status", "_server_id", "inserted_at", "updated_at", "score")
_LEFT_OUT = {"draft": "drafts that were not submitted", "discarded": "records that their raters discarded"}
_NO_STATUS = (
    "this JSON does not say which answers were submitted, so drafts and discarded ones are among them; export with "
    "to_datasets(), which does"
)


def is_json(source: Rows) -> bool:
    """Whether these are records: each with `fields`, and `responses` by question."""
    row = source.rows[0]
    return isinstance(row.get("fields"), dict) and isinstance(row.get("responses", {}), dict)


def is_flat(source: Rows) -> bool:
    """Whether these are the columns of `to_datasets`: `question.responses` and `question.responses.users`."""
    return any(name.endswith(".responses") and f"{name}.users" in source.columns() for name in source.columns())


def read_json(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Records of `to_json`; suggestions are counted and left out.

    Raises:
        DataError: a record is not of this form, with its place.
    """
    unused, told, unstated = Skipped(), dict[str, tuple[str, ...]](), [False]

    def read(row: dict[str, Any], where: str) -> Found:
        if not isinstance(row.get("fields"), dict):
            raise DataError(f"{where}: a record without 'fields'; this is no whole export of Argilla.")
        fields = row["fields"] | {"metadata": row["metadata"]} if row.get("metadata") else row["fields"]
        about = item_of(fields, where, columns)
        told.update({} if told else about.columns)
        suggestions = row.get("suggestions")
        for _ in suggestions if isinstance(suggestions, list | dict) else ():
            unused.add("suggestions of models", where)
        if not isinstance(row.get("responses") or {}, dict):
            raise DataError(f"{where}: 'responses' must be an object, by question, not {row['responses']!r:.60}.")
        answers = list(_answers(_nested(row.get("responses") or {}, where), about, where, unused, unstated))
        return Found(about.item, about.names, tuple(answers), where)

    kept, skipped = collect(source, read)
    notes = (_NO_STATUS,) if unstated[0] else ()
    return FoundData(kept, source.source, source.sha256, skipped, "argilla", unused, told, notes)


def read_flat(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Rows of `to_datasets`, where fields and metadata stand side by side; suggestions are counted and left out."""
    unused, told, unstated = Skipped(), dict[str, tuple[str, ...]](), [False]
    questions = [name.removesuffix(".responses") for name in source.columns() if name.endswith(".responses")]
    suggestions = [name for name in source.columns() if name.endswith(".suggestion")]
    beside = (".suggestion", ".suggestion.score", ".suggestion.agent", ".responses", ".responses.users",
              ".responses.status")  # fmt: skip

    def read(row: dict[str, Any], where: str) -> Found:
        fields = {name: value for name, value in row.items() if not name.endswith(beside)}
        about = item_of(fields, where, columns, _ABOUT_ROW)
        told.update({} if told else about.columns)
        for name in suggestions:
            if row.get(name) is not None:
                unused.add("suggestions of models", where)
        answers = list(_answers(_flat(row, questions, where), about, where, unused, unstated))
        return Found(about.item, about.names, tuple(answers), where)

    kept, skipped = collect(source, read)
    notes = (_NO_STATUS,) if unstated[0] else ()
    return FoundData(kept, source.source, source.sha256, skipped, "argilla-datasets", unused, told, notes)


_Said = tuple[str, Any, str, str | None]  # question, value, user, status


def _nested(responses: Mapping[str, Any], where: str) -> Iterator[_Said]:
    for question, several in responses.items():
        if not isinstance(several, list) or not all(isinstance(one, dict) for one in several):
            raise DataError(f"{where}: the responses to '{question}' must be a list of objects, not {several!r:.60}.")
        for one in several:
            yield question, one.get("value"), _user(one.get("user_id")), one.get("status")


def _flat(row: Mapping[str, Any], questions: Collection[str], where: str) -> Iterator[_Said]:
    for question in questions:
        values = row.get(f"{question}.responses") or []
        missing = [None] * (len(values) if isinstance(values, list) else 0)
        users = row.get(f"{question}.responses.users") or missing
        statuses = row.get(f"{question}.responses.status") or missing
        columns = (values, users, statuses)
        if not all(isinstance(one, list) for one in columns) or len({len(one) for one in columns}) > 1:
            raise DataError(f"{where}: '{question}.responses', its users and its status are not equally many.")
        yield from ((question, *one[:1], _user(one[1]), one[2]) for one in zip(values, users, statuses, strict=True))


def _user(given: Any) -> str:
    return "" if given in (None, "None") else str(given)


def _answers(
    said: Iterator[_Said], about: Chosen, where: str, unused: Skipped, unstated: list[bool]
) -> Iterator[OldAnswer]:
    for question, value, user, status in said:
        status = status if isinstance(status, str) else None
        if status in _LEFT_OUT:
            unused.add(_LEFT_OUT[status], where)
            continue
        if value is None:
            unused.add("answers without a value", where)
            continue
        unstated[0] = unstated[0] or status is None
        try:
            kind, read, spans = _read(value, about)
        except Skip as reason:
            unused.add(str(reason), where)
            continue
        yield OldAnswer(question, kind, read, spans, user, where=where)


def _read(value: Any, about: Chosen) -> tuple[Kind, Any, list[Any] | None]:
    """An answer by the form of its value, since an export does not say of what type its question is."""
    if isinstance(value, str):
        return "words", value, None
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return "rating", int(value) if value == int(value) else value, None
    if not isinstance(value, list) or not value:
        raise Skip("answers of a form that is not known")
    if all(isinstance(one, str) for one in value):
        ranked = _ranking([[one] for one in value], about)
        return ("ranking", ranked, None) if ranked is not None else ("labels", value, None)
    if all(isinstance(one, dict) and {"start", "end", "label"} <= one.keys() for one in value):
        return _spans(value, about)
    if all(isinstance(one, dict) and "value" in one for one in value):
        groups: dict[int, list[str]] = {}
        for place, one in enumerate(value):
            rank = one.get("rank")
            groups.setdefault(rank if isinstance(rank, int) else place, []).append(str(one["value"]))
        ranked = _ranking([groups[rank] for rank in sorted(groups)], about)
        if ranked is None:
            raise Skip("a ranking that does not name each response once")
        return "ranking", ranked, None
    raise Skip("answers of a form that is not known")


def _ranking(groups: list[list[str]], about: Chosen) -> list[Any] | None:
    """The groups by the responses' numbers, where they name each response once by its field or its text."""
    for known in (about.names, about.item.responses):
        same = {_squeezed(name): number for number, name in enumerate(known)}
        numbers = [[same.get(_squeezed(one), -1) for one in group] for group in groups]
        if len(known) > 1 and sorted(one for group in numbers for one in group) == list(range(len(known))):
            return [group[0] if len(group) == 1 else sorted(group) for group in numbers]
    return None


def _squeezed(name: str) -> str:
    return name.casefold().replace("-", "_").strip()


def _spans(value: list[dict[str, Any]], about: Chosen) -> tuple[Kind, Any, list[Any] | None]:
    if len(about.item.responses) != 1:
        raise Skip("spans of an item with several responses: the export does not say in which they lie")
    length = len(about.item.responses[0])
    for one in value:
        if type(one["start"]) is not int or type(one["end"]) is not int or not 0 <= one["start"] < one["end"] <= length:
            raise Skip("a span that does not lie in the response")
    spans = [{"response": 0, "start": one["start"], "end": one["end"], "type": str(one["label"])} for one in value]
    return "flaws", len(spans), sorted(spans, key=lambda one: (one["start"], one["end"], one["type"]))
