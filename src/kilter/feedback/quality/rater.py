"""One rater: pace, accuracy, agreement with the others, habits, change over time."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from dataclasses import dataclass
from typing import Any

from kilter.errors import DataError
from kilter.feedback.quality.pace import Pace
from kilter.stats import Drift, Estimate, Finding


@dataclass(frozen=True)
class Change:
    """A rater's second half against the first, or None and why it cannot be had."""

    drift: Drift | None
    reason: str | None = None

    @classmethod
    def of(cls, measure: Callable[[], Drift]) -> Change:
        """What `measure` returns, or the reason of its refusal."""
        try:
            return cls(measure())
        except DataError as refusal:
            return cls(None, str(refusal))

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"refused": self.reason} if self.drift is None else self.drift.as_dict()


@dataclass(frozen=True)
class Confusion:
    """What a rater says of each true value, by Dawid and Skene's model.

    Attributes:
        matrix: for each of `values` as the truth, the probability of each of them as the answer; `low`, `high`: its
            95 % bounds.
        seen: expected number of things of each true value that the rater judged.
        accuracy: estimated probability of the true value.
    """

    question: str
    aspect: str
    values: tuple[Hashable, ...]
    matrix: tuple[tuple[float, ...], ...]
    low: tuple[tuple[float, ...], ...]
    high: tuple[tuple[float, ...], ...]
    seen: tuple[float, ...]
    accuracy: Estimate

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {**vars(self), "accuracy": self.accuracy.as_dict()}


@dataclass(frozen=True)
class RaterQuality:
    """One rater.

    Attributes:
        judge: the name on the record.
        items, judgments: of work; `gold_items` beside.
        first, last: when the first and the last was submitted, in seconds since 1970.
        gold: accuracy on gold items; an item with several questions counts by the share answered right.
        others: share of the other raters' answers that are the same, averaged over items.
        leniency: grades above the others' mean, by aspect.
        position: share of choices that fell on the first place.
        gold_change, others_change, time_change: second half against first.
        skipped, flagged: shares of the items that the rater saw.
        confusion: by aspect. `ability`: GLAD's, by aspect.
        notes: what to look at, in words.
    """

    judge: str
    simulated: bool
    items: int
    judgments: int
    gold_items: int
    first: float
    last: float
    pace: Pace
    gold: Finding
    others: Finding
    leniency: dict[str, Finding]
    position: Finding
    gold_change: Change
    others_change: Change
    time_change: Change
    skipped: Estimate
    flagged: Estimate
    confusion: tuple[Confusion, ...]
    ability: dict[str, Estimate]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        plain = ("judge", "simulated", "items", "judgments", "gold_items", "first", "last")
        parts = (
            "pace", "gold", "others", "position", "gold_change", "others_change", "time_change", "skipped", "flagged",
        )  # fmt: skip
        return {
            **{name: getattr(self, name) for name in plain},
            **{name: getattr(self, name).as_dict() for name in parts},
            "leniency": {name: one.as_dict() for name, one in self.leniency.items()},
            "confusion": [one.as_dict() for one in self.confusion],
            "ability": {name: one.as_dict() for name, one in self.ability.items()},
            "notes": list(self.notes),
        }
