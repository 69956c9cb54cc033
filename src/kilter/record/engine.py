"""The database behind the record: opened, read, written by one at a time, never changed; whichever database it is."""

from __future__ import annotations

import os
import re
import threading
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Protocol

from sqlalchemy import Connection, Engine, Table, event, inspect
from sqlalchemy.exc import DatabaseError, DisconnectionError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from kilter.errors import KilterError, RecordError, StorageError
from kilter.record.tables import metadata

BUSY_SECONDS = 60
_CHANGES = re.compile(
    rf"\s*((replace|insert\s+or|drop|alter|truncate)\b|(update|delete\s+from)\s+\W?({'|'.join(metadata.tables)})\b)",
    re.IGNORECASE,
)


class Backend(Protocol):
    """What one kind of database does in its own way."""

    engine: Engine
    where: str
    """How errors name this database; never with a password."""
    name: str
    """How `Record.verify` names what is wrong with the database as a whole."""
    reads: Mapping[str, Any]
    """Execution options of a connection that reads: one consistent view, without waiting for a writer."""
    writes: Mapping[str, Any]
    """Execution options of a connection that writes."""

    def prepare(self) -> None:
        """Whatever must be so before the first table is laid; `KilterError` when it cannot be."""

    def lock(self, connection: Connection) -> None:
        """Wait for the writers' lock, first in a transaction that writes; it ends with the transaction."""

    def guard(self, connection: Connection, tables: Iterable[Table]) -> None:
        """Make the database itself refuse to change what is in these new tables."""

    def problems(self, connection: Connection) -> list[str]:
        """What the database itself finds wrong, a missing guard included; empty when all is well."""

    def explain(self, error: DatabaseError) -> KilterError:
        """The database's error in Kilter's words: what is wrong, where, and how to mend it."""


class Database:
    """One open database. Safe for many threads, and for a child that was forked while it was open.

    Raises:
        RecordError: there is no record in it and `create` is false, or tables that are not the record's.
        StorageError: it cannot be reached, or not written.
    """

    def __init__(self, backend: Backend, *, create: bool = True) -> None:
        self.backend = backend
        self.engine = backend.engine
        self._turn = _Turn()
        event.listen(self.engine, "connect", _note_process)
        event.listen(self.engine, "checkout", _stay_in_process, insert=True)  # before anything touches the connection
        event.listen(self.engine, "before_cursor_execute", _append_only)
        with self._errors():
            self._lay_tables(create)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of the record, however long it is read and whoever writes meanwhile."""
        with self._errors(), self.engine.connect() as connection:
            connection = connection.execution_options(**self.backend.reads)
            with connection.begin():
                yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer can enter; all of it is kept, or nothing."""
        # The threads of one process take turns here, before they take a connection: SQLite's own waiting is a
        # polling in which the unlucky wait for seconds, and on a server each would hold a connection.
        with self._turn.taken(self.backend.where), self._errors(), self.engine.connect() as connection:
            connection = connection.execution_options(**self.backend.writes)
            with connection.begin():
                self.backend.lock(connection)
                yield connection

    def close(self) -> None:
        """Close the connections; it opens new ones when it is used again."""
        self.engine.dispose()

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except UnicodeDecodeError as error:  # the driver fails to decode even what SQLite says is wrong
            raise RecordError(
                f"The record at {self.backend.where} is damaged: it holds text that is no text ({error}). Restore "
                "it from a backup."
            ) from error
        except PoolTimeout as error:
            raise StorageError(
                f"The record at {self.backend.where} cannot be used: all connections of this process have been busy "
                f"for more than {BUSY_SECONDS} seconds. Let it do less at once, and run the command again."
            ) from error
        except DatabaseError as error:
            raise self.backend.explain(error) from error

    def _lay_tables(self, create: bool) -> None:
        present = set(inspect(self.engine).get_table_names()) & metadata.tables.keys()
        if present == metadata.tables.keys():
            return
        if not present and not create:
            raise RecordError(
                f"There is no record at {self.backend.where}: the database has none of its tables. Check that "
                "--database or the variable KILTER_DATABASE names the one that belongs to this workspace."
            )
        self.backend.prepare()
        with self.writing() as connection:  # under the writers' lock: another process may be laying them too
            found = inspect(connection)
            present = set(found.get_table_names()) & metadata.tables.keys()
            for name in sorted(present):
                self._expect_ours(name, {column["name"] for column in found.get_columns(name)})
            missing = [table for table in metadata.sorted_tables if table.name not in present]
            metadata.create_all(connection, missing, checkfirst=False)
            self.backend.guard(connection, missing)

    def _expect_ours(self, name: str, columns: set[str]) -> None:
        if columns != set(metadata.tables[name].columns.keys()):
            raise RecordError(
                f"{self.backend.where} has a table '{name}' that is not the record's. Give the record a database "
                "or a schema of its own. Nothing was changed."
            )


def busy(where: str, why: str) -> StorageError:
    """The error of a writer that waited in vain."""
    return StorageError(
        f"The record at {where} cannot be used ({why}). Another process or thread has been writing for more than "
        f"{BUSY_SECONDS} seconds: wait for it to end, or stop it, and run the command again."
    )


class _Turn:
    """A lock between the threads of one process; a forked child has its own, whoever held the parent's."""

    def __init__(self) -> None:
        self._lock, self._process = threading.Lock(), os.getpid()

    @contextmanager
    def taken(self, where: str) -> Iterator[None]:
        if self._process != os.getpid():
            self._lock, self._process = threading.Lock(), os.getpid()
        lock = self._lock
        if not lock.acquire(timeout=BUSY_SECONDS):
            raise busy(where, "the writers' lock is taken")
        try:
            yield
        finally:
            lock.release()


def _note_process(connection: Any, record: Any) -> None:
    record.info["process"] = os.getpid()


def _stay_in_process(connection: Any, record: Any, proxy: Any) -> None:
    # A connection must not be used by a forked child; refused here, the pool opens a new one.
    if record.info["process"] != os.getpid():
        record.dbapi_connection = proxy.dbapi_connection = None
        raise DisconnectionError("this connection belongs to the parent process")


def _append_only(_c: Any, _cursor: Any, statement: str, _p: Any, _x: Any, _many: bool) -> None:
    if _CHANGES.match(statement):
        raise RecordError(
            "The record is append-only, and this statement would change what is on it: "
            f"{' '.join(statement.split())[:80]}. Add a new row that supersedes the old one instead."
        )


def open_database(address: Path | str, *, create: bool = True) -> Database:
    """Open the SQLite file at a path, or the PostgreSQL database of an address; lay its tables if need be.

    Raises:
        SettingsError: the address is not one of PostgreSQL, or psycopg is not installed.
        RecordError: there is no record in it and `create` is false, or it is damaged.
        StorageError: it cannot be reached, or not written.
    """
    if isinstance(address, Path):
        from kilter.record.sqlite import SQLite

        return Database(SQLite(address), create=create)
    from kilter.record.postgresql import PostgreSQL

    return Database(PostgreSQL(address), create=create)
