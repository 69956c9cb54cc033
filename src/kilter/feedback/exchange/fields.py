"""An item from named fields: which of them is the prompt, and which are responses to it."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from kilter.errors import DataError, SettingsError
from kilter.feedback.messages import Message, as_messages
from kilter.feedback.readings import Skip
from kilter.feedback.rows import Rows
from kilter.feedback.tasks import TaskItem
from kilter.feedback.tasks.items import MOST_RESPONSES
from kilter.settings import nearest

PROMPTS = (
    "prompt", "instruction", "question", "query", "messages", "conversation", "conversations", "chat", "dialogue",
)  # fmt: skip
SEVERAL = ("responses", "completions", "answers", "candidates", "generations", "outputs", "replies", "items")
SINGLE = ("response", "completion", "answer", "output", "generation", "reply")
TEXTS = ("text", "document", "content", "passage")
RATERS = (
    "rater", "rater_id", "annotator", "annotator_id", "labeler", "labeler_id", "worker", "worker_id", "user_id",
)  # fmt: skip
_NUMBERED = re.compile(
    r"((?:model[ _-]?)?(?:response|completion|answer|output|generation|reply|candidate|option|text|txt))"
    r"[ _-]?(\d{1,2}|[a-i])",
    re.IGNORECASE,
)
NAMES = {*PROMPTS, *SEVERAL, *SINGLE, *TEXTS, *RATERS}
"""Names that a field has for being part of an item, not an answer."""
_PARTS = ("body", "text", "content", "value", "title")
_LISTS = ("prompt", "responses", "steps", "ranking", "ranked", "labels", "completions", "messages", "conversations")


@dataclass(frozen=True)
class Columns:
    """What the user says of a source's columns: {"prompt": ("context", "question"), "responses": ("a", "b")}."""

    named: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @classmethod
    def parse(cls, pairs: Iterable[str]) -> Columns:
        """From "prompt=question" and "responses=answer_a,answer_b"; raises `SettingsError` for another form."""
        named: dict[str, tuple[str, ...]] = {}
        for pair in pairs:
            name, sign, theirs = pair.partition("=")
            fields = tuple(one.strip() for one in theirs.split(",") if one.strip())
            if not sign or not name.strip() or not fields:
                raise SettingsError(f"--column {pair} is not of the form NAME=THEIRS, such as prompt=question.")
            if len(fields) > 1 and name.strip() not in ("prompt", "responses", "steps"):
                raise SettingsError(
                    f"--column {pair} names several columns, but only prompt, responses and steps can be made of "
                    "several."
                )
            named[name.strip()] = fields
        return cls(named)

    def of_rows(self, source: Rows) -> Rows:
        """The same rows with the columns under Kilter's names; raises `DataError` where one is not there."""
        there = source.columns()
        for theirs in (one for several in self.named.values() for one in several):
            if theirs not in there:
                raise DataError(
                    f"{source.source} has no column '{theirs}': {nearest(theirs, there)} Found: {', '.join(there)}."
                )
        rows = [self.of_fields(row, partly=True) for row in source.rows] if self.named else source.rows
        return Rows(source.source, source.sha256, rows, source.numbers, source.unit)

    def of_fields(self, fields: Mapping[str, Any], partly: bool = False) -> dict[str, Any]:
        """The same fields under Kilter's names; raises `Skip` where one is not there, unless `partly`."""
        found: dict[str, Any] = {}
        for name, theirs in self.named.items():
            missing = next((one for one in theirs if fields.get(one) is None), None)
            if missing is not None and not partly:
                raise Skip(f"no '{missing}'")
            values = [fields[one] for one in theirs if fields.get(one) is not None]
            joined = name == "prompt" and all(isinstance(one, str) for one in values)
            found[name] = (values or [None])[0] if len(theirs) == 1 else "\n\n".join(values) if joined else values
        taken = {one for several in self.named.values() for one in several}
        return found | {name: value for name, value in fields.items() if name not in taken and name not in found}


@dataclass(frozen=True)
class Chosen:
    """An item with what its responses are called, and which fields it was made of."""

    item: TaskItem
    names: tuple[str, ...]
    columns: Mapping[str, tuple[str, ...]]


