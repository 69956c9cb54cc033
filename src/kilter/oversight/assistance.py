"""Assistance: what a judge is shown beside the response, and the arms of an experiment that deal it out."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from kilter.errors import DataError
from kilter.testbeds import Case

Arm = Literal["none", "critiques", "placebo", "misleading", "oracle"]
ARMS: tuple[Arm, ...] = ("none", "critiques", "placebo", "misleading", "oracle")


@dataclass(frozen=True)
class Claim:
    """One thing that a critic says about a passage.

    Attributes:
        quote: the passage, as it stands in the response that the critic read.
        start, end: where it stands there.
        verdict: "wrong", or "fine" where the critic vouches for it.
        text: the reason.
        type: of the flaw, where the critic names one.
        probability: how sure it is, where it can say so.
    """

    quote: str
    start: int
    end: int
    verdict: Literal["wrong", "fine"]
    text: str
    type: str | None = None
    probability: float | None = None

    def applies_to(self, response: str) -> bool:
        """Whether the passage is in this response at all: anybody sees that at a glance."""
        return response[self.start : self.end] == self.quote


@dataclass(frozen=True)
class Assistance:
    """Claims of one critic about one case, in the order in which they are shown; none where there is no help.

    Attributes:
        readable: False where the critic answered what nobody can read, which counts as silence.
        said: that answer.
    """

    arm: Arm
    critic: str
    claims: tuple[Claim, ...] = ()
    readable: bool = True
    said: str = ""


NOTHING = Assistance("none", "")
CriticizeAll = Callable[[Sequence[Case], int], list[Assistance]]
"""Critiques of some cases by a seed."""


def claim_at(case: Case, start: int, end: int, verdict: Literal["wrong", "fine"], text: str, kind: str | None) -> Claim:
    """A claim about a passage of the case's response."""
    return Claim(case.response[start:end], start, end, verdict, text, kind)


def oracle(case: Case) -> Assistance:
    """Every planted flaw with its reference note, and nothing else."""
    claims = (claim_at(case, one.start, one.end, "wrong", one.note, one.type) for one in case.flaws)
    return Assistance("oracle", "oracle", tuple(claims))


def misleading(case: Case, seed: int) -> Assistance:
    """Vouches for every flawed passage, and calls as many right ones wrong (two, where nothing is flawed)."""
    rng = random.Random(f"misleading/{seed}/{case.response}")
    flawed = {unit for flaw in case.flaws for unit in case.units_of(flaw)}
    clean = [unit for number, unit in enumerate(case.units) if number not in flawed]
    fine = [claim_at(case, *case.units[unit], "fine", "This agrees with the source.", None) for unit in sorted(flawed)]
    wrong = [
        claim_at(case, *unit, "wrong", "The source says otherwise.", None)
        for unit in sorted(rng.sample(clean, min(len(clean), max(len(flawed), 2 if not flawed else 1))))
    ]
    claims = fine + wrong
    rng.shuffle(claims)
    return Assistance("misleading", "misleading", tuple(claims))


def placebos(critiques: Sequence[Assistance], seed: int) -> list[Assistance]:
    """Each case gets the claims made about another: help in its look, without what makes it help.

    Raises:
        DataError: there is one case only.
    """
    if len(critiques) < 2:
        raise DataError("The placebo shows critiques of other items, and there is one item only. Give it two or more.")
    order = list(range(len(critiques)))
    random.Random(f"placebo/{seed}").shuffle(order)
    given: list[Assistance] = [NOTHING] * len(critiques)
    for place, number in enumerate(order):
        other = critiques[order[(place + 1) % len(order)]]
        given[number] = Assistance("placebo", other.critic, other.claims)
    return given
