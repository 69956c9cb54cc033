"""Reading rows: by id, by prefix, by column; never one query per row."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from itertools import islice, zip_longest
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Connection,
    Table,
    Text,
    bindparam,
    literal_column,
    select,
    union_all,
)

from kilter.errors import RecordError
from kilter.record.rows import ROW_TYPES, Row, Run
from kilter.record.tables import log

R = TypeVar("R", bound=Row)
CHUNK = 2000  # ids per query: below the limits on parameters of SQLite (32,766) and PostgreSQL (65,535)


def chunks(ids: Iterable[str]) -> Iterator[list[str]]:
    """Split ids, each once, into lists that fit into one query."""
    rest = iter(dict.fromkeys(ids))
    while chunk := list(islice(rest, CHUNK)):
        yield chunk


def known(connection: Connection, wanted: Mapping[type[Row], Iterable[str]]) -> dict[type[Row], set[str]]:
    """Which of these ids are on the record, by their kind of row; one query for all kinds, while there are few."""
    found: dict[type[Row], set[str]] = {row_type: set() for row_type in wanted}
    for pieces in zip_longest(*([(row_type, chunk) for chunk in chunks(ids)] for row_type, ids in wanted.items())):
        asked = {row_type.table.name: (row_type, chunk) for row_type, chunk in filter(None, pieces)}
        query = _among(tuple(row_type.table for row_type, _ in asked.values()))
        for name, row_id in connection.execute(query, {name: chunk for name, (_, chunk) in asked.items()}):
            found[asked[name][0]].add(row_id)
    return found


@cache
def _among(tables: tuple[Table, ...]) -> CompoundSelect[str, str]:
    """Ids that are in these tables, among those given by the tables' names; made once, since making it takes time."""
    return union_all(
        *(
            select(literal_column(f"'{table.name}'", Text), table.c.id).where(
                table.c.id.in_(bindparam(table.name, expanding=True))
            )
            for table in tables
        )
    )


def fetch(connection: Connection, row_type: type[R], ids: Iterable[str]) -> dict[str, R]:
    """The rows of these ids, in the order asked; `RecordError` names the first that is missing."""
    wanted = list(dict.fromkeys(ids))
    found: dict[str, R] = {}
    for chunk in chunks(wanted):
        rows = connection.execute(select(row_type.table).where(row_type.table.c.id.in_(chunk))).mappings()
        found.update((row["id"], _load(row_type, row)) for row in rows)
    missing = next((row_id for row_id in wanted if row_id not in found), None)
    if missing is not None:
        raise RecordError(
            f"{row_type.__name__} {missing} is not on this record. Check the id, and whether --workspace "
            "(and --database, if there is one) names the record where it was made."
        )
    return {row_id: found[row_id] for row_id in wanted}


def rows_where(
    connection: Connection, row_type: type[R], *conditions: ColumnElement[bool], newest: int | None = None
) -> list[R]:
    """All rows that meet the conditions, or the `newest` of them, in the order they were recorded."""
    query = select(row_type.table).join(log, log.c.row_id == row_type.table.c.id).where(*conditions)
    query = query.order_by(log.c.seq) if newest is None else query.order_by(log.c.seq.desc()).limit(newest)
    found = [_load(row_type, row) for row in connection.execute(query).mappings()]
    return found if newest is None else found[::-1]


def rows_among(connection: Connection, row_type: type[R], column: ColumnElement[str], ids: Iterable[str]) -> list[R]:
    """All rows whose `column` holds one of these ids, in the order of the ids and then of the record."""
    return [row for chunk in chunks(ids) for row in rows_where(connection, row_type, column.in_(chunk))]


def by_prefix(connection: Connection, prefix: str, types: Iterable[type[Row]] = ROW_TYPES) -> Row:
    """The one row whose id starts with `prefix` (4 characters or more)."""
    prefix = prefix.lower()
    if len(prefix) < 4 or set(prefix) - set("0123456789abcdef"):
        raise RecordError(
            f"'{prefix}' is no id: an id is written in the digits 0-9 and a-f, and at least its first four "
            "are needed. 'kilter record show' lists runs and models with theirs."
        )
    found: list[Row] = []
    for row_type in types:
        key = row_type.table.c.id
        query = select(row_type.table).where(key >= prefix, key < prefix + "g").order_by(key).limit(5)
        found += [_load(row_type, row) for row in connection.execute(query).mappings()]
    if not found:
        raise RecordError(
            f"Nothing on this record has an id that starts with '{prefix}'. Check the id, and whether "
            "--workspace (and --database, if there is one) names the record where it was made."
        )
    if len(found) > 1:
        names = ", ".join(f"{type(row).__name__.lower()} {row.id[:12]}" for row in found[:5])
        raise RecordError(f"'{prefix}' is the start of several ids: {names}. Give more of its characters.")
    return found[0]


def current_runs(connection: Connection, newest: int | None = None) -> list[Run]:
    """The last row of each run, in the order recorded."""
    superseded = select(Run.table.c.supersedes).where(Run.table.c.supersedes.is_not(None))
    return rows_where(connection, Run, Run.table.c.id.not_in(superseded), newest=newest)


def current_run(connection: Connection, run_id: str) -> Run:
    """The last row of the run that this row, its first or a later one, belongs to."""
    start = fetch(connection, Run, [run_id])[run_id].run_id
    table = Run.table
    return rows_where(connection, Run, (table.c.id == start) | (table.c.run == start), newest=1)[0]


def _load(row_type: type[R], stored: Mapping[Any, Any]) -> R:
    row = row_type.from_stored(stored)
    row.__dict__["id"] = stored["id"]  # spares hashing each row read; whether it is true, verify() tells
    return row
