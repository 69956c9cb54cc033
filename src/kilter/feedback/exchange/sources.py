"""A source in any known layout, told by its content or named by the user."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Protocol

from kilter.errors import DataError, SettingsError
from kilter.feedback.exchange import argilla, label_studio, plain, prm800k, raw
from kilter.feedback.exchange.fields import Columns
from kilter.feedback.exchange.found import FoundData
from kilter.feedback.rows import Rows, read_rows
from kilter.record import canonical
from kilter.settings import nearest


class Reader(Protocol):
    """What turns rows into items and old answers; `asked` names columns that are answers, where that is not plain."""

    def __call__(self, source: Rows, columns: Columns, asked: Collection[str] = ()) -> FoundData:
        """Read all rows."""


@dataclass(frozen=True)
class Form:
    """A layout: what it is in words, whether rows are of it, and what reads them."""

    what: str
    fits: Callable[[Rows], bool]
    read: Reader


FORMS: dict[str, Form] = {
    "kilter": Form("single judgments as Kilter exports them", raw.is_raw, raw.read_raw),
    "label-studio": Form("Label Studio's JSON export", label_studio.is_json, label_studio.read_json),
    "label-studio-min": Form("Label Studio's JSON-MIN export", label_studio.is_min, label_studio.read_min),
    "argilla": Form("Argilla's records.to_json", argilla.is_json, argilla.read_json),
    "argilla-datasets": Form("Argilla's records.to_datasets", argilla.is_flat, argilla.read_flat),
    "prm800k": Form("PRM800K's lines", prm800k.is_prm800k, prm800k.read_prm800k),
    "items": Form("items in Kilter's own columns", plain.is_items, plain.read_items),
    "preferences": Form("preferences or rankings", plain.is_preferences, plain.read_preferences),
    "step-labels": Form("solutions with a label per step", plain.is_step_labels, plain.read_step_labels),
    "marks": Form("responses with a label, true or false", plain.is_marks, plain.read_marks),
    "texts": Form("prompts, with or without responses", plain.is_texts, plain.read_texts),
}
"""Every layout by its name, the most particular first."""


def read_source(
    path_or_name: str | Path,
    form: str | None = None,
    *,
    columns: Columns | None = None,
    asked: Collection[str] = (),
    split: str | None = None,
) -> FoundData:
    """Read items and old answers from a file, a folder or a hub data set (see `kilter.feedback.rows`).

    Args:
        path_or_name: the source.
        form: its layout, a key of `FORMS`; told by its content where it is not given.
        columns: what the source calls prompt, responses and so on.
        asked: columns that are answers, for layouts that do not tell.
        split: which split, where there are several.

    Raises:
        SettingsError: there is no such layout.
        DataError: the source is missing, malformed (with its line), of another layout or without anything to judge.
    """
    if form is not None and form not in FORMS:
        raise SettingsError(f"There is no layout '{form}': {nearest(form, FORMS)}")
    source = read_rows(path_or_name, split)
    columns = columns or Columns()
    if form is None:
        known = columns.of_rows(source) if all(one in source.columns() for several in columns.named.values()
                                               for one in several) else source  # fmt: skip
        form = next(name for name, one in FORMS.items() if one.fits(source) or one.fits(known))
    return keepable(FORMS[form].read(source, columns, asked))


def keepable(data: FoundData) -> FoundData:
    """What the record can keep; the rest is counted: texts with half a character, numbers that are none."""
    kept = []
    for found in data:
        if not _can_be_kept(found.item.body()):
            data.skipped.add("items with a text that is no valid Unicode", found.where)
            continue
        meta = {name: value for name, value in found.item.meta.items() if _can_be_kept([name, value])}
        answers = [one for one in found.answers if _can_be_kept([one.question, one.value, one.spans, one.started])]
        for _ in range(len(found.answers) - len(answers)):
            data.unused.add("answers with a text that is no valid Unicode or a number that is none", found.where)
        kept.append(replace(found, item=replace(found.item, meta=meta), answers=tuple(answers)))
    if not kept:
        raise DataError(f"None of the items of {data.source} can be kept: {data.skipped.words()}.")
    return replace(data, rows=kept)


def _can_be_kept(value: Any) -> bool:
    try:
        canonical(value)
    except DataError:
        return False
    return "\\u0000" not in json.dumps(value)  # PostgreSQL keeps no such text
