"""How well a critic knows which passage is wrong, against one that points at random."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from kilter.errors import DataError
from kilter.stats import Estimate, paired_difference, rate
from kilter.testbeds import Case


class Suspects(Protocol):
    """A critic that says of each passage of each case how likely it is wrong."""

    def probabilities(self, cases: Sequence[Case]) -> list[list[float]]:
        """P(wrong) of each passage of each case."""
        ...


@dataclass(frozen=True)
class CriticQuality:
    """Figures over the cases that have a flaw and a right passage beside it.

    Attributes:
        named: share of cases in which the passage that the critic is surest of is a flawed one; of several it is as
            sure of, each counts its part.
        chance: what one passage at random gets on the same cases.
        gain: the difference, case by case.
        ranked: share of pairs of a flawed and a right passage of a case in which the flawed one is surer wrong;
            chance is one half.
    """

    named: Estimate
    chance: Estimate
    gain: Estimate
    ranked: Estimate


def critic_quality(critic: Suspects, cases: Sequence[Case]) -> CriticQuality:
    """What the critic names on the cases.

    Raises:
        DataError: no case has a flawed and a right passage.
    """
    mixed = [case for case in cases if is_mixed(case)]
    return quality_of(mixed, critic.probabilities(mixed) if mixed else [])


def quality_of(cases: Sequence[Case], chances: Sequence[Sequence[float]]) -> CriticQuality:
    """The same from P(wrong) of each passage of cases that all have a flawed and a right one.

    Raises:
        DataError: there are no cases.
    """
    if not cases:
        raise DataError("A critic is measured on cases with a flawed and a right passage, and there are none.")
    named = [_surest_flawed(case, each) for case, each in zip(cases, chances, strict=True)]
    random = [len(flawed_units(case)) / len(case.units) for case in cases]
    ranked = [ranked_rightly(case, each) for case, each in zip(cases, chances, strict=True)]
    return CriticQuality(rate(named), rate(random), paired_difference(random, named), rate(ranked))


def is_mixed(case: Case) -> bool:
    """Whether the case has a flawed passage and a right one."""
    return 0 < len(flawed_units(case)) < len(case.units)


def flawed_units(case: Case) -> set[int]:
    """Numbers of the passages that a flaw touches."""
    return {unit for flaw in case.flaws for unit in case.units_of(flaw)}


def ranked_rightly(case: Case, chances: Sequence[float]) -> float:
    """Share of pairs of a flawed and a right passage in which the flawed one is surer wrong; 0.5 without a pair."""
    bad = flawed_units(case)
    wins = [
        above(chances[one], chances[other]) for one in sorted(bad) for other in range(len(chances)) if other not in bad
    ]
    return sum(wins) / len(wins) if wins else 0.5


def above(one: float, other: float) -> float:
    """1 where one is more, 0 where it is less; a tie is one half."""
    return 0.5 if one == other else float(one > other)


def _surest_flawed(case: Case, chances: Sequence[float]) -> float:
    """Share of flawed passages among those that are surest wrong: one, as a rule."""
    surest = [unit for unit, chance in enumerate(chances) if chance == max(chances)]
    return len(flawed_units(case).intersection(surest)) / len(surest)
