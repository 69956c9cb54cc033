"""What readers share: the rows that were kept, and a count of those that were not, with the reason."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, overload

from kilter.errors import DataError
from kilter.feedback.rows import Rows

T = TypeVar("T")


class Skip(Exception):
    """A row that is in order but cannot be learned from; its text is the reason that is counted."""


class WrongColumns(DataError):
    """The source is in order, but its columns are none of those that a reader knows; another reader may."""


@dataclass
class Skipped:
    """Reasons with how many rows each left out, and where the first of them was."""

    counts: dict[str, int] = field(default_factory=dict)
    first: dict[str, str] = field(default_factory=dict)

    def add(self, reason: str, where: str) -> None:
        """Count one more row left out for `reason`."""
        self.counts[reason] = self.counts.get(reason, 0) + 1
        self.first.setdefault(reason, where)

    @property
    def total(self) -> int:
        """How many rows were left out."""
        return sum(self.counts.values())

    def words(self) -> str:
        """Every reason with its count and its first place, most frequent first."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return "; ".join(f"{count:,} {reason} (first: {self.first[reason]})" for reason, count in ordered)


@dataclass(frozen=True)
class Readings(Sequence[T], Generic[T]):
    """A sequence of what was read from one source; `skipped` says what was left out."""

    rows: list[T]
    source: str  # the file's or data set's name
    sha256: str  # of the file's bytes, or of the rows where there is no one file
    skipped: Skipped = field(default_factory=Skipped)

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> list[T]: ...
    def __getitem__(self, index: int | slice) -> T | list[T]:
        return self.rows[index]

    def __iter__(self) -> Iterator[T]:
        return iter(self.rows)

    def contents(self) -> str:
        """What was kept, counted in words."""
        return f"{len(self):,} rows"

    def summary(self) -> str:
        """What was read and what was left out, in one line."""
        kept = f"{self.source}: {self.contents()}"
        return f"{kept}; skipped {self.skipped.total:,}: {self.skipped.words()}" if self.skipped.total else kept


def collect(source: Rows, read_row: Callable[[dict[str, Any], str], T]) -> tuple[list[T], Skipped]:
    """Read every row with `read_row(row, where)`, counting those for which it raises `Skip`.

    Raises `DataError` when none is left.
    """
    kept: list[T] = []
    skipped = Skipped()
    for index, row in enumerate(source.rows):
        where = source.where(index)
        try:
            kept.append(read_row(row, where))
        except Skip as reason:
            skipped.add(str(reason), where)
    if not kept:
        raise DataError(
            f"None of the {skipped.total:,} rows of {source.source} can be learned from: {skipped.words()}. "
            f"Its columns are {', '.join(source.columns())}."
        )
    return kept, skipped


def column(row: dict[str, Any], name: str, where: str) -> Any:
    """The value of column `name`; raises `DataError`, naming `where`, when the row has none."""
    if row.get(name) is None:
        raise DataError(f"{where} has no '{name}'; it has {', '.join(row) or 'nothing'}.")
    return row[name]


def text_column(row: dict[str, Any], name: str, where: str) -> str:
    """The same for a column that must hold a text."""
    value = column(row, name, where)
    if not isinstance(value, str):
        raise DataError(f"{where}: '{name}' must be a text, not {value!r:.80}.")
    return value


def wrong_columns(source: Rows, wanted: str, example: str) -> WrongColumns:
    """The error for a source whose columns are none of those a reader knows."""
    return WrongColumns(
        f"{source.source} has the columns {', '.join(source.columns())}; wanted are {wanted}. "
        f"If they have other names there, map them: columns={{'{example}': 'its name there'}}, "
        f"in a command columns.{example}=NAME."
    )
