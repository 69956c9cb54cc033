"""What a made-up world consists of: kinds of things, the relations between them, and how they are worded."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib import resources
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.case import Split

_CHOICE = re.compile(r"\[([^\[\]|]*)\|([^\[\]|]*)\]")


@dataclass(frozen=True)
class Relation:
    """Something that can be said of every thing of one kind; a thing has at most one value of each relation.

    Attributes:
        name, kind: as in the file, such as "born" of a "ruler".
        of: kind of the value: another kind of thing, or "year", "number" or "word".
        says: statements, with {s} for the subject, {v} for the value and [positive|negative] around the verb.
        ask: the question whose answer is the value.
        hop: a name for the value by way of the subject, such as "the author of {s}"; "" where the value is no thing.
        optional: the encyclopedia may be silent about it.
        minor: a mistake here misleads nobody about what matters.
        rule: how a value is drawn; see `grow`.
    """

    name: str
    kind: str
    of: str
    says: tuple[str, ...]
    ask: str
    hop: str
    optional: bool
    minor: bool
    rule: Mapping[str, Any]

    @property
    def is_thing(self) -> bool:
        """Whether the value has an article of its own."""
        return self.of not in ("year", "number", "word")

    def say(self, subject: str, value: str, positive: bool, wording: int) -> str:
        """The statement as part of a sentence; the negative one has the same wording but for its verb."""
        template = _CHOICE.sub(r"\1" if positive else r"\2", self.says[wording % len(self.says)])
        return template.replace("{s}", subject).replace("{v}", value)


@dataclass(frozen=True)
class Kind:
    """A kind of thing, the share of the articles that are about it, and the pattern of its names."""

    name: str
    share: int
    pattern: str
    relations: tuple[Relation, ...]


@dataclass(frozen=True)
class Schema:
    """Everything of one split."""

    split: Split
    kinds: Mapping[str, Kind]
    words: Mapping[str, tuple[str, ...]]
    names: Mapping[str, Any]
    wordings: Mapping[str, Any]


@cache
def schema(split: Split) -> Schema:
    """The schema of one split. Raises `DataError` for an unknown split."""
    if split not in ("train", "test"):
        raise DataError(f"The facts testbed has no split '{split}'; take 'train' or 'test'.")
    try:
        text = resources.files("kilter.testbeds.facts").joinpath(f"world_{split}.json").read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(text)
    except (OSError, ValueError) as error:
        raise DataError(
            f"Kilter's own file world_{split}.json cannot be read ({error}); install kilter again."
        ) from error
    return Schema(
        split,
        {entry["kind"]: _kind(entry) for entry in data["kinds"]},
        {name: tuple(words) for name, words in data["words"].items()},
        data["names"],
        {name: data[name] for name in ("joins", "task", "note")},
    )


def _kind(entry: Mapping[str, Any]) -> Kind:
    relations = tuple(
        Relation(
            name=one["name"],
            kind=entry["kind"],
            of=one["of"],
            says=tuple(one["says"]),
            ask=one["ask"],
            hop=one.get("hop", ""),
            optional=one.get("optional", False),
            minor=one.get("minor", False),
            rule={
                name: one[name] for name in ("rule", "by", "range", "from", "offset", "until", "words") if name in one
            },
        )
        for one in entry["relations"]
    )
    return Kind(entry["kind"], entry["share"], entry["name"], relations)
