"""A critic of known quality: it is told the truth and says as much of it as it is set to."""

from __future__ import annotations

import random
from dataclasses import dataclass

from kilter.errors import SettingsError
from kilter.oversight.assistance import Assistance, Claim, claim_at
from kilter.testbeds import Case


@dataclass(frozen=True)
class ProgramCritic:
    """Names a share of the planted flaws, and some right passages as wrong.

    Attributes:
        finds: chance to name each planted flaw.
        invents: mean number of right units per case that it calls wrong; at most one per unit.

    Raises:
        SettingsError: `finds` lies outside of 0 to 1, or `invents` is negative.
    """

    finds: float
    invents: float

    def __post_init__(self) -> None:
        """Refuse what is no chance and no number of claims."""
        if not 0 <= self.finds <= 1 or self.invents < 0:
            raise SettingsError(
                f"A program critic finds a share from 0 to 1 and invents 0 or more claims, not {self.finds} and "
                f"{self.invents}."
            )

    @property
    def name(self) -> str:
        """As on the record."""
        return f"program/finds-{self.finds:g}-invents-{self.invents:g}"

    def criticize(self, case: Case, seed: int) -> Assistance:
        """Claims about a case, shuffled; the same for the same case and seed."""
        rng = random.Random(f"{self.name}/{seed}/{case.source}/{case.response}")
        claims: list[Claim] = []
        flawed: set[int] = set()
        for flaw in case.flaws:
            flawed.update(case.units_of(flaw))
            if rng.random() < self.finds:
                claims.append(claim_at(case, flaw.start, flaw.end, "wrong", flaw.note, flaw.type))
        clean = [unit for number, unit in enumerate(case.units) if number not in flawed]
        chance = min(1.0, self.invents / len(clean)) if clean else 0.0
        for start, end in clean:
            if rng.random() < chance:
                claims.append(claim_at(case, start, end, "wrong", "The source says otherwise.", None))
        rng.shuffle(claims)
        return Assistance("critiques", self.name, tuple(claims))
