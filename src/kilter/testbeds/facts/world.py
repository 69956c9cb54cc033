"""A made-up world: its things and every fact about them that its encyclopedia knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from kilter.testbeds.facts.schema import Kind, Relation, Schema


@dataclass(frozen=True)
class Thing:
    """Something with an article; `pronoun` is "it", "she" or "he"."""

    name: str
    kind: str
    pronoun: str


@dataclass(frozen=True, eq=False)
class World:
    """Things by name, and facts: the value of each relation of each thing, as text.

    The world is closed: what is not in `facts` the encyclopedia does not say, and nothing that it says implies it.
    """

    schema: Schema
    things: Mapping[str, Thing]
    facts: Mapping[str, Mapping[str, str]]

    def kind(self, name: str) -> Kind:
        """The kind of a thing."""
        return self.schema.kinds[self.things[name].kind]

    def relation(self, name: str, relation: str) -> Relation:
        """A relation of a thing, by its name."""
        return next(one for one in self.kind(name).relations if one.name == relation)

    def of_kind(self, kind: str) -> list[str]:
        """Names of all things of one kind."""
        return [thing.name for thing in self.things.values() if thing.kind == kind]

    def known(self, name: str) -> list[Relation]:
        """Relations of a thing that the encyclopedia gives, in the order of the schema."""
        return [one for one in self.kind(name).relations if one.name in self.facts[name]]

    def silent(self, name: str) -> list[Relation]:
        """Relations of a thing that it often gives for others, but not here."""
        return [one for one in self.kind(name).relations if one.optional and one.name not in self.facts[name]]

    def follow(self, name: str, path: Sequence[str]) -> str | None:
        """The value at the end of a path of relations; None where the encyclopedia is silent on the way."""
        value: str | None = name
        for relation in path:
            value = self.facts.get(value or "", {}).get(relation)
        return value

    def on_the_way(self, name: str, path: Sequence[str]) -> Iterator[tuple[str, str]]:
        """The facts, as (thing, relation), that lead along a path, as far as they are given."""
        for relation in path:
            value = self.facts.get(name, {}).get(relation)
            if value is None:
                return
            yield name, relation
            name = value

    def paths(self, name: str, hops: int) -> list[tuple[str, ...]]:
        """Paths of so many relations from a thing to a known value."""
        if hops == 1:
            return [(one.name,) for one in self.known(name)]
        return [
            (one.name, *rest)
            for one in self.known(name)
            if one.hop
            for rest in self.paths(self.facts[name][one.name], hops - 1)
            if self.follow(name, (one.name, *rest)) != name
        ]

    def last(self, name: str, path: Sequence[str]) -> tuple[str, Relation]:
        """The thing at which the last relation of a path is asked, and that relation."""
        at = self.follow(name, path[:-1])
        assert at is not None  # a path leads through known facts
        return at, self.relation(at, path[-1])

    def phrase(self, subject: str, name: str, path: Sequence[str]) -> str:
        """A name for the end of a path, such as "the capital of the region of Orby"; `subject` stands for the first."""
        for relation in path:
            subject = self.relation(name, relation).hop.replace("{s}", subject)
            name = self.facts[name][relation]
        return subject
