"""Preferences of people: a prompt, two or more responses, and which were liked better."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.feedback.messages import (
    ASSISTANT,
    HUMAN,
    Message,
    as_messages,
    is_dialogue,
    parse_dialogue,
    prompt_key,
    require_prompt,
)
from kilter.feedback.readings import Readings, Skip, collect, column, wrong_columns
from kilter.feedback.rows import Rows, read_rows

LAYOUTS = "chosen and rejected (with or without prompt); prompt, responses and ranking; or prompt and ranked"


@dataclass(frozen=True)
class Preference:
    """One prompt, K >= 2 different responses, and the rank of each: 0 is best, equal ranks are a tie.

    The order of the responses says nothing of their ranks. `margin` is by how much the better of two is better, if the
    source says so.
    """

    prompt: list[Message]
    responses: tuple[str, ...]
    ranks: tuple[int, ...]
    where: str = ""
    margin: float = 0.0

    @cached_property
    def order(self) -> tuple[int, ...]:
        """Indices of the responses, best first."""
        return tuple(sorted(range(len(self.ranks)), key=lambda index: self.ranks[index]))

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """Every (index of the better, index of the worse); K(K-1)/2 of them where there are no ties."""
        indices = range(len(self.ranks))
        return [(i, j) for i in indices for j in indices if self.ranks[i] < self.ranks[j]]

    @property
    def ties(self) -> list[tuple[int, int]]:
        """Every two responses of the same rank."""
        indices = range(len(self.ranks))
        return [(i, j) for i in indices for j in range(i + 1, len(self.ranks)) if self.ranks[i] == self.ranks[j]]

    @property
    def best(self) -> str:
        """The response liked best; of two, the chosen one."""
        return self.responses[self.order[0]]

    @property
    def worst(self) -> str:
        """The response liked least; of two, the rejected one."""
        return self.responses[self.order[-1]]

    @property
    def value(self) -> int | str | list[int | list[int]]:
        """The judgment's value: of two the index of the better or "tie", of more the ranking, ties nested."""
        if len(self.ranks) == 2:
            return "tie" if self.ranks[0] == self.ranks[1] else self.order[0]
        groups = [[i for i in self.order if self.ranks[i] == rank] for rank in sorted(set(self.ranks))]
        return [group[0] if len(group) == 1 else group for group in groups]


class PreferenceData(Readings[Preference]):
    """Preferences as read from one source, with what was left out."""

    def contents(self) -> str:
        """How many comparisons, prompts and pairs."""
        pairs = sum(len(row.pairs) for row in self.rows)
        prompts = len({prompt_key(row.prompt) for row in self.rows})
        return f"{len(self):,} comparisons of {prompts:,} prompts, {pairs:,} pairs"


def read_preferences(
    path_or_name: str | Path,
    *,
    split: str | None = None,
    columns: Mapping[str, str] | None = None,
    ties: bool = False,
) -> PreferenceData:
    """Read human preferences from a file, a folder or a hub data set (see `kilter.feedback.rows`).

    Layouts, told apart by their columns:

    - `chosen`, `rejected` as whole dialogues of "Human:" and "Assistant:" turns (hh-rlhf, arXiv 2204.05862),
      or as lists of messages with a shared beginning;
    - `prompt`, `chosen`, `rejected`, each a text or messages; the latter two may repeat the prompt;
    - `prompt`, `responses`, `ranking`: indices best first, a nested list for a tie, as [2, [0, 1]];
    - `prompt`, `ranked`: the responses themselves, best first.

    Where there is a `margin` beside `chosen` and `rejected`, it says by how much the chosen one is better.

    Args:
        path_or_name: the source.
        split: which split, where there are several.
        columns: names of the source's columns where they differ, {"chosen": "better"}.
        ties: keep judgments that found all responses equally good; only reward models with `ties` learn from them.

    Raises:
        DataError: the source is missing, empty or malformed, has other columns, or has nothing to learn from.
    """
    source = read_rows(path_or_name, split).renamed(columns)
    kept, skipped = collect(source, preference_reader(source, ties))
    return PreferenceData(kept, source.source, source.sha256, skipped)


def preference_reader(source: Rows, ties: bool = False) -> Callable[[dict[str, Any], str], Preference]:
    """What reads one row of a source with the columns of `read_preferences`; raises `WrongColumns` for others."""
    read_row = _reader_for(source)
    return lambda row, where: _checked(read_row(row, where), where, _margin(row, where), ties)


_Read = tuple[list[Message], list[str], list[int]]  # prompt, responses, rank of each


def _reader_for(source: Rows) -> Callable[[dict[str, Any], str], _Read]:
    found = set(source.columns())
    if {"chosen", "rejected"} <= found:
        return _read_pair
    if {"prompt", "responses", "ranking"} <= found:
        return _read_ranking
    if {"prompt", "ranked"} <= found:
        return _read_ranked
    raise wrong_columns(source, LAYOUTS, "chosen")


def _margin(row: dict[str, Any], where: str) -> float:
    value = row.get("margin")
    if value is None:
        return 0.0
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value < math.inf:
        raise DataError(
            f"{where}: the margin {value!r} must be a number of at least 0, by how much the chosen response is better, "
            "or null where that is unknown. If the column means something else, rename or remove it."
        )
    return float(value)


