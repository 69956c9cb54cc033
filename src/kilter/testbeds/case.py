"""A case: something a judge looks over, with the flaws that were planted in it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kilter.errors import DataError

Split = Literal["train", "test"]
Severity = Literal["minor", "major"]


@dataclass(frozen=True)
class Flaw:
    """One planted flaw.

    Attributes:
        start, end: characters of the response, [start, end). Where something is missing they are the passage after
            which it should have been said.
        type: one of the testbed's kinds.
        severity: "major" where a reader would be misled about what matters.
        note: a reference critique: what is wrong and what is right, in one or two sentences.
        evidence: passages of the source, [start, end) each, that show it.
    """

    start: int
    end: int
    type: str
    severity: Severity
    note: str
    evidence: tuple[tuple[int, int], ...] = ()


@dataclass(frozen=True)
class Case:
    """A response to a task about a source, and everything that is wrong with it.

    Attributes:
        testbed: its name.
        structure: what it was built from. Train and test share no structure.
        split: "train" or "test".
        difficulty: from 0, easy, to 1.
        task: what was asked for.
        source: what the response is checked against; a judge may be shown less of it.
        response: what is judged.
        flaws: in the order of the response; none where it is right.
        correct: the response without its flaws.
        units: the passages of the response, [start, end) each, that a judge looks at one after another: sentences,
            lines, steps. They do not overlap, and each flaw touches at least one.
        hidden: what no judge may see: hidden tests, the facts behind the text.
    """

    testbed: str
    structure: str
    split: Split
    difficulty: float
    task: str
    source: str
    response: str
    flaws: tuple[Flaw, ...]
    correct: str
    units: tuple[tuple[int, int], ...]
    hidden: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Refuse passages outside of their text, and flaws that nobody who looks at every unit would meet."""
        end = 0
        for unit in self.units:
            if not end <= unit[0] < unit[1] <= len(self.response):
                raise DataError(f"{self.testbed}: the unit {unit} overlaps another or lies outside of the response.")
            end = unit[1]
        for flaw in self.flaws:
            if not 0 <= flaw.start < flaw.end <= len(self.response) or not self.units_of(flaw):
                raise DataError(f"{self.testbed}: the flaw at {flaw.start}-{flaw.end} lies in no unit of the response.")
            if any(not 0 <= first < last <= len(self.source) for first, last in flaw.evidence):
                raise DataError(f"{self.testbed}: evidence of '{flaw.note}' lies outside of the source.")
        if not self.flaws and self.response != self.correct:
            raise DataError(f"{self.testbed}: a response without flaws differs from the correct one.")

    def units_of(self, flaw: Flaw) -> list[int]:
        """Numbers of the units that a flaw touches."""
        return [i for i, (start, end) in enumerate(self.units) if start < flaw.end and flaw.start < end]
