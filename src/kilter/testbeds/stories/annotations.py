"""Reading real summaries with annotated passages, in the layout of the XSum hallucination annotations.

Maynez et al., "On Faithfulness and Factuality in Abstractive Summarization", ACL 2020 (arXiv 2005.00661): a CSV file
with one row per annotated passage and worker, and the documents elsewhere, by their id.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.files import csv_rows, json_lines
from kilter.testbeds.case import Case, Flaw

_SENTENCE = re.compile(r"\S.*?(?:[.!?]+[\"')]*(?=\s|$)|$)", re.S)
_TYPES = {"intrinsic": "wrong_fact", "extrinsic": "invented_fact"}
_DOCUMENT, _ID = ("document", "source", "article"), ("bbcid", "id", "doc_id")
_NONE = ("", "null", "none", "nan")


def load_faithfulness(path: Path | str, documents: Path | str | None = None, *, agreed: int = 2) -> list[Case]:
    """Summaries and the passages that workers marked as unfaithful, as cases without a known correct response.

    Args:
        path: CSV or JSONL; one row per passage with `summary`, `hallucination_type` ("intrinsic", "extrinsic" or
            nothing), and `hallucinated_span` or `hallucinated_span_start` and `_end`; rows of one `bbcid` and `system`
            belong together. In JSONL a row may instead hold a list `spans` of {"start", "end", "type", "note"}.
        documents: CSV or JSONL with `id` (or `bbcid`) and `document`; not needed where the rows hold a `document`.
        agreed: how many workers must have marked a character for it to count, or all where there are fewer.

    An intrinsic hallucination becomes "wrong_fact", an extrinsic one "invented_fact"; severity is not annotated and
    stands as "major". `correct` is "" where something is wrong: nobody wrote one.

    Raises `DataError` with the line for a row that cannot be used, and for a document that is missing.
    """
    if agreed < 1:
        raise DataError(f"agreed={agreed} would count passages that nobody marked; set 1 or more.")
    path = Path(path)
    texts = _documents(Path(documents)) if documents is not None else {}
    groups: dict[tuple[str, str, str], list[_Row]] = defaultdict(list)
    for line, values in _read(path):
        row = _row(path, line, values)
        groups[row.document_id, row.system, row.summary].append(row)
    return [_case(path, key, rows, texts, agreed) for key, rows in groups.items()]


@dataclass(frozen=True)
class _Row:
    line: int
    document_id: str
    system: str
    summary: str
    document: str
    worker: str
    spans: tuple[tuple[int, int, str, str], ...]


def _read(path: Path) -> list[tuple[int, dict[str, Any]]]:
    """Every row of a CSV or JSONL file with its line."""
    rows = list(json_lines(path) if path.suffix in (".jsonl", ".json") else csv_rows(path))
    if not rows:
        raise DataError(f"{path} holds no rows. It should have one annotated summary or passage a line.")
    return rows


def _documents(path: Path) -> dict[str, str]:
    found = {}
    for line, row in _read(path):
        id, text = _first(row, _ID), _first(row, _DOCUMENT)
        if not id or not text:
            raise DataError(f"{path}, line {line} needs a document with its id: fields {_ID[1]} and {_DOCUMENT[0]}.")
        found[id] = text
    return found


def _first(row: Mapping[str, Any], names: Sequence[str]) -> str:
    return next((str(row[name]) for name in names if row.get(name) not in (None, "")), "")


def _row(path: Path, line: int, values: dict[str, Any]) -> _Row:
    where, summary = f"{path}, line {line}", str(values.get("summary") or "")
    if not summary.strip():
        raise DataError(f"{where} has no summary. The fields there are {', '.join(map(str, values))}.")
    if isinstance(values.get("spans"), list):
        spans = tuple(_listed(where, summary, span) for span in values["spans"])
    else:
        spans = _annotated(where, summary, values)
    document, id = _first(values, _DOCUMENT), _first(values, _ID)
    worker = str(values.get("worker_id") or line)
    return _Row(line, id or document, str(values.get("system") or ""), summary, document, worker, spans)


def _listed(where: str, summary: str, span: Any) -> tuple[int, int, str, str]:
    if not isinstance(span, dict) or not all(isinstance(span.get(name), int) for name in ("start", "end")):
        raise DataError(f"{where}: each of the spans needs whole numbers start and end, not {json.dumps(span)}.")
    start, end = span["start"], span["end"]
    if not 0 <= start < end <= len(summary):
        raise DataError(f"{where}: the span {start}-{end} lies outside of the summary of {len(summary)} characters.")
    return start, end, _type(where, str(span.get("type") or "wrong_fact")), str(span.get("note") or "")


def _type(where: str, name: str) -> str:
    """The kind of flaw; names of Kilter's own pass as they are."""
    from kilter.testbeds.stories.generate import TYPES

    known = {**_TYPES, **{type: type for type in TYPES}}
    if name.lower() not in known:
        raise DataError(f"{where}: '{name}' is no type of hallucination; known are {', '.join(known)}.")
    return known[name.lower()]