def item_of(fields: Mapping[str, Any], where: str, columns: Columns, leave: Iterable[str] = ()) -> Chosen:
    """An item of a prompt and responses, found by their fields' names; other fields go along in its `meta`.

    Args:
        fields: of one row of the source.
        where: its place, for errors.
        columns: what the user says of them.
        leave: fields that are no part of the item, such as the rater's name.

    Raises:
        Skip: there is nothing that could be judged.
        DataError: a chat is malformed.
    """
    given = columns.of_fields(fields)
    prompt_fields, prompt = _prompt(given, where)
    taken = set(prompt_fields)
    response_fields, names, responses = _responses({name: one for name, one in given.items() if name not in taken})
    if not responses and prompt and prompt[-1]["role"] == "assistant":
        *prompt, reply = prompt
        responses, names, response_fields = [reply["content"]], ("",), prompt_fields
    steps = _texts(given.get("steps"), "step") if given.get("steps") else []
    if not prompt and not responses and not steps:
        raise Skip("no prompt and no response among its fields (name them with --column prompt=NAME)")
    if len(responses) > MOST_RESPONSES:
        raise Skip(f"more than {MOST_RESPONSES} responses")
    used = {*prompt_fields, *response_fields, "steps", *leave}
    meta = {name: plain(value) for name, value in given.items() if name not in used and value is not None}
    item = TaskItem(tuple(prompt), tuple(responses), tuple(steps), meta=meta)
    told = {name: tuple(columns.named.get(name, ours)) for name, ours in
            (("prompt", prompt_fields), ("responses", response_fields)) if ours}  # fmt: skip
    if "responses" in columns.named and len(columns.named["responses"]) == len(responses):
        names = columns.named["responses"]
    return Chosen(item, names, told)


def plain(value: Any) -> Any:
    """A value that JSON can keep, dates and the like as texts."""
    return json.loads(json.dumps(value, default=str))


def milliseconds(value: Any, each: float) -> int | None:
    """A time in milliseconds, `each` of them to the source's unit; None where there is no such time."""
    try:
        time = float(value) * each
    except (TypeError, ValueError):
        return None
    return round(time) if 0 <= time < 2**62 else None


def unpacked(row: dict[str, Any]) -> dict[str, Any]:
    """A row of a CSV file with the lists and objects that its cells hold as JSON; other rows as they are."""
    if not all(isinstance(value, str) for value in row.values()):
        return row
    return {name: _unpacked(value) if name in _LISTS or name in ("answers", "meta") else value
            for name, value in row.items()}  # fmt: skip


def _unpacked(text: str) -> Any:
    if not text.lstrip().startswith(("[", "{")):
        return text or None
    try:
        return json.loads(text)
    except ValueError:
        return text


def _prompt(fields: Mapping[str, Any], where: str) -> tuple[tuple[str, ...], list[Message]]:
    name = next((name for name in PROMPTS if fields.get(name)), None)
    if name is None:
        return (), []
    value = fields[name]
    if not isinstance(value, str | list | dict):
        raise Skip(f"'{name}' is neither a text nor a chat")
    more = fields.get("input") if name == "instruction" else None
    if isinstance(more, str) and more.strip() and isinstance(value, str):
        return (name, "input"), as_messages(f"{value.strip()}\n\n{more.strip()}", where)
    return (name,), as_messages(value, where)


def _responses(fields: Mapping[str, Any]) -> tuple[tuple[str, ...], tuple[str, ...], list[str]]:
    """The fields that hold responses, the responses' names, and the responses."""
    several = next((name for name in SEVERAL if isinstance(fields.get(name), list) and fields[name]), None)
    if several:
        values = fields[several]
        names = tuple(str(one["id"]) if isinstance(one, dict) and "id" in one else "" for one in values)
        return (several,), names, _texts(values, "response")
    numbered = _numbered(fields)
    if len(numbered) > 1:
        return numbered, numbered, [_text(fields[name], "response") for name in numbered]
    single = next((name for name in (*SINGLE, *numbered) if fields.get(name) is not None), None)
    if single is None and not any(fields.get(name) for name in PROMPTS):
        single = next((name for name in TEXTS if isinstance(fields.get(name), str)), None)
    return ((single,), (single,), [_text(fields[single], "response")]) if single else ((), (), [])


def _numbered(fields: Mapping[str, Any]) -> tuple[str, ...]:
    """response_1, response_2, ... or answer_a, answer_b, ...: the largest such family, in order."""
    families: dict[str, list[tuple[int, str]]] = {}
    for name, value in fields.items():
        match = _NUMBERED.fullmatch(name)
        if match and value is not None:
            place = int(match[2]) if match[2].isdigit() else ord(match[2].lower()) - ord("a")
            families.setdefault(match[1].lower(), []).append((place, name))
    largest = max(families.values(), key=len, default=[])
    return tuple(name for _, name in sorted(largest))


def _texts(values: Any, what: str) -> list[str]:
    if not isinstance(values, list):
        raise Skip(f"{what}s that are no list")
    return [_text(one, what) for one in values]


def _text(value: Any, what: str) -> str:
    """A text, the text of an object that holds one, or the reply that ends a chat."""
    if isinstance(value, list) and value and isinstance(value[-1], dict):
        value = value[-1]
    if isinstance(value, dict):
        value = next((value[part] for part in _PARTS if isinstance(value.get(part), str) and value[part].strip()), None)
    if not isinstance(value, str):
        raise Skip(f"{what} that is no text")
    if not value.strip():
        raise Skip(f"empty {what}")
    return value
