"""Growing a world: names for its things, then a value for every relation, under the schema's rules.

A relation to another thing is drawn from all things of that kind, but by its rule: "spread" gives every thing of the
kind its turn, "inverse" takes one that names this thing, "chain" the last one before with the same value of `by`,
"other" one that is not the value of `by`, "alive" one whose years include an event's. A year follows another one by an
offset, or lies between two.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from kilter.errors import DataError
from kilter.testbeds.case import Split
from kilter.testbeds.facts.schema import Kind, Relation, Schema, schema
from kilter.testbeds.facts.world import Thing, World

_LEAST, _MOST = 24, 2_000  # articles
_SILENT = 0.3  # share of the optional relations that the encyclopedia does not give
_CLOSEST_AGE = 16  # years before which nobody fights


def grow(articles: int, seed: int, split: Split = "train") -> World:
    """A world with so many things, each of which has an article; the same for the same arguments.

    Raises `DataError` for fewer than 24 or more than 2,000 articles.
    """
    if not _LEAST <= articles <= _MOST:
        raise DataError(f"An encyclopedia has {_LEAST} to {_MOST:,} articles, not {articles:,}; set articles between.")
    grower = _Grower(schema(split), random.Random(f"facts/{split}/{seed}/{articles}"))
    for kind_name, count in _counts(grower.words, articles).items():
        for _ in range(count):
            grower.name(grower.words.kinds[kind_name])
    for kind in grower.words.kinds.values():
        for name in grower.of_kind(kind.name):
            for relation in kind.relations:
                grower.draw(name, relation)
    return World(grower.words, grower.things, grower.told())


def _counts(words: Schema, articles: int) -> dict[str, int]:
    """How many things of each kind, in proportion to their shares."""
    shares = {name: kind.share for name, kind in words.kinds.items()}
    counts = {name: max(2, articles * share // sum(shares.values())) for name, share in shares.items()}
    most = max(shares, key=lambda name: shares[name])
    counts[most] += articles - sum(counts.values())
    return counts


@dataclass
class _Grower:
    """The world so far."""

    words: Schema
    rng: random.Random
    things: dict[str, Thing] = field(default_factory=dict)
    facts: dict[str, dict[str, str]] = field(default_factory=dict)
    parts: set[str] = field(default_factory=set)
    titles: set[str] = field(default_factory=set)

    def of_kind(self, kind: str) -> list[str]:
        """Names of things of one kind."""
        return [thing.name for thing in self.things.values() if thing.kind == kind]

    def name(self, kind: Kind) -> None:
        """Add a thing with a name that no other one has."""
        names, rng = self.words.names, self.rng
        for _ in range(10_000):
            pronoun, part = "it", self._place(kind)
            if kind.pattern == "{person}":
                pronoun = rng.choice(["she", "he"])
                part = f"{rng.choice(names['women' if pronoun == 'she' else 'men'])} {self._compound('last')}"
            elif "{title}" in kind.pattern:
                short = f"{rng.choice(names['adjectives'])} {rng.choice(names['nouns'])}"
                plenty = len(self.titles) < len(names["adjectives"]) * len(names["nouns"]) // 2
                if plenty and short in self.titles:
                    continue
                part = short if plenty else f"{short} of {self._place(kind)}"
                self.titles.add(short)
            if part not in self.parts:
                self.parts.add(part)
                name = kind.pattern.format(person=part, title=part, place=part)
                name = f"The {name}" if kind.pattern == "{title}" else name
                self.things[name] = Thing(name, kind.name, pronoun)
                self.facts[name] = {}
                return
        raise DataError(f"The facts testbed has run out of names for a {kind.name}; ask for fewer articles.")

    def _place(self, kind: Kind) -> str:
        ends = self.words.names["ends"]
        return self._compound(kind.name if kind.name in ends else self.rng.choice([*ends]))

    def _compound(self, ending: str) -> str:
        names, rng = self.words.names, self.rng
        start, middle, end = (rng.choice(names[part]) for part in ("starts", "middles", "starts"))
        middle = middle or end.lower() if rng.random() < 0.5 else middle
        return f"{start}{middle}{rng.choice(names['ends'][ending])}"

    def draw(self, name: str, relation: Relation) -> None:
        """Give a thing its value of one relation, if there can be one."""
        value: str | None
        if relation.of == "year":
            value = str(self._year(name, relation))
        elif relation.of == "number":
            value = f"{self.rng.randint(*relation.rule['range']):,}"
        elif relation.of == "word":
            value = self.rng.choice(self.words.words[relation.rule["words"]])
        else:
            value = self._thing(name, relation)
        if value is not None:
            self.facts[name][relation.name] = value

    def _year(self, name: str, relation: Relation) -> int:
        rule = relation.rule
        start = self._at(name, rule["from"]) if "from" in rule else None
        if start is None:
            return self.rng.randint(*rule["range"])
        first, last = (int(start) + offset for offset in rule["offset"])
        if "until" in rule:
            last = int(self._at(name, rule["until"]) or last)
        return self.rng.randint(first, last)

    def _at(self, name: str, path: str) -> str | None:
        value: str | None = name
        for relation in path.split("."):
            value = self.facts.get(value or "", {}).get(relation)
        return value

    def _thing(self, name: str, relation: Relation) -> str | None:
        rule, by, facts = relation.rule.get("rule"), relation.rule.get("by", ""), self.facts
        others = [other for other in self.of_kind(relation.of) if other != name]
        if rule == "spread":
            return others[self.of_kind(relation.kind).index(name) % len(others)]
        if rule == "inverse":
            others = [other for other in others if facts[other][by] == name]
        elif rule == "chain":
            before = self.of_kind(relation.kind)
            before = before[: before.index(name)]
            others = [other for other in before if facts[other][by] == facts[name][by]][-1:]
        elif rule == "other":
            others = [other for other in others if other != facts[name][by]]
        elif rule == "alive":
            birth, death, year = by
            at = int(facts[name][year])
            used = set(facts[name].values())
            alive = (one for one in others if int(facts[one][birth]) + _CLOSEST_AGE <= at <= int(facts[one][death]))
            others = [one for one in alive if one not in used]
        return self.rng.choice(others) if others else None

    def told(self) -> dict[str, dict[str, str]]:
        """The facts without those about which the encyclopedia keeps silent."""
        optional = {
            (kind.name, one.name) for kind in self.words.kinds.values() for one in kind.relations if one.optional
        }
        return {
            name: {
                relation: value
                for relation, value in values.items()
                if (self.things[name].kind, relation) not in optional or self.rng.random() >= _SILENT
            }
            for name, values in self.facts.items()
        }
