"""The record in PostgreSQL: one server, for a team."""

from __future__ import annotations

import select
from collections.abc import Iterable, Mapping
from typing import Any
from urllib.parse import unquote

from sqlalchemy import URL, Connection, Table, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DatabaseError, InvalidatePoolError

from kilter.errors import DataError, KilterError, RecordError, SettingsError, StorageError
from kilter.record import engine
from kilter.record.tables import metadata

CONNECTIONS = 20  # of one process at most: a server has a hundred by default, for everyone
_CONNECTION: Mapping[str, Any] = {
    "application_name": "kilter",
    "connect_timeout": 10,
    # A server that vanished without a word is noticed within a minute, not after the system's two hours.
    "keepalives_idle": 30,
    "keepalives_interval": 10,
    "keepalives_count": 3,
    "tcp_user_timeout": 60_000,
}
_LOCK_CLASS = 0x4B494C54  # "KILT": the advisory locks of other programs in the same database are others
_GUARD = """
CREATE OR REPLACE FUNCTION kilter_append_only() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
  RAISE EXCEPTION 'the record is append-only' USING ERRCODE = 'restrict_violation';
END $$;
"""
# Everything for the length of this transaction only, in one round trip, so that it holds behind a pooler too.
# - A writer that falls asleep in its transaction, as on a closed laptop, must not keep the others waiting.
# - A label or a signed root that someone was told is kept must survive a power cut, so synchronous_commit must not
#   be off; on and the settings that also wait for standbys are left as the server has them.
# - The lock comes last. At READ COMMITTED each statement sees what was committed before it began, so the statements
#   after this one see all that earlier holders of the lock have written.
_TAKE_LOCK = text("""
SELECT set_config('lock_timeout', :milliseconds, true),
       set_config('idle_in_transaction_session_timeout', :milliseconds, true),
       set_config('synchronous_commit', CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
                                        ELSE current_setting('synchronous_commit') END, true),
       pg_advisory_xact_lock(:lock_class, hashtext(coalesce(current_schema(), '')))
""")
_TRIGGERS = text("""
SELECT relname, tgname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
WHERE relnamespace = current_schema()::regnamespace AND tgenabled = 'A'
""")


