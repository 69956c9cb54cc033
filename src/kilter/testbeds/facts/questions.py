"""Questions about a world with known answers: to ask a model, a weak judge, debaters, or a lie detector's subject."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.facts.articles import Fact, View, opened
from kilter.testbeds.facts.claim import Claim, Is, Joined, needed, plain, say, truth
from kilter.testbeds.facts.values import wrong_value
from kilter.testbeds.facts.world import World

UNKNOWN = "The encyclopedia does not say."
STATEMENTS = ("true", "false", "negated", "conjunction", "disjunction")
_TRIES = 300  # draws of a thing until one allows a question of the kind


@dataclass(frozen=True)
class Question:
    """Something with one right answer.

    Attributes:
        text: a question, or a statement that is true or false.
        answer: the right one of `options`.
        options: two or more answers, in random order; ("true", "false") for statements. () where a source gives none.
        kind: "true", "false", "negated", "conjunction", "disjunction" (statements), "value", "multi_hop" or
            "unanswerable" (questions); for loaded data the name of the file or the category.
        evidence: the facts that answer it, as (thing, relation); for what is unanswerable, the one that is not given.
        hops: facts that must be joined to answer it.
        about: the thing whose article comes first.
        claim: a statement's meaning as plain data, () for a question.
    """

    text: str
    answer: str
    options: tuple[str, ...]
    kind: str
    evidence: tuple[Fact, ...] = ()
    hops: int = 1
    about: str = ""
    claim: tuple[Any, ...] = ()

    def suffices(self, view: View) -> bool:
        """Whether somebody who reads only this view can know the answer.

        That the encyclopedia does not say something shows only in an article without gaps.
        """
        if self.kind == "unanswerable":
            return all(name in view.whole for name, _ in self.evidence)
        return view.states(self.evidence)


def questions(
    world: World,
    n: int,
    seed: int,
    *,
    kinds: tuple[str, ...] | None = None,
    hops: int = 2,
    options: int = 4,
    difficulty: float = 0.5,
) -> list[Question]:
    """`n` different questions, of each kind in turn; a longer list begins with the shorter one.

    Args:
        world: what they are about.
        n: how many.
        seed: which.
        kinds: of `KINDS`; all if not set. "true" is a true statement, "false" one with a wrong value; "negated",
            "conjunction" and "disjunction" are true half of the time.
        hops: facts to join for a "multi_hop" question, 2 to 4.
        options: answers to choose from in questions, 2 or more, fewer where a kind has few values; one of them is
            always that the encyclopedia does not say, which is right for what is unanswerable.
        difficulty: from 0 to 1: how near wrong values lie to the right one.

    Raises `DataError` for settings out of range, and where the world does not allow so many different questions.
    """
    kinds = KINDS if kinds is None else kinds
    _check(kinds, n, hops, options, difficulty)
    asker = _Asker(world, random.Random(f"questions/{seed}"), hops, options, difficulty)
    found: dict[str, Question] = {}
    for _ in range(20 * n + _TRIES):
        if len(found) >= n:
            break
        question = _MAKERS[kinds[len(found) % len(kinds)]](asker)
        found.setdefault(question.text, question)
    if len(found) < n:
        raise DataError(f"A world of {len(world.things)} articles has no {n:,} different questions; grow a larger one.")
    return list(found.values())


def _check(kinds: tuple[str, ...], n: int, hops: int, options: int, difficulty: float) -> None:
    unknown = [kind for kind in kinds if kind not in _MAKERS]
    if unknown or not kinds:
        raise DataError(
            f"There are no questions of the kind {', '.join(unknown) or '()'}; known are {', '.join(KINDS)}."
        )
    for name, value, low, high in (("n", n, 0, 10**6), ("hops", hops, 2, 4), ("options", options, 2, 20)):
        if not low <= value <= high:
            raise DataError(f"{name} of the questions lies between {low} and {high:,}, not at {value:,}.")
    if not 0 <= difficulty <= 1:
        raise DataError(f"difficulty lies between 0 and 1, not at {difficulty}.")


@dataclass
class _Asker:
    """Draws questions from a world."""

    world: World
    rng: random.Random
    hops: int
    options: int
    difficulty: float

    def fact(self, hops: int = 1, holds: bool = True) -> Is:
        """A claim about a random thing, true or with a wrong value."""
        world, rng = self.world, self.rng
        for _ in range(_TRIES):
            name = rng.choice([*world.things])
            paths = world.paths(name, hops)
            if not paths:
                continue
            path = rng.choice(paths)
            value = world.follow(name, path) if holds else wrong_value(world, name, path, self.difficulty, rng)
            if value is not None:
                return Is(name, path, value, rng.randrange(12))
        raise DataError(f"A world of {len(world.things)} articles has no question of {hops} hops; grow a larger one.")

    def statement(self, kind: str, claim: Claim) -> Question:
        """A statement to be called true or false."""
        answer = "true" if truth(self.world, claim) else "false"
        evidence = tuple(dict.fromkeys(needed(self.world, claim)))
        about = evidence[0][0]
        text = opened(say(self.world, claim))
        return Question(text, answer, ("true", "false"), kind, evidence, len(evidence), about, tuple(plain(claim)))

    def joined(self, kind: str, by: Any, first: bool, second: bool) -> Question:
        """Two claims joined, in random order."""
        parts = [self.fact(holds=first), self.fact(holds=second)]
        while (parts[0].subject, parts[0].path) == (parts[1].subject, parts[1].path):
            parts[1] = self.fact(holds=second)
        self.rng.shuffle(parts)
        return self.statement(kind, Joined(by, tuple(parts), self.rng.randrange(12)))

    def asked(self, kind: str, name: str, path: tuple[str, ...]) -> Question:
        """A question with options, for a value that may not be known."""
        world, rng = self.world, self.rng
        at, relation = world.last(name, path)
        right = world.facts[at].get(relation.name)
        options = [UNKNOWN] if right is None else [UNKNOWN, right]
        while len(options) < self.options:
            value = wrong_value(world, name, path, self.difficulty, rng, options)
            if value is None:
                break
            options.append(value)
        rng.shuffle(options)
        text = relation.ask.replace("{s}", world.phrase(name, name, path[:-1]))
        evidence = (*world.on_the_way(name, path[:-1]), (at, relation.name))
        return Question(text, right or UNKNOWN, tuple(options), kind, evidence, len(path), name)

    def known(self, kind: str, hops: int) -> Question:
        """A question with an answer."""
        fact = self.fact(hops)
        return self.asked(kind, fact.subject, fact.path)

    def unanswerable(self) -> Question:
        """A question that the encyclopedia answers for other things."""
        names = [name for name in self.world.things if self.world.silent(name)]
        name = self.rng.choice(names)
        return self.asked("unanswerable", name, (self.rng.choice(self.world.silent(name)).name,))


def _negated(asker: _Asker) -> Question:
    fact = asker.fact(holds=asker.rng.random() < 0.5)
    return asker.statement("negated", Joined("not", (fact,)))


def _conjunction(asker: _Asker) -> Question:
    return asker.joined("conjunction", "and", True, asker.rng.random() < 0.5)


def _disjunction(asker: _Asker) -> Question:
    return asker.joined("disjunction", "or", False, asker.rng.random() < 0.5)


_MAKERS: dict[str, Callable[[_Asker], Question]] = {
    "true": lambda asker: asker.statement("true", asker.fact()),
    "false": lambda asker: asker.statement("false", asker.fact(holds=False)),
    "negated": _negated,
    "conjunction": _conjunction,
    "disjunction": _disjunction,
    "value": lambda asker: asker.known("value", 1),
    "multi_hop": lambda asker: asker.known("multi_hop", asker.hops),
    "unanswerable": _Asker.unanswerable,
}
KINDS = tuple(_MAKERS)
