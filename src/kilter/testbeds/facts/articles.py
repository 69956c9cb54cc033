"""The encyclopedia: an article about each thing, and views of it from which passages or articles are left out."""

from __future__ import annotations

import random
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Literal

from kilter.errors import DataError
from kilter.testbeds.facts.world import World

Fact = tuple[str, str]  # a thing and the name of its relation


@dataclass(frozen=True)
class Sentence:
    """A passage, [start, end), and the fact that it states."""

    start: int
    end: int
    fact: Fact


@dataclass(frozen=True)
class View:
    """What somebody may read: the text, where each fact stands, and whose articles are there without a gap."""

    text: str
    sentences: tuple[Sentence, ...]
    whole: frozenset[str]

    def passages(self, facts: Iterable[Fact]) -> tuple[tuple[int, int], ...]:
        """Where these facts are stated, in order."""
        wanted = set(facts)
        return tuple((one.start, one.end) for one in self.sentences if one.fact in wanted)

    def states(self, facts: Collection[Fact]) -> bool:
        """Whether all of these facts can be read here."""
        return set(facts) <= {one.fact for one in self.sentences}


def opened(text: str) -> str:
    """A sentence with a capital in front and a period behind."""
    return f"{text[:1].upper()}{text[1:]}."


def full(world: World, seed: int) -> View:
    """Every article, in alphabetical order, with every fact in one of its wordings: what an expert may read."""
    return _told(world, seed, frozenset(), frozenset())


def cut(world: World, seed: int, share: float, by: Literal["passage", "article"] = "passage") -> View:
    """The articles of `full` for the same seed without a share of their passages, or of the articles.

    With a larger share what is left out grows: a view with more cut is part of one with less.

    Raises `DataError` for a share outside of 0 to 1 and for an unknown `by`.
    """
    if not 0 <= share <= 1 or by not in ("passage", "article"):
        raise DataError(f"A view is cut by a share from 0 to 1, 'passage' or 'article', not by {share} and '{by}'.")
    rng = random.Random(f"cut/{seed}/{by}")
    facts = [(name, one.name) for name in world.things for one in world.known(name)]
    units: list[Fact] | list[str] = facts if by == "passage" else list(world.things)
    order = rng.sample(range(len(units)), len(units))[: round(share * len(units))]
    gone = {units[index] for index in order}
    left_out = frozenset(fact for fact in facts if fact in gone or fact[0] in gone)
    return _told(world, seed, left_out, frozenset(name for name in world.things if name in gone))


def _told(world: World, seed: int, left_out: frozenset[Fact], missing: frozenset[str]) -> View:
    text, sentences = "", []
    for name in sorted(world.things, key=lambda name: name.removeprefix("the ").removeprefix("The ")):
        if name in missing:
            continue
        text += f"{chr(10) * 2 if text else ''}{name[:1].upper()}{name[1:]}\n"
        for fact, said in _article(world, name, seed):
            if fact not in left_out:
                text += "" if text.endswith("\n") else " "
                sentences.append(Sentence(len(text), len(text) + len(said), fact))
                text += said
    gaps = {name for name, _ in left_out}
    return View(text, tuple(sentences), frozenset(world.things) - gaps - missing)


def _article(world: World, name: str, seed: int) -> list[tuple[Fact, str]]:
    """An article's sentences: first what the thing is, then the rest in any order."""
    rng = random.Random(f"article/{seed}/{name}")
    first, *rest = world.known(name)
    said = []
    for number, relation in enumerate([first, *rng.sample(rest, len(rest))]):
        leads = [index for index, say in enumerate(relation.says) if say.startswith("{s}")]  # a pronoun can only lead
        if number == 0 or not leads or rng.random() < 0.4:
            called, wording = name, 0 if number == 0 else rng.randrange(len(relation.says))
        else:
            called, wording = world.things[name].pronoun, rng.choice(leads)
        sentence = relation.say(called, world.facts[name][relation.name], True, wording)
        said.append(((name, relation.name), opened(sentence)))
    return said
