"""The words that stories are made of: plots, names and wordings, written by hand and split once and for all."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.case import Split


@dataclass(frozen=True)
class Schema:
    """A plot before it has people: what can happen in it, and in which words.

    Each of the `steps` "start", "cause", "try", "solve" and "end" is a tuple of variants, which are different facts; a
    variant is a pair of templates: how the story tells it, and the clause with which a summary says it.
    """

    name: str
    hero: tuple[str, ...]
    other: tuple[str, ...]
    site: str
    slots: Mapping[str, tuple[str, ...]]
    loans: tuple[str, ...]
    trouble: str
    settled: str
    effect: str
    steps: Mapping[str, tuple[tuple[str, str], ...]]


@dataclass(frozen=True)
class Lexicon:
    """Everything of one split; `names` and `wordings` are as in the files."""

    split: Split
    schemas: tuple[Schema, ...]
    names: Mapping[str, tuple[str, ...]]
    wordings: Mapping[str, Any]
    women_only: frozenset[str]
    men_only: frozenset[str]


@cache
def lexicon(split: Split) -> Lexicon:
    """The lexicon of one split. Raises `DataError` for an unknown split."""
    if split not in ("train", "test"):
        raise DataError(f"The stories testbed has no split '{split}'; take 'train' or 'test'.")
    names = _read("lexicon.json")
    plots = _read(f"plots_{split}.json")
    return Lexicon(
        split,
        tuple(_schema(name, entry) for name, entry in plots.items()),
        {name: tuple(words) for name, words in names[split].items()},
        _read("wordings.json")[split],
        frozenset(names["female_trades"]),
        frozenset(names["male_trades"]),
    )


def _schema(name: str, entry: Mapping[str, Any]) -> Schema:
    steps = {
        step: tuple((tell, say) for tell, say in ([entry[step]] if step == "start" else entry[step]))
        for step in ("start", "cause", "try", "solve", "end")
    }
    slots = {slot: tuple(values) for slot, values in entry["slots"].items()}
    phrases = (entry["trouble"], entry["settled"], entry["effect"])
    people = (tuple(entry["hero"]), tuple(entry["other"]))
    return Schema(name, *people, entry["site"], slots, tuple(entry["loans"]), *phrases, steps)


def _read(name: str) -> dict[str, Any]:
    try:
        text = resources.files("kilter.testbeds.stories").joinpath(name).read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(f"Kilter's own file {name} cannot be read ({error}); install kilter again.") from error
    return data
