"""Claims about a world: what they mean, whether they are true, and how they are said."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Literal

from kilter.testbeds.facts.articles import Fact
from kilter.testbeds.facts.world import World


@dataclass(frozen=True)
class Is:
    """That the value at the end of `path`, from `subject` on, is `value`; `wording` chooses how it is said."""

    subject: str
    path: tuple[str, ...]
    value: str
    wording: int = 0


@dataclass(frozen=True)
class Joined:
    """That a claim is not so, or two are joined by "and" or "or"."""

    by: Literal["not", "and", "or"]
    parts: tuple[Claim, ...]
    wording: int = 0


Claim = Is | Joined


def truth(world: World, claim: Claim) -> bool | None:
    """Whether a claim is true; None where the encyclopedia does not say (Kleene's three-valued logic)."""
    if isinstance(claim, Is):
        value = world.follow(claim.subject, claim.path)
        return None if value is None else value == claim.value
    said = [truth(world, part) for part in claim.parts]
    if claim.by == "not":
        return None if said[0] is None else not said[0]
    deciding = claim.by == "or"
    return deciding if deciding in said else None if None in said else not deciding


def atoms(claim: Claim) -> Iterator[Is]:
    """The simple claims that a claim is made of."""
    if isinstance(claim, Is):
        yield claim
    else:
        for part in claim.parts:
            yield from atoms(part)


def needed(world: World, claim: Claim) -> list[Fact]:
    """The facts that one has to read to check a claim, as far as the encyclopedia gives them."""
    return [fact for atom in atoms(claim) for fact in world.on_the_way(atom.subject, atom.path)]


def say(world: World, claim: Claim, subject: str | None = None) -> str:
    """A claim as part of a sentence; `subject` is what its subject is called, the name if not set."""
    if isinstance(claim, Is):
        return _say_is(world, claim, subject, positive=True)
    if claim.by == "not":
        [part] = claim.parts
        assert isinstance(part, Is)  # only simple claims are denied
        return _say_is(world, part, subject, positive=False)
    joins: list[str] = world.schema.wordings["joins"][claim.by]
    a, b = claim.parts
    return joins[claim.wording % len(joins)].replace("{a}", say(world, a, subject)).replace("{b}", say(world, b))


def _say_is(world: World, claim: Is, subject: str | None, positive: bool) -> str:
    _, relation = world.last(claim.subject, claim.path)
    called = world.phrase(subject or claim.subject, claim.subject, claim.path[:-1])
    return relation.say(called, claim.value, positive, claim.wording)


def plain(claim: Claim) -> list[Any]:
    """A claim as plain data: ["is", subject, [relation, ...], value], ["not", claim], ["and", claim, claim]."""
    if isinstance(claim, Is):
        return ["is", claim.subject, list(claim.path), claim.value]
    return [claim.by, *(plain(part) for part in claim.parts)]
