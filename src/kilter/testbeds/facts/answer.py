"""Composing a correct short answer about a thing: true claims, simple, denied, joined, and over several hops."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from kilter.testbeds.facts.articles import opened
from kilter.testbeds.facts.claim import Claim, Is, Joined, say
from kilter.testbeds.facts.schema import Relation
from kilter.testbeds.facts.values import wrong_value
from kilter.testbeds.facts.world import World

_PRONOUN = 0.6  # how often a later statement calls the thing by a pronoun, where it can
_SWAPPABLE = 0.5  # how often an answer that can joins two relations whose values could change places
_FORMS = {"plain": 0.38, "not": 0.22, "and": 0.22, "or": 0.1}  # the rest are hops


@dataclass(frozen=True)
class Statement:
    """One sentence of an answer: its claim, and whether it would call the thing by a pronoun."""

    claim: Claim
    pronoun: bool


def compose(world: World, subject: str, count: int, difficulty: float, rng: random.Random) -> list[Statement]:
    """True statements about `subject`, at most `count`; the first says what it is."""
    left = world.known(subject)
    statements = [Statement(_plain(world, subject, left[0], 0), False)]
    left = rng.sample(left[1:], len(left) - 1)
    hops = _hops(world, subject, difficulty, rng)
    if _alike(left) and rng.random() < _SWAPPABLE:
        statements.append(Statement(_formed(world, subject, "and", left, difficulty, rng), False))
    while len(statements) < count and (left or hops):
        form = rng.choices([*_FORMS, "hop"], [*_FORMS.values(), 0.08 + 0.3 * difficulty])[0]
        claim: Claim | None = None
        if form == "hop" and hops:
            path = hops.pop()
            claim = Is(subject, path, world.follow(subject, path) or "", rng.randrange(12))
        elif form != "hop" and left:
            claim = _formed(world, subject, form, left, difficulty, rng)
        elif not left:
            continue
        if claim is not None:
            statements.append(Statement(claim, rng.random() < _PRONOUN))
    return [statements[0], *rng.sample(statements[1:], len(statements) - 1)]


def _hops(world: World, subject: str, difficulty: float, rng: random.Random) -> list[tuple[str, ...]]:
    """Paths of two relations, and of three where it is to be difficult, in random order."""
    paths = world.paths(subject, 2) + (world.paths(subject, 3) if difficulty > 0.6 else [])
    return rng.sample(paths, len(paths))


def _plain(world: World, subject: str, relation: Relation, wording: int) -> Is:
    return Is(subject, (relation.name,), world.facts[subject][relation.name], wording)


def _formed(
    world: World, subject: str, form: str, left: list[Relation], difficulty: float, rng: random.Random
) -> Claim:
    """A claim of one of the forms; it takes its relations from `left`."""
    first = left.pop()
    claim = _plain(world, subject, first, rng.randrange(12))
    if form == "plain" or (form in ("and", "or") and not left):
        return claim
    if form == "and":
        pair = _pair([first, *left], rng)
        left[:] = [one for one in (first, *left) if one not in pair]
        both = tuple(_plain(world, subject, relation, rng.randrange(12)) for relation in pair)
        return Joined("and", both, rng.randrange(12))
    other = left.pop() if form == "or" else first
    value = wrong_value(world, subject, (other.name,), difficulty, rng)
    if value is None:
        return claim
    wrong = Is(subject, (other.name,), value, rng.randrange(12))
    if form == "not":
        return Joined("not", (wrong,))
    parts = [claim, wrong]
    rng.shuffle(parts)
    return Joined("or", tuple(parts), rng.randrange(12))


def _pair(left: Sequence[Relation], rng: random.Random) -> tuple[Relation, Relation]:
    """Two relations for an "and", such that their values could change places, if there are any."""
    return rng.choice(_alike(left) or list(combinations(left, 2)))


def _alike(left: Sequence[Relation]) -> list[tuple[Relation, Relation]]:
    """Pairs of relations to things of the same kind."""
    return [(one, other) for one, other in combinations(left, 2) if one.of == other.of and one.is_thing]


def write(world: World, statements: Sequence[Statement]) -> tuple[str, list[tuple[int, int]]]:
    """The answer's text and where each statement stands in it."""
    text, units = "", []
    for statement in statements:
        text += " " if text else ""
        said = opened(say(world, statement.claim, _called(world, statement)))
        units.append((len(text), len(text) + len(said)))
        text += said
    return text, units


def _called(world: World, statement: Statement) -> str | None:
    """A pronoun where the statement begins with its subject."""
    claim = statement.claim
    inner = claim.parts[0] if isinstance(claim, Joined) and claim.by == "not" else claim
    if not statement.pronoun or not isinstance(inner, Is) or len(inner.path) > 1:
        return None
    says = world.relation(inner.subject, inner.path[0]).says
    leads = says[inner.wording % len(says)].startswith("{s}")
    return world.things[inner.subject].pronoun if leads else None
