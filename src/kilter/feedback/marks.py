"""Marks: single responses that people found good or bad."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.feedback.messages import Message, as_messages, require_prompt
from kilter.feedback.preferences import read_preferences
from kilter.feedback.readings import Readings, Skip, WrongColumns, collect, column, wrong_columns
from kilter.feedback.rows import read_rows

REPLIES = ("completion", "response")


@dataclass(frozen=True)
class Mark:
    """A prompt, which ends with a turn of the user, a reply to it, and whether it was found desirable."""

    prompt: list[Message]
    response: str
    desirable: bool
    where: str = ""


class MarkData(Readings[Mark]):
    """Marks as read from one source, with what was left out."""

    def contents(self) -> str:
        """How many of each kind."""
        liked = sum(one.desirable for one in self)
        return f"{liked:,} desirable and {len(self) - liked:,} undesirable responses"


def read_marks(
    path_or_name: str | Path, *, split: str | None = None, columns: Mapping[str, str] | None = None
) -> MarkData:
    """Read `prompt`, `completion` (or `response`) and `label` (true or false), or comparisons.

    The best response of a comparison counts as desirable, its worst as undesirable. Raises `DataError` as
    `read_preferences` does.
    """
    source = read_rows(path_or_name, split).renamed(columns)
    found = set(source.columns())
    reply = next((name for name in REPLIES if name in found), None)
    if reply is None or "label" not in found:
        try:
            data = read_preferences(path_or_name, split=split, columns=columns)
        except WrongColumns as error:
            wanted = "prompt, completion (or response) and label; or those of comparisons"
            raise wrong_columns(source, wanted, "label") from error
        marks = [
            Mark(list(one.prompt), text, good, one.where)
            for one in data
            for text, good in ((one.best, True), (one.worst, False))
        ]
        return MarkData(marks, data.source, data.sha256, data.skipped)

    def read(row: dict[str, Any], where: str) -> Mark:
        prompt = as_messages(column(row, "prompt", where), where)
        require_prompt(prompt)
        given = column(row, reply, where)
        text = given if isinstance(given, str) else as_messages(given, where)[-1]["content"]
        label = column(row, "label", where)
        if not isinstance(label, bool) and label not in (0, 1):
            raise DataError(f"{where}: 'label' must be true or false, not {label!r:.40}.")
        if not text.strip():
            raise Skip("empty response")
        return Mark(prompt, text.strip(), bool(label), where)

    kept, skipped = collect(source, read)
    return MarkData(kept, source.source, source.sha256, skipped)
