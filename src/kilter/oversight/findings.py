"""What a judge found of what was planted: passages marked as wrong, against the truth."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import linear_sum_assignment

from kilter.testbeds import Case


@dataclass(frozen=True)
class Mark:
    """A passage [start, end) that a judge calls wrong, and how sure the judge is of that, in (0, 1]."""

    start: int
    end: int
    type: str | None = None
    confidence: float = 1.0


@dataclass(frozen=True)
class Findings:
    """Marks held against the planted flaws.

    Attributes:
        hits: for each flaw of the case the number of the mark that found it, or None.
        false: numbers of the marks that found none.
    """

    hits: tuple[int | None, ...]
    false: tuple[int, ...]

    @property
    def found(self) -> int:
        """How many planted flaws were found."""
        return sum(hit is not None for hit in self.hits)


def compare(case: Case, marks: Sequence[Mark]) -> Findings:
    """Match marks with flaws, each at most once, so that as many flaws as can be are found.

    A mark may find a flaw if they share a character, or lie in the same unit and the mark names the flaw's type: people
    mark a word, a clause or the sentence, and each is a find.
    """
    if not marks or not case.flaws:
        return Findings((None,) * len(case.flaws), tuple(range(len(marks))))
    worth = np.array(
        [[_closeness(case, flaw_number, mark) for mark in marks] for flaw_number in range(len(case.flaws))]
    )
    rows, columns = linear_sum_assignment(-worth)
    found = {int(row): int(column) for row, column in zip(rows, columns, strict=True) if worth[row, column] > 0}
    taken = set(found.values())
    return Findings(
        tuple(found.get(number) for number in range(len(case.flaws))),
        tuple(number for number in range(len(marks)) if number not in taken),
    )


def _closeness(case: Case, flaw_number: int, mark: Mark) -> float:
    """Above 0 if the mark may find the flaw; more for a better fit, and always less than another find is worth."""
    flaw = case.flaws[flaw_number]
    shared = min(flaw.end, mark.end) - max(flaw.start, mark.start)
    covered = max(flaw.end, mark.end) - min(flaw.start, mark.start)
    if shared > 0:
        return 1 + 0.5 * shared / covered / len(case.flaws)
    first, last = case.units[case.units_of(flaw)[0]][0], case.units[case.units_of(flaw)[-1]][1]
    same = mark.type is not None and mark.type == flaw.type and first <= mark.start < last
    return 1.0 if same else 0.0
