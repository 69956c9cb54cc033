"""Demonstrations: prompts with the reply that a person would want."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from kilter.feedback.messages import Message, as_messages, require_prompt
from kilter.feedback.readings import Readings, Skip, collect, column, text_column, wrong_columns
from kilter.feedback.rows import Rows, read_rows

LAYOUTS = "messages (or conversations); prompt and completion (or response); or instruction, input and output"


@dataclass(frozen=True)
class Demonstration:
    """A prompt, which ends with a turn of the user, and the reply to it."""

    prompt: list[Message]
    response: str
    where: str = ""


class DemonstrationData(Readings[Demonstration]):
    """Demonstrations as read from one source, with what was left out."""

    def contents(self) -> str:
        """How many."""
        return f"{len(self):,} demonstrations"


def read_demonstrations(
    path_or_name: str | Path, *, split: str | None = None, columns: Mapping[str, str] | None = None
) -> DemonstrationData:
    """Read demonstrations from a file, a folder or a hub data set (see `kilter.feedback.rows`).

    Layouts: `messages`, a chat whose last turn is the reply to learn; `prompt` with `completion` or
    `response`, each a text or messages; `instruction`, `input` (may be empty) and `output`. `columns` maps
    these names to the source's own. Raises `DataError` as `read_preferences` does.
    """
    source = read_rows(path_or_name, split).renamed(columns)
    kept, skipped = collect(source, demonstration_reader(source))
    return DemonstrationData(kept, source.source, source.sha256, skipped)


def demonstration_reader(source: Rows) -> Callable[[dict[str, Any], str], Demonstration]:
    """What reads one row of a source with the columns of `read_demonstrations`; raises `WrongColumns` for others."""
    read_row = _reader_for(source)
    return lambda row, where: _checked(read_row(row, where), where)


_Read = tuple[list[Message], str]  # prompt, reply


def _reader_for(source: Rows) -> Callable[[dict[str, Any], str], _Read]:
    found = set(source.columns())
    for chat in ("messages", "conversations"):
        if chat in found:
            return partial(_last_reply, chat)
    for reply in ("completion", "response"):
        if {"prompt", reply} <= found:
            return partial(_completed, reply)
    if {"instruction", "output"} <= found:
        return _instructed
    raise wrong_columns(source, LAYOUTS, "completion")


def _checked(read: _Read, where: str) -> Demonstration:
    prompt, response = read
    require_prompt(prompt)
    if not response:
        raise Skip("empty response")
    return Demonstration(prompt, response, where)


def _last_reply(chat: str, row: dict[str, Any], where: str) -> _Read:
    messages = as_messages(column(row, chat, where), where)
    if messages[-1]["role"] != "assistant":
        raise Skip("chat that does not end with a reply")
    return messages[:-1], messages[-1]["content"]


def _completed(reply: str, row: dict[str, Any], where: str) -> _Read:
    prompt = as_messages(column(row, "prompt", where), where)
    completion = column(row, reply, where)
    if isinstance(completion, str):
        return prompt, completion.strip()
    messages = as_messages(completion, where)
    if len(messages) != 1 or messages[0]["role"] != "assistant":
        raise Skip("completion that is not one reply")
    return prompt, messages[0]["content"]


def _instructed(row: dict[str, Any], where: str) -> _Read:
    parts = [text_column(row, "instruction", where).strip(), str(row.get("input") or "").strip()]
    content = "\n\n".join(part for part in parts if part)
    return [{"role": "user", "content": content}], text_column(row, "output", where).strip()