def _checked(read: _Read, where: str, margin: float, ties: bool) -> Preference:
    prompt, responses, ranks = read
    require_prompt(prompt)
    if not all(responses):
        raise Skip("empty response")
    if len(set(responses)) < len(responses):
        raise Skip("identical responses")
    if len(set(ranks)) == 1 and not ties:
        raise Skip("all responses tied")
    return Preference(prompt, tuple(responses), tuple(ranks), where, margin)


def _read_pair(row: dict[str, Any], where: str) -> _Read:
    chosen, rejected = column(row, "chosen", where), column(row, "rejected", where)
    if all(isinstance(value, str) and is_dialogue(value) for value in (chosen, rejected)):
        prompt, better, worse = _split_dialogues(chosen, rejected)
    elif row.get("prompt") is not None:
        prompt = as_messages(row["prompt"], where)
        better, worse = (_response(value, prompt, where) for value in (chosen, rejected))
    elif isinstance(chosen, str) or isinstance(rejected, str):
        raise Skip("without a prompt: no such column, no Human: and Assistant: turns")
    else:
        prompt, better, worse = _split_messages(as_messages(chosen, where), as_messages(rejected, where))
    return _neutral_order(prompt, [better, worse])


def _split_dialogues(chosen: str, rejected: str) -> tuple[list[Message], str, str]:
    """The shared prompt ends with the last "Assistant:" up to which both dialogues are the same."""
    chosen, rejected = ("\n\n" + text.lstrip() for text in (chosen, rejected))
    shared = next((i for i, (a, b) in enumerate(zip(chosen, rejected, strict=False)) if a != b), None)
    end = chosen[:shared].rfind(ASSISTANT) if shared is not None else min(chosen, rejected, key=len).rfind(ASSISTANT)
    if end < 0:
        raise Skip("dialogues without a shared prompt")
    end += len(ASSISTANT)
    better, worse = chosen[end:], rejected[end:]
    if HUMAN in better or HUMAN in worse:
        raise Skip("dialogues that part before their last reply")
    if ASSISTANT in better or ASSISTANT in worse:
        raise Skip("reply in two turns")
    return parse_dialogue(chosen[:end]), better.strip(), worse.strip()


def _split_messages(chosen: list[Message], rejected: list[Message]) -> tuple[list[Message], str, str]:
    if chosen[:-1] != rejected[:-1]:
        raise Skip("dialogues that part before their last reply")
    if chosen[-1]["role"] != "assistant" or rejected[-1]["role"] != "assistant":
        raise Skip("dialogue that does not end with a reply")
    if not chosen[:-1]:
        raise Skip("without a prompt: no such column, no shared beginning")
    return chosen[:-1], chosen[-1]["content"], rejected[-1]["content"]


def _response(value: Any, prompt: list[Message], where: str) -> str:
    if isinstance(value, str):
        return value.strip()
    messages = as_messages(value, where)
    if messages[: len(prompt)] == prompt:
        messages = messages[len(prompt) :]
    if not messages:
        raise Skip("empty response")
    if len(messages) > 1:
        raise Skip("response of several turns")
    if messages[0]["role"] != "assistant":
        raise Skip("dialogue that does not end with a reply")
    return messages[0]["content"]


def _read_ranked(row: dict[str, Any], where: str) -> _Read:
    prompt = as_messages(column(row, "prompt", where), where)
    return _neutral_order(prompt, _responses(column(row, "ranked", where), prompt, where))


def _read_ranking(row: dict[str, Any], where: str) -> _Read:
    prompt = as_messages(column(row, "prompt", where), where)
    responses = _responses(column(row, "responses", where), prompt, where)
    ranking = column(row, "ranking", where)
    groups = [each if isinstance(each, list) else [each] for each in ranking] if isinstance(ranking, list) else []
    named = [index for group in groups for index in group]
    if not all(type(index) is int for index in named) or sorted(named) != list(range(len(responses))):
        raise DataError(
            f"{where}: the ranking {ranking!r} must name each of the indices 0 to {len(responses) - 1} once, "
            "best first."
        )
    ranks = {index: rank for rank, group in enumerate(groups) for index in group}
    return prompt, responses, [ranks[index] for index in range(len(responses))]


def _responses(value: Any, prompt: list[Message], where: str) -> list[str]:
    if not isinstance(value, list) or len(value) < 2:
        raise DataError(f"{where}: a list of two or more responses was expected, not {value!r:.80}.")
    return [_response(each, prompt, where) for each in value]


def _neutral_order(prompt: list[Message], best_first: list[str]) -> _Read:
    """Order the responses by a hash, lest whoever is shown the first two learn that the first is better."""
    key = prompt_key(prompt)

    def place(index: int) -> str:
        return hashlib.sha256(f"{key}\0{best_first[index]}".encode()).hexdigest()

    try:
        ranks = sorted(range(len(best_first)), key=place)
    except UnicodeEncodeError as error:  # JSON may hold half of a surrogate pair
        raise Skip("text that is no valid Unicode") from error
    return prompt, [best_first[rank] for rank in ranks], ranks
