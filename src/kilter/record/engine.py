"""The database: how it is opened, locked and guarded, and its errors in plain words."""

from __future__ import annotations

import os
import re
import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, Engine, create_engine, event, inspect
from sqlalchemy.exc import DatabaseError, DisconnectionError

from kilter.errors import RecordError, StorageError
from kilter.record.tables import metadata

BUSY_SECONDS = 60
_CHANGES = re.compile(
    rf"\s*((replace|insert\s+or|drop|alter|truncate)\b|(update|delete\s+from)\s+\W?({'|'.join(metadata.tables)})\b)",
    re.IGNORECASE,
)


def open_engine(path: Path) -> Engine:
    """Open the SQLite database at `path`, and lay its tables if they are not there yet."""
    url = URL.create("sqlite", database=str(path))
    # isolation_level None: the driver must not open transactions of its own, see _begin.
    # max_overflow -1: threads that wait for the writers' lock must not use up the readers' connections.
    options = {"timeout": BUSY_SECONDS, "isolation_level": None}
    engine = create_engine(url, connect_args=options, max_overflow=-1)
    event.listen(engine, "connect", _configure)
    event.listen(engine, "checkout", _stay_in_process)
    event.listen(engine, "begin", _begin)
    event.listen(engine, "before_cursor_execute", _append_only)
    with database_errors(path):
        _lay_tables(engine)
    return engine


@contextmanager
def reading(engine: Engine) -> Iterator[Connection]:
    """One consistent view of the record, however long it is read and whoever writes meanwhile."""
    with database_errors(engine.url.database), engine.connect() as connection, connection.begin():
        yield connection


@contextmanager
def writing(engine: Engine) -> Iterator[Connection]:
    """A transaction that no other writer can enter; all of it is kept, or nothing."""
    with database_errors(engine.url.database), engine.connect() as connection:
        connection = connection.execution_options(kilter_writes=True)
        with connection.begin():
            yield connection


@contextmanager
def database_errors(where: Path | str | None) -> Iterator[None]:
    """Turn the database's errors into Kilter's, each with what to do about it."""
    try:
        yield
    except UnicodeDecodeError as error:  # the driver fails to decode even what SQLite says is wrong
        raise RecordError(
            f"The record at {where} is damaged: it holds text that is no text ({error}). Restore the "
            "workspace from a backup."
        ) from error
    except DatabaseError as error:
        code = str(getattr(error.orig, "sqlite_errorname", ""))
        problem = f"The record at {where} cannot be used ({error.orig})."
        if code.startswith("SQLITE_FULL"):
            raise StorageError(
                f"{problem} The disk is full: free some space and run the command again. What was on the "
                "record before is whole, and nothing was written by halves."
            ) from error
        if code.startswith(("SQLITE_READONLY", "SQLITE_CANTOPEN", "SQLITE_PERM")):
            raise StorageError(
                f"{problem} The folder is not writable: change its permissions or choose another one with --workspace."
            ) from error
        if code.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
            raise StorageError(
                f"{problem} Another process has been writing for more than {BUSY_SECONDS} seconds: wait for "
                "it to end, or stop it, and run the command again."
            ) from error
        if code.startswith("SQLITE_IOERR"):
            raise StorageError(f"{problem} The disk fails to read or write: check it.") from error
        raise RecordError(
            f"{problem} Run 'kilter record verify' to see what is damaged, and restore the workspace from "
            "a backup if it cannot be opened at all."
        ) from error


def integrity_problems(connection: Connection) -> list[str]:
    """What the database itself finds wrong with its file; empty when all is well."""
    found = connection.exec_driver_sql("PRAGMA integrity_check(10)").scalars().all()
    return [str(problem) for problem in found if problem != "ok"]


def _configure(connection: sqlite3.Connection, record: Any) -> None:
    record.info["process"] = os.getpid()
    # FULL, not NORMAL: a label or a signed root that someone was told is kept must survive a power cut.
    # It costs one fsync per transaction, and rows come in batches.
    for pragma in ("foreign_keys = ON", "synchronous = FULL"):
        connection.execute(f"PRAGMA {pragma}")


def _stay_in_process(connection: Any, record: Any, proxy: Any) -> None:
    # A SQLite connection must not be used by a forked child; refused here, the pool opens a new one.
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("this connection belongs to the parent process")


def _begin(connection: Connection) -> None:
    # Writers take the lock before they read the log's size, so that no sequence number is given twice.
    writes = connection.get_execution_options().get("kilter_writes")
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _append_only(_c: Any, _cursor: Any, statement: str, _p: Any, _x: Any, _many: bool) -> None:
    if _CHANGES.match(statement):
        raise RecordError(
            "The record is append-only, and this statement would change what is on it: "
            f"{' '.join(statement.split())[:80]}. Add a new row that supersedes the old one instead."
        )


def _lay_tables(engine: Engine) -> None:
    if set(metadata.tables) <= set(inspect(engine).get_table_names()):
        return
    _use_write_ahead_log(engine)
    with engine.connect() as connection:
        connection = connection.execution_options(kilter_writes=True)
        with connection.begin():  # under the writers' lock: another process may be laying them too
            metadata.create_all(connection)


def _use_write_ahead_log(engine: Engine) -> None:
    # Readers never wait for the writer. Switching the mode is the one step where SQLite does not wait
    # for others by itself.
    connection = engine.raw_connection()
    deadline = time.monotonic() + BUSY_SECONDS
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