class PostgreSQL:
    """The database at an address such as `postgresql://user@host/name`; the tables are in its current schema.

    Raises:
        SettingsError: it is no such address, or psycopg is not installed.
    """

    name = "the database"
    reads: Mapping[str, Any] = {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    writes: Mapping[str, Any] = {"isolation_level": "READ COMMITTED"}

    def __init__(self, address: str) -> None:
        url = read_address(address)
        self.where = shown(url)
        arguments = {name: value for name, value in _CONNECTION.items() if name not in url.query}
        try:
            self.engine = create_engine(
                url, connect_args={**arguments, "client_encoding": "utf8"}, use_native_hstore=False,
                pool_size=5, max_overflow=CONNECTIONS - 5, pool_timeout=engine.BUSY_SECONDS,
            )  # fmt: skip
        except ArgumentError:
            raise SettingsError(f"The address of the database cannot be read. {_FORM}") from None
        except ImportError:
            raise SettingsError(
                f"The record at {self.where} needs psycopg, which is not installed. Install it with "
                "pip install 'kilter[postgres]', and run the command again."
            ) from None
        event.listen(self.engine, "checkout", _expect_alive)
        event.listen(self.engine, "checkin", _forget_read_only)

    def prepare(self) -> None:
        """Refuse a database that cannot hold every text."""
        with self.engine.connect() as connection:
            encoding = connection.exec_driver_sql("SHOW server_encoding").scalar_one()
        if encoding != "UTF8":
            raise StorageError(
                f"The database {self.where} keeps text as {encoding}, which does not hold all of Unicode. Make one "
                "that does: createdb --encoding=UTF8 --template=template0 NAME."
            )

    def lock(self, connection: Connection) -> None:
        """One writer at a time, so that the log's numbers have no gap and none is given twice."""
        milliseconds = str(max(1, round(engine.BUSY_SECONDS * 1000)))
        connection.execute(_TAKE_LOCK, {"milliseconds": milliseconds, "lock_class": _LOCK_CLASS})

    def guard(self, connection: Connection, tables: Iterable[Table]) -> None:
        """A trigger that refuses every change of stored rows, also where replication switches others off."""
        triggers = [
            f"CREATE TRIGGER {_guard_name(table)} BEFORE UPDATE OR DELETE OR TRUNCATE ON {table.name} "
            "FOR EACH STATEMENT EXECUTE FUNCTION kilter_append_only();"
            f"ALTER TABLE {table.name} ENABLE ALWAYS TRIGGER {_guard_name(table)};"
            for table in tables
        ]
        connection.exec_driver_sql("".join([_GUARD, *triggers]))

    def problems(self, connection: Connection) -> list[str]:
        """Triggers that are gone or switched off; damage of its files the server reports when they are read."""
        there = {(table, trigger) for table, trigger in connection.execute(_TRIGGERS)}
        return [
            f"the trigger {_guard_name(table)}, which keeps rows from being changed, is gone or switched off"
            for table in metadata.sorted_tables
            if (table.name, _guard_name(table)) not in there
        ]

    def explain(self, error: DatabaseError) -> KilterError:
        """By the server's codes; where there was no connection, by what the driver says."""
        code = getattr(error.orig, "sqlstate", None) or ""
        said = " ".join(str(error.orig).split())
        problem = f"The record at {self.where} cannot be used ({said})."
        if code == "55P03":
            return engine.busy(self.where, said)
        for codes, kind, remedy in _REMEDIES:
            if code.startswith(codes):
                return kind(f"{problem} {remedy}")
        if not code:
            kind, remedy = _without_code(said)
            return kind(f"{problem} {remedy}")
        return RecordError(
            f"{problem} Run 'kilter record verify' to see what is damaged, and restore the database from a backup if "
            "it cannot be read at all."
        )


def read_address(address: str) -> URL:
    """The parts of `postgresql://USER:PASSWORD@HOST:PORT/NAME`; what is left out libpq finds, in ~/.pgpass for one.

    Raises:
        SettingsError: it is something else. The message shows nothing of it, since a password may be anywhere in it.
    """
    try:
        url = make_url(address)
    except (ArgumentError, ValueError):
        raise SettingsError(f"The address of the database cannot be read. {_FORM}") from None
    if url.drivername not in ("postgresql", "postgres", "postgresql+psycopg"):
        raise SettingsError(
            f"The address of the database is not one of PostgreSQL. {_FORM} Without it the record is a SQLite file in "
            "the workspace."
        )
    if "@" in f"{url.host}{url.database}":
        raise SettingsError(f"The address of the database has more than one @. {_FORM}")
    if not url.database and not {"dbname", "service"} & url.query.keys():
        raise SettingsError(f"The address of the database does not name one. {_FORM}")
    host = unquote(url.host) if url.host else None  # libpq's way to write the folder of a socket
    return url.set(drivername="postgresql+psycopg", host=host)


def shown(url: URL) -> str:
    """The address without password and options."""
    user = f"{url.username}@" if url.username else ""
    port = f":{url.port}" if url.port else ""
    return f"postgresql://{user}{url.host or ''}{port}/{url.database or ''}"


_FORM = (
    "Give --database, or the variable KILTER_DATABASE, in the form postgresql://USER:PASSWORD@HOST/NAME; in a "
    "password, @ is written %40, / %2F and % %25."
)
_PERMISSION = (
    "This user may not do that: let a user who may create tables open the workspace once, and grant this one at least "
    "SELECT and INSERT on all of them."
)
_LOST = (
    "The connection to the server was lost: run the command again when the server is there. What was on the record "
    "before is whole, nothing was written by halves, and what is added twice is there once."
)
_REMEDIES: tuple[tuple[tuple[str, ...], type[KilterError], str], ...] = (
    (
        ("53100",),
        StorageError,
        "The server's disk is full: free some space there and run the command again. What was on the record before is "
        "whole, and nothing was written by halves.",
    ),
    (
        ("25006",),
        StorageError,
        "The server lets it only be read, as a standby does: name the server that is written to.",
    ),
    (("42501",), StorageError, _PERMISSION),
    (("3F000",), StorageError, "The schema is not there: create it, or name another one in the address."),
    (("53",), StorageError, "The server is short of memory or connections: try again later, or give it more."),
    (("58", "F0"), StorageError, "The server's disk or files fail: look into its log."),
    (("57014",), StorageError, "The server ended what took it too long: let it have a longer statement_timeout."),
    (("08", "57", "25P03"), StorageError, _LOST),
    (("23001",), RecordError, "The record is append-only: add a new row that supersedes the old one."),
    (("54000",), DataError, "A kind or a judge's name can have about 2,000 bytes in PostgreSQL: shorten it."),
    (("22",), DataError, "PostgreSQL cannot keep such a value. Nothing was recorded."),
)
# The driver gives no code when there is no connection; a server that speaks another language gets the last one.
_WITHOUT_CODE: tuple[tuple[tuple[str, ...], type[KilterError], str], ...] = (
    (
        ("too many", "remaining connection"),
        StorageError,
        "Wait until others have ended, or give the server more connections.",
    ),
    (
        ("password", "authentication", "pg_hba", "role "),
        StorageError,
        "The server does not let this user in: check user and password. A password may also stand in ~/.pgpass.",
    ),
    (
        ("database ",),
        StorageError,
        "Check the name, or create it on the server: createdb --encoding=UTF8 --template=template0 NAME.",
    ),
    (
        ("starting up", "shutting down", "recovery"),
        StorageError,
        "Wait until the server is up, and run the command again.",
    ),
    (("closed the connection", "terminat", "lost", "SSL SYSCALL", "connection is closed"), StorageError, _LOST),
    (("invalid connection option",), SettingsError, "Take that option out of the address of the database."),
    (("NUL",), DataError, "PostgreSQL has no text with a NUL character."),
)
_UNREACHED = (
    "Check that the server runs, that this machine reaches it, and the address in --database or KILTER_DATABASE."
)


def _without_code(said: str) -> tuple[type[KilterError], str]:
    for words, kind, remedy in _WITHOUT_CODE:
        if any(word in said for word in words):
            return kind, remedy
    return StorageError, _UNREACHED


def _guard_name(table: Table) -> str:
    return f"{table.name}_append_only"


def _forget_read_only(connection: Any, record: Any) -> None:
    # SQLAlchemy leaves a connection that has read at "read write", which would overrule what the server has by default.
    if connection is not None and not connection.closed:
        connection.read_only = None


def _expect_alive(connection: Any, record: Any, proxy: Any) -> None:
    # A server that was restarted has said goodbye on the idle connections. Looking for that costs no round trip, and
    # the pool opens new ones. The pool's own ping would come before the check that the connection is this process's.
    from psycopg import OperationalError

    wire, poll = connection.pgconn, select.poll()
    try:
        poll.register(wire.socket, select.POLLIN)
        while poll.poll(0):
            wire.consume_input()
    except OperationalError as error:
        raise InvalidatePoolError("the server has closed this connection") from error
