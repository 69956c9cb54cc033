"""Where the rows of a test are, and the way to them past Kilter."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from postgresql_server import Server

from kilter.record.tables import metadata


class Place:
    """Where a test's rows are: `address` is None for SQLite, whose file lies in the workspace."""

    def __init__(self, server: Server | None) -> None:
        self._server = server
        self.address = self.another()

    def another(self) -> str | None:
        """One more empty place of the same kind."""
        return self._server.schema() if self._server else None

    @contextmanager
    def behind(self, root: Path) -> Iterator[Any]:
        """A connection past Kilter, with `execute`; each statement is kept at once."""
        if self.address is None:
            with closing(sqlite3.connect(root / "kilter.db", isolation_level=None)) as connection:
                yield connection
        else:
            import psycopg

            with psycopg.connect(self.address, autocommit=True) as connection:
                yield connection

    @contextmanager
    def unguarded(self, root: Path) -> Iterator[Any]:
        """The same without the triggers, as someone would work who knows them; they are put back."""
        with self.behind(root) as connection:
            if self.address is None:
                query = "SELECT name, sql FROM sqlite_master WHERE type = 'trigger'"
                triggers = connection.execute(query).fetchall()
                off, on = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
            else:
                off = [f"ALTER TABLE {name} DISABLE TRIGGER {name}_append_only" for name in metadata.tables]
                on = [f"ALTER TABLE {name} ENABLE ALWAYS TRIGGER {name}_append_only" for name in metadata.tables]
            for statement in off:
                connection.execute(statement)
            yield connection
            for statement in on:
                connection.execute(statement)
