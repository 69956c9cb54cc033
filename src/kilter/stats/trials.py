"""Trials: how much each rater found on each item, and with which help."""

from __future__ import annotations

from collections.abc import Hashable, Iterable
from dataclasses import dataclass

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import FloatArray, IntArray


@dataclass(frozen=True)
class Trials:
    """N trials of R raters on I items under A arms; the first arm is what the others are compared with.

    Attributes:
        counts: [N] what was found (flaws, say), at least 0.
        arms, raters, items: [N] numbers from 0 of who judged what with which help.
        names: of the arms, [A].
    """

    counts: FloatArray
    arms: IntArray
    raters: IntArray
    items: IntArray
    names: tuple[str, ...]

    @classmethod
    def from_rows(cls, rows: Iterable[tuple[Hashable, Hashable, str, float]], baseline: str) -> Trials:
        """From (rater, item, arm, count) of each trial.

        Raises:
            DataError: there is no trial of the baseline or of another arm, or a count is negative or no number.
        """
        listed = list(rows)
        names = (baseline, *sorted({arm for _, _, arm, _ in listed} - {baseline}))
        if len(names) < 2 or all(arm != baseline for _, _, arm, _ in listed):
            raise DataError(
                f"An effect is a comparison of arms, and there are trials of {', '.join(names[1:]) or 'none'} beside "
                f"{sum(arm == baseline for _, _, arm, _ in listed)} of the baseline '{baseline}'."
            )
        counts = np.array([count for *_, count in listed], np.float64)
        if not (np.isfinite(counts).all() and (counts >= 0).all()):
            raise DataError("A count of what was found is negative or not a number.")
        number = {name: place for place, name in enumerate(names)}
        return cls(
            counts, np.array([number[arm] for _, _, arm, _ in listed], np.int64),
            _codes([rater for rater, *_ in listed]), _codes([item for _, item, *_ in listed]), names,
        )  # fmt: skip

    def __len__(self) -> int:
        """N."""
        return len(self.counts)

    @property
    def sizes(self) -> tuple[int, int, int]:
        """A, R and I."""
        return len(self.names), int(self.raters.max()) + 1, int(self.items.max()) + 1

    def rates(self) -> FloatArray:
        """[A] mean count of each arm."""
        arms = len(self.names)
        rates: FloatArray = np.bincount(self.arms, self.counts, arms) / np.bincount(self.arms, minlength=arms)
        return rates

    def require_found(self) -> None:
        """Refuse arms in which nothing was found: their rate has no ratio to another.

        Raises:
            DataError: with their names.
        """
        empty = [name for name, rate in zip(self.names, self.rates(), strict=True) if rate == 0]
        if empty:
            raise DataError(
                f"In the arm {' and in '.join(empty)} nothing was found in any trial, so there is no ratio of rates. "
                "Give it more trials or easier items, or report the counts."
            )


def _codes(names: list[Hashable]) -> IntArray:
    known: dict[Hashable, int] = {}
    return np.array([known.setdefault(name, len(known)) for name in names], np.int64)
