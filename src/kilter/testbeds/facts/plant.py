"""Planting flaws: each turns a true claim of an answer into one that the encyclopedia refutes or does not support.

What is put in is drawn as what is taken out was: values of the same kind, as many denials taken away as put in, and
relations that the encyclopedia gives as often.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace

from kilter.testbeds.case import Severity
from kilter.testbeds.facts.answer import Statement
from kilter.testbeds.facts.claim import Claim, Is, Joined, atoms, say, truth
from kilter.testbeds.facts.values import wrong_value
from kilter.testbeds.facts.world import World


@dataclass(frozen=True)
class Planted:
    """What became wrong: the kind of flaw, how grave it is, a reference critique, and the one value that is wrong."""

    type: str
    severity: Severity
    note: str
    focus: str = ""


@dataclass
class Draft:
    """An answer on its way from correct to flawed."""

    world: World
    statements: list[Statement]
    difficulty: float
    rng: random.Random
    planted: dict[int, Planted]

    def clean(self, *forms: str) -> list[int]:
        """Statements of these forms without a flaw, in random order."""
        found = [i for i, one in enumerate(self.statements) if i not in self.planted and _form(one.claim) in forms]
        return self.rng.sample(found, len(found))

    def put(self, number: int, type: str, claim: Claim, right: Claim, **words: str) -> bool:
        """Replace a claim, and say what is wrong and what is right."""
        before = self.statements[number]
        minor = all(self.world.last(one.subject, one.path)[1].minor for one in atoms(before.claim))
        template = self.rng.choice(self.world.schema.wordings["note"][type])
        for name, text in {"right": say(self.world, right), **words}.items():
            template = template.replace(f"{{{name}}}", text)
        note = template[:1].upper() + template[1:]
        self.statements[number] = replace(before, claim=claim)
        self.planted[number] = Planted(type, "minor" if minor else "major", note, words.get("false", ""))
        return True

    def wrong(self, claim: Is) -> Is | None:
        """The same claim with a wrong value that no statement about this path has."""
        said = {
            one.value for each in self.statements for one in atoms(each.claim) if one.path == claim.path
        }  # a value that was denied or offered elsewhere would contradict itself
        value = wrong_value(self.world, claim.subject, claim.path, self.difficulty, self.rng, said)
        return None if value is None else replace(claim, value=value)


def _form(claim: Claim) -> str:
    if isinstance(claim, Joined):
        return claim.by
    return "plain" if len(claim.path) == 1 else "hop"


def _wrong_value(draft: Draft) -> bool:
    """Another value of the same kind, in a simple statement or at the end of several hops."""
    for number in draft.clean("plain", "hop"):
        claim = draft.statements[number].claim
        assert isinstance(claim, Is)
        wrong = draft.wrong(claim)
        if wrong is not None:
            return draft.put(number, "wrong_value", wrong, claim, true=claim.value, false=wrong.value)
    return False


def _swapped_relation(draft: Draft) -> bool:
    """The values of two relations of a thing change places, or one takes the place of another that is not told."""
    if draft.rng.random() < 0.5 and _confused(draft):
        return True
    for number in draft.clean("and"):
        claim = draft.statements[number].claim
        first, second = atoms(claim)
        swapped = (replace(first, value=second.value), replace(second, value=first.value))
        of = [draft.world.last(one.subject, one.path)[1].of for one in (first, second)]
        if of[0] == of[1] != "year" and all(truth(draft.world, one) is False for one in swapped):
            return draft.put(number, "swapped_relation", replace(_joined(claim), parts=swapped), claim)
    return _confused(draft)


def _confused(draft: Draft) -> bool:
    """In a simple statement, the value of another relation of the thing, of which nothing is said."""
    world = draft.world
    said = {one.path for each in draft.statements for one in atoms(each.claim)}
    for number in draft.clean("plain"):
        claim = draft.statements[number].claim
        assert isinstance(claim, Is)
        relation = world.relation(claim.subject, claim.path[0])
        others = [one for one in world.known(claim.subject) if one.of == relation.of and (one.name,) not in said]
        values = [world.facts[claim.subject][one.name] for one in others if relation.is_thing]
        values = [value for value in values if value != claim.value]
        if values:
            wrong = replace(claim, value=draft.rng.choice(values))
            return draft.put(number, "swapped_relation", wrong, claim, false=wrong.value)
    return False


def _joined(claim: Claim) -> Joined:
    assert isinstance(claim, Joined)
    return claim


def _negated(draft: Draft) -> bool:
    """A true statement is denied, or the denial of a false one taken away, each as often."""
    simple, denied = draft.clean("plain"), draft.clean("not")
    if not simple or not denied:
        return False
    if draft.rng.random() < 0.5:
        claim = draft.statements[simple[0]].claim
        return draft.put(simple[0], "negated", Joined("not", (claim,)), claim)
    [inner] = atoms(draft.statements[denied[0]].claim)
    right = replace(inner, value=draft.world.follow(inner.subject, inner.path) or "")
    return draft.put(denied[0], "negated", inner, right)


def _unsupported_claim(draft: Draft) -> bool:
    """In the place of something that the encyclopedia says, something on which it is silent."""
    world, rng = draft.world, draft.rng
    for number in draft.clean("plain"):
        claim = draft.statements[number].claim
        assert isinstance(claim, Is)
        silent = world.silent(claim.subject)
        if not silent or not world.relation(claim.subject, claim.path[0]).optional:
            continue
        relation = rng.choice(silent)
        value = wrong_value(world, claim.subject, (relation.name,), draft.difficulty, rng)
        if value is None:
            continue
        made_up = Is(claim.subject, (relation.name,), value, claim.wording)
        ask = relation.ask.replace("{s}", claim.subject)
        return draft.put(number, "unsupported_claim", made_up, claim, ask=ask)
    return False


def _wrong_conjunction(draft: Draft) -> bool:
    """One part of an "and" becomes false, or the true part of an "or"."""
    for number in draft.clean("and", "or"):
        claim = _joined(draft.statements[number].claim)
        parts = [part for part in claim.parts if isinstance(part, Is)]
        true = [i for i, part in enumerate(parts) if truth(draft.world, part)]
        spoiled = draft.rng.choice(true)
        right = parts[spoiled]
        wrong = draft.wrong(right)
        if wrong is not None:
            parts[spoiled] = wrong
            return draft.put(number, "wrong_conjunction", replace(claim, parts=tuple(parts)), right)
    return False


PLANTERS: dict[str, Callable[[Draft], bool]] = {
    "wrong_value": _wrong_value,
    "swapped_relation": _swapped_relation,
    "negated": _negated,
    "unsupported_claim": _unsupported_claim,
    "wrong_conjunction": _wrong_conjunction,
}