def _annotated(where: str, summary: str, values: Mapping[str, Any]) -> tuple[tuple[int, int, str, str], ...]:
    """The passage of one row of the published CSV file, none where its worker found nothing."""
    type = str(values.get("hallucination_type") or "")
    if type.lower() in _NONE:
        return ()
    kind = _type(where, type)
    said = str(values.get("hallucinated_span") or "").strip().removeprefix("\\n").removesuffix("\\n").strip()
    near = values.get("hallucinated_span_start")
    try:
        start = int(near) if near not in (None, "") else 1
    except ValueError:
        raise DataError(f"{where}: hallucinated_span_start is '{near}', which is no whole number.") from None
    if said and said.lower() not in _NONE:
        # the published offsets count from 1 and are wrong in a fifth of the rows; the words themselves are right
        places = [match.start() for match in re.finditer(re.escape(said), summary)]
        if not places:
            raise DataError(f"{where}: the summary does not contain the hallucinated span '{said}'.")
        first = min(places, key=lambda place: abs(place - (start - 1)))
        return ((first, first + len(said), kind, ""),)
    end = str(values.get("hallucinated_span_end") or "")
    if not end.isdigit() or not 1 <= start < int(end) <= len(summary) + 1:
        raise DataError(
            f"{where}: a hallucination needs its words in hallucinated_span, or its place in hallucinated_span_start "
            f"and _end, counted from 1; {start} to '{end}' is not in a summary of {len(summary)} characters."
        )
    return ((start - 1, int(end) - 1, kind, ""),)


def _case(path: Path, key: tuple[str, str, str], rows: list[_Row], texts: Mapping[str, str], agreed: int) -> Case:
    id, system, summary = key
    source = rows[0].document or texts.get(id, "")
    if not source:
        raise DataError(
            f"{path}, line {rows[0].line}: there is no document '{id}'. Give a file with the fields id and document as "
            "documents, or put a document in each row."
        )
    flaws = tuple(_flaws(rows, agreed))
    units = tuple((match.start(), match.end()) for match in _SENTENCE.finditer(summary))
    return Case(
        testbed="faithfulness",
        structure=f"document {id[:40]}",
        split="test",
        difficulty=0.5,
        task="Summarize the document.",
        source=source,
        response=summary,
        flaws=flaws,
        correct="" if flaws else summary,
        units=units,
        hidden={"system": system, "workers": sorted({row.worker for row in rows})},
    )


def _flaws(rows: list[_Row], agreed: int) -> Iterator[Flaw]:
    """Runs of characters that enough workers marked; the type is the one that most marks of the run have."""
    needed = min(agreed, len({row.worker for row in rows}))
    marks: dict[int, set[str]] = defaultdict(set)
    for row in rows:
        for start, end, _, _ in row.spans:
            for place in range(start, end):
                marks[place].add(row.worker)
    places = sorted(place for place, workers in marks.items() if len(workers) >= needed)
    runs: list[list[int]] = []
    for place in places:
        if runs and place == runs[-1][1]:
            runs[-1][1] = place + 1
        else:
            runs.append([place, place + 1])
    for start, end in runs:
        spans = [span for row in rows for span in row.spans if span[0] < end and start < span[1]]
        types = [span[2] for span in spans]
        note = next((span[3] for span in spans if span[3]), "Workers marked this as not supported by the document.")
        yield Flaw(start, end, max(sorted(set(types)), key=types.count), "major", note)
