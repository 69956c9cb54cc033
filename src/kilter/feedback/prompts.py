"""Prompts alone, from any file that holds preferences, demonstrations or prompts."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from kilter.feedback.demonstrations import read_demonstrations
from kilter.feedback.messages import Message, as_messages, require_prompt
from kilter.feedback.preferences import read_preferences
from kilter.feedback.readings import Readings, WrongColumns, collect, column, wrong_columns
from kilter.feedback.rows import read_rows


class PromptData(Readings[list[Message]]):
    """Prompts as read from one source, with what was left out."""

    def contents(self) -> str:
        """How many."""
        return f"{len(self):,} prompts"


def read_prompts(
    path_or_name: str | Path, *, split: str | None = None, columns: Mapping[str, str] | None = None
) -> PromptData:
    """Read prompts: the column `prompt` (text or messages), or the prompts of preferences or demonstrations.

    Raises `DataError` when the source holds none of these.
    """
    source = read_rows(path_or_name, split).renamed(columns)
    if "prompt" in source.columns():

        def read(row: dict[str, object], where: str) -> list[Message]:
            prompt = as_messages(column(row, "prompt", where), where)
            require_prompt(prompt)
            return prompt

        kept, skipped = collect(source, read)
        return PromptData(kept, source.source, source.sha256, skipped)
    for reader in (read_preferences, read_demonstrations):
        try:
            data = reader(path_or_name, split=split, columns=columns)
        except WrongColumns:
            continue
        return PromptData([list(one.prompt) for one in data], data.source, data.sha256, data.skipped)
    raise wrong_columns(source, "prompt, or those of preferences or demonstrations", "prompt")
