"""What is SQLite's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from sqlalchemy import event

from kilter.errors import RecordError, StorageError
from kilter.record import Judgment, NewArtifact, Record, Workspace
from kilter.record.tables import metadata


@pytest.fixture
def record(tmp_path: Path) -> Iterator[Record]:
    with Workspace.open(tmp_path) as workspace:
        yield workspace.record


@pytest.mark.parametrize("table", ["artifacts", "bodies", "log"])
def test_a_row_cannot_be_replaced(record: Record, tmp_path: Path, table: str) -> None:
    record.add_artifacts([NewArtifact("comparison", {"n": n}) for n in range(3)])
    with (
        closing(sqlite3.connect(tmp_path / "kilter.db")) as connection,
        pytest.raises(sqlite3.IntegrityError, match="the record is append-only"),
    ):
        connection.execute(f"INSERT OR REPLACE INTO {table} SELECT * FROM {table}")


def test_every_transaction_is_durable_and_readers_do_not_wait(record: Record) -> None:
    with record._database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA synchronous").scalar() == 2  # FULL
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1


def test_a_file_that_is_no_database_is_said(tmp_path: Path) -> None:
    (tmp_path / "kilter.db").write_text("this is a text, and a long one too, of more than one hundred bytes" * 9)
    with pytest.raises(RecordError, match="file is not a database"):
        Workspace.open(tmp_path)


def test_a_full_database_records_nothing_and_goes_on_later(record: Record) -> None:
    target = record.add_artifact("comparison", {})

    def limit(connection, *_: object) -> None:  # type: ignore[no-untyped-def]
        connection.execute("PRAGMA max_page_count = 70")

    rows = [Judgment(target, "which?", "ann", "human", 1, seed=seed) for seed in range(5000)]
    event.listen(record._database.engine, "checkout", limit)
    with pytest.raises(StorageError, match="disk is full"):
        record.add_judgments(rows)
    event.remove(record._database.engine, "checkout", limit)
    record.close()
    assert record.counts()["judgments"] == 0
    record.add_judgments(rows[:10])
    assert record.verify().ok


def test_a_trigger_that_is_gone_is_damage(record: Record, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "kilter.db")) as connection:
        connection.execute("DROP TRIGGER judgments_append_only_update")
    (damage,) = record.verify().damages
    assert damage.where == "kilter.db"
    assert damage.what == "its trigger judgments_append_only_update, which keeps rows from being changed, is gone"


def test_there_are_as_many_guards_as_tables_need(record: Record, tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "kilter.db")) as connection:
        (count,) = connection.execute("SELECT count(*) FROM sqlite_master WHERE type = 'trigger'").fetchone()
    assert count == 3 * len(metadata.tables)
