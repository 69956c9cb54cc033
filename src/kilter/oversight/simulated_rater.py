"""Simulated raters: they prove protocols and statistics, never an effect on people.

A rater looks at some of the units first, alone. Then every rater takes a second look, of the same effort whatever the
help: without help at more units, with help at what it says, too. So help is never compared with more time.
"""

from __future__ import annotations

import random
from collections.abc import Mapping
from dataclasses import dataclass, field

from pydantic import Field

from kilter.oversight.assistance import Assistance, Claim
from kilter.oversight.findings import Mark
from kilter.oversight.sight import View, unchecked_units
from kilter.settings import Settings
from kilter.testbeds import Case


class RaterSettings(Settings):
    """How a simulated rater works."""

    first_look: float = Field(0.5, ge=0, le=1, description="Share of the units looked at alone, before any help.")
    second_look: float = Field(0.25, ge=0, le=1, description="Effort of the second look, as a share of the units.")
    sees: float = Field(0.6, ge=0, le=1, description="Chance to see a flaw in a unit that is looked at.")
    sees_type: dict[str, float] = Field(default_factory=dict, description="The same for some types of flaw.")
    imagines: float = Field(0.03, ge=0, le=1, description="Chance to mark a right unit that is looked at.")
    trust: float = Field(0.3, ge=0, le=1, description="Chance to follow a claim without checking it.")
    check_cost: float = Field(0.5, gt=0, description="Effort of checking a claim, in units.")
    check_right: float = Field(0.85, ge=0, le=1, description="Chance that a check comes out right.")
    fatigue: float = Field(0.0, ge=0, le=1, description="Share of the chance to see that is gone at the session's end.")


@dataclass
class Review:
    """What a rater said of one case.

    Attributes:
        alone: marks before any help was shown.
        marks: after it, or after the second look without help.
        followed: for each claim shown whether the rater went along; None where it was neither followed nor checked.
        effort: units' worth of looking; of models the answers that were asked for, of people seconds.
    """

    alone: list[Mark] = field(default_factory=list)
    marks: list[Mark] = field(default_factory=list)
    followed: list[bool | None] = field(default_factory=list)
    effort: float = 0.0


def review(
    settings: RaterSettings, case: Case, help_: Assistance, rng: random.Random, tired: float = 0.0,
    view: View = "expert",
) -> Review:  # fmt: skip
    """Let a rater judge a case; `tired` goes from 0 to 1 over a session.

    Of units that `view` is not enough to check, a rater sees no flaw; it may only guess, and so may it about claims.
    """
    looking = _Looking(settings, case, rng, 1 - settings.fatigue * tired, view)
    order = list(range(len(case.units)))
    rng.shuffle(order)
    first = round(settings.first_look * len(order))
    for unit in order[:first]:
        looking.look(unit)
    found = Review(alone=list(looking.marks.values()), effort=first)
    left = settings.second_look * len(order)
    for claim in help_.claims:
        went_along, cost = looking.weigh(claim, left)
        found.followed.append(went_along)
        left -= cost
        found.effort += cost
    for unit in order[first:]:
        if left < 1:
            break
        looking.look(unit)
        left -= 1
        found.effort += 1
    found.marks = list(looking.marks.values())
    return found


class _Looking:
    """One rater over one case; `marks` by unit."""

    def __init__(
        self, settings: RaterSettings, case: Case, rng: random.Random, alertness: float, view: View
    ) -> None:  # fmt: skip
        self._settings, self._case, self._rng = settings, case, rng
        self._flawed = _chances(settings, case, alertness)
        self._unchecked = unchecked_units(case, view)
        self.marks: dict[int, Mark] = {}

    def look(self, unit: int) -> None:
        """Look at a unit without help."""
        is_checked = unit not in self._unchecked
        for flaw, chance in self._flawed.get(unit, ()) if is_checked else ():
            if self._rng.random() < chance:
                one = self._case.flaws[flaw]
                self.marks[unit] = Mark(one.start, one.end, one.type, self._confidence(high=True))
                return
        if not (is_checked and unit in self._flawed) and self._rng.random() < self._settings.imagines:
            self.marks[unit] = Mark(*self._case.units[unit], None, self._confidence(high=False))

    def weigh(self, claim: Claim, left: float) -> tuple[bool | None, float]:
        """Follow a claim, check it as long as there is effort left, or pass it by; with the effort that it took."""
        if not claim.applies_to(self._case.response):
            return False, 0.0
        if self._rng.random() < self._settings.trust:
            self._take(claim)
            return True, 0.0
        if left < self._settings.check_cost:
            return None, 0.0
        right = claim.verdict == ("wrong" if self._is_flawed(claim) else "fine")
        chance = self._settings.check_right if self._can_check(claim) else 0.5
        if (self._rng.random() < chance) == right:
            self._take(claim)
            return True, self._settings.check_cost
        return False, self._settings.check_cost

    def _take(self, claim: Claim) -> None:
        units = self._touched(claim.start, claim.end)
        if claim.verdict == "fine":
            for unit in units:
                self.marks.pop(unit, None)
        elif units and units[0] not in self.marks:
            self.marks[units[0]] = Mark(claim.start, claim.end, claim.type, self._confidence(high=True))

    def _is_flawed(self, claim: Claim) -> bool:
        return any(unit in self._flawed for unit in self._touched(claim.start, claim.end))

    def _can_check(self, claim: Claim) -> bool:
        return self._unchecked.isdisjoint(self._touched(claim.start, claim.end))

    def _touched(self, start: int, end: int) -> list[int]:
        return [number for number, unit in enumerate(self._case.units) if unit[0] < end and start < unit[1]]

    def _confidence(self, *, high: bool) -> float:
        return 0.5 + 0.5 * self._rng.betavariate(3 if high else 1.5, 2)


def _chances(settings: RaterSettings, case: Case, alertness: float) -> Mapping[int, list[tuple[int, float]]]:
    """Of each flawed unit its flaws and the chances to see them."""
    chances: dict[int, list[tuple[int, float]]] = {}
    for number, flaw in enumerate(case.flaws):
        chance = alertness * settings.sees_type.get(flaw.type, settings.sees)
        for unit in case.units_of(flaw):
            chances.setdefault(unit, []).append((number, chance))
    return chances
