"""What holds on every database: one writer at a time, whole transactions, nothing changed, nothing lost."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from places import Place
from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects import postgresql
from sqlalchemy.schema import CreateTable

from kilter.errors import RecordError, StorageError
from kilter.record import Judgment, NewArtifact, Record, Workspace, engine
from kilter.record.tables import artifacts, log, metadata

WRITER = """
import sys
from kilter.record import Judgment, NewArtifact, Workspace

folder, name, rounds, size = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
record = Workspace.open(folder).record
for number in range(rounds):
    (shared,) = record.add_artifacts([NewArtifact("comparison", {"shared": number})])
    record.add_judgments(
        [Judgment(shared, "which?", name, "simulated", 1, seed=seed) for seed in range(size)]
    )
    print(number, flush=True)
"""
# Stops for ever in its second transaction, when the rows are inserted and logged and only the commit is left.
SLEEPER = """
import sys, time
from kilter.record import Workspace, log

record = Workspace.open(sys.argv[1]).record
record.add_artifact("comparison", {"kept": True})
append = log.append

def append_and_stop(connection, entries):
    append(connection, entries)
    print("written", flush=True)
    time.sleep(1000)

log.append = append_and_stop
record.add_artifact("comparison", {"kept": False})
"""


def start(script: str, *arguments: object) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", script, *map(str, arguments)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)


def kill(process: subprocess.Popen[str]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert process.stdout
    process.stdout.close()


@pytest.mark.parametrize("statement", ["UPDATE {table} SET {key} = {key}", "DELETE FROM {table}"])
@pytest.mark.parametrize("table", list(metadata.tables))
def test_the_database_itself_refuses_changes(workspace: Workspace, place: Place, table: str, statement: str) -> None:
    fill(workspace.record)
    key = metadata.tables[table].primary_key.columns[0].name
    with place.behind(workspace.root) as connection:
        before = connection.execute(f"SELECT * FROM {table} ORDER BY {key}").fetchall()
        assert before
        with pytest.raises(Exception, match="the record is append-only"):
            connection.execute(statement.format(table=table, key=key))
        assert connection.execute(f"SELECT * FROM {table} ORDER BY {key}").fetchall() == before


@pytest.mark.parametrize(
    "statement",
    [
        update(artifacts).values(kind="x"),
        delete(artifacts),
        text("  drop table artifacts"),
        text("replace into artifacts values (1)"),
        text("insert or ignore into artifacts values (1)"),
    ],
)
def test_the_library_refuses_changes_on_any_database(record: Record, statement) -> None:  # type: ignore[no-untyped-def]
    with (
        pytest.raises(RecordError, match="append-only"),
        record._database.writing() as connection,
    ):
        connection.execute(statement)


def test_the_schema_compiles_for_postgresql() -> None:
    for table in metadata.sorted_tables:
        ddl = str(CreateTable(table).compile(dialect=postgresql.dialect()))
        assert "DOUBLE PRECISION" in ddl or "FLOAT" not in ddl
        assert "JSON" not in ddl


def test_a_reader_sees_one_state_and_waits_for_no_writer(record: Record) -> None:
    with record._database.reading() as connection:
        assert connection.execute(select(func.count()).select_from(log)).scalar() == 0
        with ThreadPoolExecutor(1) as pool:
            pool.submit(fill, record).result(timeout=60)
        assert connection.execute(select(func.count()).select_from(log)).scalar() == 0
    size = record.size()
    assert size > 0
    with record._database.writing() as connection:
        connection.execute(log.insert(), {"seq": size, "table_name": "x", "row_id": "0" * 64, "subtree": "x"})
        with ThreadPoolExecutor(1) as pool:
            assert pool.submit(record.size).result(timeout=60) == size
        connection.rollback()
    assert record.size() == size


def test_several_processes_open_and_write_one_new_workspace_at_once(tmp_path: Path, place: Place) -> None:
    writers = [start(WRITER, tmp_path, f"rater-{number}", 15, 5) for number in range(4)]
    assert [process.wait(timeout=240) for process in writers] == [0] * 4
    with Workspace.open(tmp_path) as workspace:
        record = workspace.record
        assert record.counts()["artifacts"] == 15
        assert record.counts()["judgments"] == record.counts()["log"] - 15 == 4 * 15 * 5
        assert record.verify().ok  # which also finds every gap in the log's numbers
    for process in writers:
        assert process.stdout
        process.stdout.close()


def test_killing_a_writer_leaves_whole_batches(tmp_path: Path, place: Place) -> None:
    process = start(WRITER, tmp_path, "rater", 10_000, 40)
    assert process.stdout
    for _ in range(3):
        process.stdout.readline()
    kill(process)
    with Workspace.open(tmp_path) as workspace:
        counts = workspace.record.counts()
        assert counts["judgments"] % 40 == 0
        assert counts["judgments"] >= 120
        assert workspace.record.verify().ok
        workspace.record.add_artifact("comparison", {"after": True})
        assert workspace.record.verify().ok


def test_a_writer_killed_before_its_commit_leaves_nothing_and_holds_nobody_up(tmp_path: Path, place: Place) -> None:
    process = start(SLEEPER, tmp_path)
    assert process.stdout
    assert process.stdout.readline() == "written\n"
    with Workspace.open(tmp_path) as workspace:
        assert workspace.record.size() == 1
        kill(process)
        workspace.record.add_artifact("comparison", {"after": True})
        bodies = [workspace.record.json(row.id) for row in workspace.record.artifacts("comparison")]
        assert bodies == [{"kept": True}, {"after": True}]
        assert workspace.record.verify().ok


def test_threads_share_a_record(record: Record) -> None:
    def add(thread: int) -> None:
        for number in range(10):
            record.add_artifact("comparison", {"thread": thread, "number": number})

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(add, range(8)))
    assert record.size() == 80
    assert record.verify().ok


def test_a_forked_child_uses_connections_of_its_own(record: Record) -> None:
    record.add_artifact("comparison", {"from": "parent"})
    child = multiprocessing.get_context("fork").Process(
        target=lambda: and_leave(lambda: record.add_artifact("comparison", {"from": "child"}))
    )
    child.start()
    child.join(60)
    assert child.exitcode == 0
    record.add_artifact("comparison", {"from": "parent", "then": True})
    assert record.size() == 3
    assert record.verify().ok


@pytest.mark.parametrize("same", [True, False])
def test_a_writer_that_waits_too_long_is_told_so(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch, same: bool
) -> None:
    with workspace.record._database.writing(), monkeypatch.context() as patched:
        patched.setattr(engine, "BUSY_SECONDS", 0.01)
        with Workspace.open(workspace.root) as other, ThreadPoolExecutor(1) as pool:
            impatient = workspace.record if same else other.record
            waiting = pool.submit(impatient.add_artifact, "comparison", {})
            with pytest.raises(StorageError, match="Another process or thread has been writing"):
                waiting.result(60)
    workspace.record.add_artifact("comparison", {})
    assert workspace.record.size() == 1


def test_tables_of_another_program_are_left_alone(tmp_path: Path, place: Place) -> None:
    with place.behind(tmp_path) as connection:
        connection.execute("CREATE TABLE runs (id INTEGER, distance REAL)")
        with pytest.raises(RecordError, match=r"has a table 'runs' that is not the record's.*of its own"):
            Workspace.open(tmp_path)
        with pytest.raises(Exception, match="artifacts"):
            connection.execute("SELECT * FROM artifacts")


def test_a_table_that_is_not_there_yet_is_added(tmp_path: Path, place: Place) -> None:
    Workspace.open(tmp_path).close()
    with place.behind(tmp_path) as connection:
        connection.execute("DROP TABLE evidence")
    with Workspace.open(tmp_path, create=False) as workspace:
        fill(workspace.record)
        assert workspace.record.counts()["evidence"] == 1
        assert workspace.record.verify().ok


def fill(record: Record) -> None:
    """One row or more in every table."""
    target, critique = record.add_artifacts([NewArtifact("comparison", {}), NewArtifact("critique", "No.")])
    (judged,) = record.add_judgments([Judgment(target, "which?", "ann", "human", 1)])
    record.add_exposure(judged, critique)
    record.add_evidence("m", 1.0, 0.5, 1.5, 3, "t", record.start_run("eval", {}))


def and_leave(act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException:
        os._exit(1)
    os._exit(0)
