"""Kilter's own export of single judgments, read back: from one workspace into another."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import Any, cast, get_args

from kilter.errors import DataError
from kilter.feedback.exchange.fields import Columns
from kilter.feedback.exchange.found import Found, FoundData, Kind, OldAnswer
from kilter.feedback.readings import Skipped, collect
from kilter.feedback.rows import Rows
from kilter.feedback.tasks import read_item
from kilter.record import Principal

KINDS: dict[str, Kind] = {
    "comparison": "choice", "ranking": "ranking", "rating": "rating", "label": "words", "text": "text",
    "flaws": "flaws", "steps": "steps",
}  # fmt: skip


def is_raw(source: Rows) -> bool:
    """Whether these are rows of the layout `raw`."""
    return {"kilter_judgments", "kilter_question", "question_type", "value"} <= set(source.columns())


def read_raw(source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
    """Judgments with the names that their judges have on the record they come from, and who stands behind them.

    Raises:
        DataError: a row is not as Kilter wrote it, with its place.
    """
    unused = Skipped()

    def read(row: dict[str, Any], where: str) -> Found:
        try:
            value, spans = json.loads(row["value"]), json.loads(row["spans"]) if row.get("spans") else None
            kept = {name: row.get(name) for name in ("prompt", "responses", "steps") if row.get(name)}
            item = read_item(kept | {"meta": json.loads(row.get("kilter_meta") or "{}")}, where)
            kind = KINDS[row["question_type"]]
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{where} is not as Kilter exports judgments ({error}); export it anew.") from error
        if row.get("kilter_aggregate") == "adjudicated":
            unused.add("decisions of researchers, who had seen what the raters said", where)
            return Found(item, where=where)
        if row.get("kilter_aggregate") != "none":
            unused.add("aggregates of several raters", where)
            return Found(item, where=where)
        kind = "labels" if kind == "words" and isinstance(value, list) else kind
        sides, principal = _first(row.get("kilter_sides_shown")), _first(row.get("kilter_principals"))
        answer = OldAnswer(
            row["kilter_question"], kind, value, spans, judge=str(_first(row["kilter_judges"]) or ""),
            principal=principal_of(principal, where), sides=_sides(sides, len(item.responses)), where=where,
            started=_first(row.get("kilter_started")), active_ms=_first(row.get("kilter_active_ms")),
        )  # fmt: skip
        return Found(item, answers=(answer,), where=where)

    kept, skipped = collect(source, read)
    return FoundData(kept, source.source, source.sha256, skipped, "kilter", unused)


def _sides(given: Any, responses: int) -> tuple[int, ...] | None:
    """The order in which the responses stood, where it is one."""
    right = isinstance(given, list) and all(type(one) is int for one in given)
    return tuple(given) if right and sorted(given) == list(range(responses)) and given else None


def principal_of(name: Any, where: str) -> Principal:
    """Who stands behind an exported judgment; raises `DataError` where the row does not say."""
    for principal in get_args(Principal):
        if name == principal:
            return cast(Principal, principal)
    raise DataError(f"{where} does not say who stands behind the judgment: kilter_principals has {name!r:.40}.")


def _first(several: Any) -> Any:
    return several[0] if isinstance(several, list) and several else None
