"""What several raters said of the same items, as one table with holes."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import FloatArray, IntArray

MISSING = -1


@dataclass(frozen=True)
class Ratings:
    """Codes `[raters, items]` into `categories`, `MISSING` (-1) where a rater did not see an item.

    Categories are sorted, so that for numbers the codes keep their order.
    """

    raters: tuple[Hashable, ...]
    items: tuple[Hashable, ...]
    categories: tuple[Hashable, ...]
    codes: IntArray

    @classmethod
    def from_triples(cls, triples: Iterable[tuple[Hashable, Hashable, Hashable]]) -> Ratings:
        """From (rater, item, value), in any order.

        Raises `DataError` when there are none, or when a rater gave the same item two values.
        """
        raters: dict[Hashable, int] = {}
        items: dict[Hashable, int] = {}
        cells: dict[tuple[int, int], Hashable] = {}
        for rater, item, value in triples:
            cell = raters.setdefault(rater, len(raters)), items.setdefault(item, len(items))
            if cells.setdefault(cell, value) != value:
                raise DataError(
                    f"Rater '{rater}' judged item '{item}' twice with different answers ({cells[cell]!r}, "
                    f"{value!r}). Keep the judgment that supersedes the other."
                )
        if not cells:
            raise DataError("There are no ratings: agreement and aggregation need at least one judgment.")
        categories = _sorted(set(cells.values()))
        number = {category: code for code, category in enumerate(categories)}
        codes = np.full((len(raters), len(items)), MISSING, dtype=np.int64)
        for cell, value in cells.items():
            codes[cell] = number[value]
        return cls(tuple(raters), tuple(items), categories, codes)

    @classmethod
    def from_table(cls, table: Sequence[Sequence[Hashable | None]]) -> Ratings:
        """From rows of raters and columns of items, None where missing; both are numbered from 0."""
        return cls.from_triples(
            (rater, item, value)
            for rater, row in enumerate(table)
            for item, value in enumerate(row)
            if value is not None
        )

    def counts(self) -> FloatArray:
        """How many raters put each item into each category: `[items, categories]`."""
        _, item, said = self.triples()
        size = len(self.categories)
        counts = np.bincount(item * size + said, minlength=len(self.items) * size)
        return counts.reshape(len(self.items), size).astype(np.float64)

    def triples(self) -> tuple[IntArray, IntArray, IntArray]:
        """Rater, item and category of each rating, as numbers: three arrays `[ratings]`."""
        rater, item = np.nonzero(self.codes != MISSING)
        return rater, item, self.codes[rater, item]


def _sorted(values: set[Hashable]) -> tuple[Hashable, ...]:
    try:
        return tuple(sorted(values))  # type: ignore[type-var]  # values of mixed kinds are caught below
    except TypeError:
        return tuple(sorted(values, key=lambda value: (type(value).__name__, str(value))))
