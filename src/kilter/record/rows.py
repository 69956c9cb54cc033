"""What is kept: one frozen dataclass per kind of row, whose id is the hash of its content."""

from __future__ import annotations

import dataclasses
import json
import operator
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, ClassVar, Literal, Self, get_args

from sqlalchemy import BigInteger, Boolean, Column, Double, Table

from kilter.errors import DataError
from kilter.record import tables
from kilter.record.canonical import canonical, sha256

Principal = Literal["human", "model", "program", "aggregate", "simulated"]


@dataclass(frozen=True)
class Row:
    """A row of the record; two rows of equal content are one row with one id."""

    table: ClassVar[Table]

    @cached_property
    def content(self) -> str:
        """The canonical JSON of all columns but the id; `DataError` when a value cannot be kept."""
        return canonical(self._values)

    @cached_property
    def id(self) -> str:
        """SHA-256 of `content`, in hexadecimal."""
        return sha256(self.content.encode("utf-8"))

    def stored(self) -> dict[str, Any]:
        """The row as the database keeps it: plain columns as they are, nested ones as canonical JSON."""
        nested = {name: canonical(self._values[name]) for name, plain in _columns(self.table) if plain is None}
        return {"id": self.id, **self._values, **nested}

    @classmethod
    def from_stored(cls, row: Mapping[Any, Any]) -> Self:
        """Read back what `stored` gave."""
        columns = _columns(cls.table)
        return cls(**{name: row[name] if plain else json.loads(row[name]) for name, plain in columns})

    def references(self) -> Iterator[tuple[type[Row], str]]:
        """The rows this one speaks of: they must be on the record before it."""
        yield from ()

    @cached_property
    def _values(self) -> dict[str, Any]:
        values = {}
        for name, plain in _columns(self.table):
            value = getattr(self, name)
            try:
                values[name] = plain(value) if plain else value
            except (TypeError, ValueError, OverflowError) as error:
                raise DataError(
                    f"{type(self).__name__}.{name} cannot be {value!r}: {error}. Nothing was recorded."
                ) from error
        return values


Plain = Callable[[Any], Any]


@cache
def _columns(table: Table) -> tuple[tuple[str, Plain | None], ...]:
    """Each column but the id, with what brings a value to the column's type; None for nested values."""
    return tuple((column.name, _plain(column)) for column in table.columns if column.name != "id")


def _plain(column: Column[Any]) -> Plain | None:
    if column.info.get("json"):
        return None
    converters: dict[type, Plain] = {Boolean: _truth, Double: _number, BigInteger: _integer}
    convert = next((to for kind, to in converters.items() if isinstance(column.type, kind)), _text)
    return (lambda value: None if value is None else convert(value)) if column.nullable else convert


# numpy's and other near types become the one type that every database gives back.


def _truth(value: Any) -> bool:
    if value not in (True, False):
        raise ValueError("it must be true or false")
    return bool(value)


def _number(value: Any) -> float:
    return float(value) + 0.0  # -0.0 becomes 0.0: SQLite does not keep that sign


def _integer(value: Any) -> int:
    number = operator.index(value)
    if not -(2**63) <= number < 2**63:
        raise ValueError("it does not fit into 64 bits")
    return number


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError("it must be text")
    if "\x00" in value:  # PostgreSQL has no such text
        raise ValueError("it holds a NUL character")
    return value


@dataclass(frozen=True)
class Artifact(Row):
    """Anything content-addressed: a prompt, comparison, model, dataset, report.

    `producer` names what made it. It is part of the id, so a name that is the same in every repetition
    ("train/sft") keeps ids reproducible; which run made it, that run's outputs tell.
    """

    table = tables.artifacts
    kind: str
    body_sha256: str
    producer: str | None = None
    parents: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        object.__setattr__(self, "parents", tuple(self.parents))

    def references(self) -> Iterator[tuple[type[Row], str]]:
        """Its parents."""
        yield from ((Artifact, parent) for parent in self.parents)


@dataclass(frozen=True)
class Judgment(Row):
    """What one judge said of one artifact.

    Submitting equal content again is the same judgment: a lost connection costs nothing. What tells two
    events apart is part of the content: `started` for people, `seed` for everything that samples.
    `started` is ISO 8601, or None where time has no meaning, so that simulations are reproducible.
    """

    table = tables.judgments
    target: str
    question: str
    judge: str
    principal: Principal
    value: Any
    probability: float | None = None
    spans: list[Any] | None = None
    side_shown: list[int] | None = None
    seed: int | None = None
    blinded: bool = True
    started: str | None = None
    active_ms: int | None = None
    supersedes: str | None = None

    def __post_init__(self) -> None:
        if self.principal not in get_args(Principal):
            raise DataError(
                f"'{self.principal}' cannot stand behind the judge '{self.judge}': a principal is one of "
                f"{', '.join(get_args(Principal))}."
            )

    def references(self) -> Iterator[tuple[type[Row], str]]:
        """Its target, and the judgment it corrects."""
        yield Artifact, self.target
        if self.supersedes:
            yield Judgment, self.supersedes


@dataclass(frozen=True)
class Exposure(Row):
    """Help that a judge was shown before a judgment; `accepted` is None where there was nothing to follow."""

    table = tables.exposures
    judgment: str
    assistance: str
    shown_at: str | None = None
    opened: bool = False
    accepted: bool | None = None

    def references(self) -> Iterator[tuple[type[Row], str]]:
        """The judgment, and the artifact that was shown."""
        yield Judgment, self.judgment
        yield Artifact, self.assistance


@dataclass(frozen=True)
class Run(Row):
    """One execution. Its start is one row, its end another that supersedes it and repeats its settings.

    `nonce` is drawn at the start, so that two runs are two even when all else is equal. `run_id` is the
    id of the start and names the run for good.
    """

    table = tables.runs
    name: str
    config: dict[str, Any]
    code: dict[str, Any]
    environment: dict[str, Any]
    nonce: str
    started: str
    seed: int | None = None
    inputs: tuple[str, ...] = ()
    status: str = "running"
    finished: str | None = None
    outputs: tuple[str, ...] = ()
    metrics: str | None = None
    flops: float | None = None
    seconds: float | None = None
    run: str | None = None
    supersedes: str | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "outputs", tuple(self.outputs))

    @property
    def run_id(self) -> str:
        """The id of the row that started this run."""
        return self.run or self.id

    def references(self) -> Iterator[tuple[type[Row], str]]:
        """Its inputs, outputs and metrics, and the row it supersedes."""
        for artifact in (*self.inputs, *self.outputs, *filter(None, [self.metrics])):
            yield Artifact, artifact
        if self.supersedes:
            yield Run, self.supersedes


@dataclass(frozen=True)
class Evidence(Row):
    """A measured value with its interval, the number of independent units, and how it was computed."""

    table = tables.evidence
    metric: str
    value: float
    low: float | None
    high: float | None
    n: int
    method: str
    run: str

    def references(self) -> Iterator[tuple[type[Row], str]]:
        """The run that measured it."""
        yield Run, self.run


ROW_TYPES: tuple[type[Row], ...] = (Artifact, Judgment, Exposure, Run, Evidence)


def as_dict(row: Row) -> dict[str, Any]:
    """The row as JSON for people and machines: its id and its fields."""
    return {"id": row.id, **{field.name: getattr(row, field.name) for field in dataclasses.fields(row)}}
