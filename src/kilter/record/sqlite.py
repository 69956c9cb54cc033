"""The record in SQLite: one file, for one machine."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Table, create_engine, event
from sqlalchemy.exc import DatabaseError

from kilter.errors import KilterError, RecordError, StorageError
from kilter.record import engine
from kilter.record.tables import metadata


class SQLite:
    """The file at `path`. Writers wait for one another, readers for nobody (WAL)."""

    name = "kilter.db"
    reads: Mapping[str, Any] = {}
    writes: Mapping[str, Any] = {"kilter_writes": True}

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        # isolation_level None: the driver must not open transactions of its own, see _begin.
        # max_overflow -1: a reader must not wait for other readers to give their connections back.
        options = {"timeout": engine.BUSY_SECONDS, "isolation_level": None}
        url = URL.create("sqlite", database=self.where)
        self.engine = create_engine(url, connect_args=options, max_overflow=-1)
        event.listen(self.engine, "connect", _configure)
        event.listen(self.engine, "begin", _begin)

    def prepare(self) -> None:
        """Switch to the write-ahead log, with which readers never wait for the writer."""
        # The one step where SQLite does not wait for others by itself.
        connection = self.engine.raw_connection()
        deadline = time.monotonic() + engine.BUSY_SECONDS
        try:
            while True:
                try:
                    connection.cursor().execute("PRAGMA journal_mode = WAL")
                    return
                except sqlite3.OperationalError as error:
                    if "locked" not in str(error) or time.monotonic() > deadline:
                        raise
                    time.sleep(0.02)
        finally:
            connection.close()

    def lock(self, connection: Connection) -> None:
        """Nothing more to do: the transaction began with the lock, see _begin."""

    def guard(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Triggers that refuse every change of a stored row, INSERT OR REPLACE included."""
        for table in tables:
            for name, statement in _guards(table).items():
                connection.exec_driver_sql(f"CREATE TRIGGER {name} {statement}")

    def problems(self, connection: Connection) -> list[str]:
        """What SQLite finds wrong with its file, and triggers that are gone."""
        found = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
        query = "SELECT name FROM sqlite_master WHERE type = 'trigger'"
        triggers = set(connection.exec_driver_sql(query).scalars())
        guards = [name for table in metadata.sorted_tables for name in _guards(table)]
        gone = [f"its trigger {name}, which keeps rows from being changed, is gone" for name in guards]
        return [str(problem) for problem in found if problem != "ok"] + [
            problem for name, problem in zip(guards, gone, strict=True) if name not in triggers
        ]

    def explain(self, error: DatabaseError) -> KilterError:
        """By SQLite's names of its errors."""
        code = str(getattr(error.orig, "sqlite_errorname", ""))
        problem = f"The record at {self.where} cannot be used ({error.orig})."
        if code.startswith("SQLITE_FULL"):
            return StorageError(
                f"{problem} The disk is full: free some space and run the command again. What was on the "
                "record before is whole, and nothing was written by halves."
            )
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            return StorageError(
                f"{problem} The folder is not writable: change its permissions or choose another one with --workspace."
            )
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            return engine.busy(self.where, str(error.orig))
        if code.startswith("SQLITE_IOERR"):
            return StorageError(f"{problem} The disk fails to read or write: check it.")
        return RecordError(
            f"{problem} Run 'kilter record verify' to see what is damaged, and restore the workspace from "
            "a backup if it cannot be opened at all."
        )


def _configure(connection: sqlite3.Connection, record: Any) -> None:
    # FULL, not NORMAL: a label or a signed root that someone was told is kept must survive a power cut.
    # It costs one fsync per transaction, and rows come in batches.
    for pragma in ("foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # Writers take the lock before they read the log's size, so that no sequence number is given twice.
    writes = connection.get_execution_options().get("kilter_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _guards(table: Table) -> dict[str, str]:
    clash = " OR ".join(f"{c.name} = NEW.{c.name}" for c in table.columns if c.primary_key or c.unique)
    conditions = {"UPDATE": "", "DELETE": "", "INSERT": f"WHEN EXISTS (SELECT 1 FROM {table.name} WHERE {clash})"}
    return {
        f"{table.name}_append_only_{verb.lower()}": (
            f"BEFORE {verb} ON {table.name} {condition} BEGIN SELECT RAISE(ABORT, 'the record is append-only'); END"
        )
        for verb, condition in conditions.items()
    }
