"""What is PostgreSQL's own: addresses, errors, permissions, durability; and that it holds what SQLite holds."""

from __future__ import annotations

import multiprocessing
import os
import re
import select
import sys
import threading
import traceback
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from pathlib import Path

import psycopg
import pytest
from postgresql_server import Server
from sqlalchemy import Connection, func
from sqlalchemy import select as query

from kilter.errors import DataError, KilterError, RecordError, SettingsError, StorageError
from kilter.record import Exposure, Judgment, NewArtifact, Record, Workspace, engine
from kilter.record.postgresql import read_address, shown
from kilter.record.tables import judgments, metadata

SECRET = "correct-horse"


@pytest.fixture
def address(postgresql_server: Server) -> str:
    return postgresql_server.schema()


@pytest.fixture
def record(tmp_path: Path, address: str) -> Iterator[Record]:
    with Workspace.open(tmp_path, address) as workspace:
        yield workspace.record


@pytest.fixture
def own_server(postgresql_server: Server) -> Server:
    if not postgresql_server.own:
        pytest.skip("the server of KILTER_TEST_POSTGRES is not ours to change")
    return postgresql_server


# The same rows

TEXTS = [
    "", " ", "a\tb\r\nc\x0b\x0c\x1f\x7f\x85", "\ufeffmark", "é and e\u0301", "Ａ", "\u202eright to left",
    "日本語 🙂 \U0010ffff", "\uffff\ufdd0", "'; DROP TABLE log; --", '"\\', "%(x)s %s %", ":name ::text", "\\x41 \\000",
    "null", "x" * 100_000,
]  # fmt: skip
FLOATS = [0.0, -0.0, 0.1, 1 / 3, 5e-324, 2.2250738585072014e-308, 1.7976931348623157e308, -1e22, 123456789.123456789]
INTEGERS = [0, -1, 2**31, 2**53 + 1, 2**63 - 1, -(2**63)]
VALUES = [
    None, True, 1, 1.0, -0.0, 2**200, "\x00 in JSON", {"b": 1, "a": [1.5, None, {"é": "\u2028"}]}, [], {}, "1", FLOATS,
]  # fmt: skip


def add_everything(record: Record) -> None:
    """Rows with every value that might change on its way through a database."""
    targets = record.add_artifacts(
        [NewArtifact("text", text, producer=text[:1000]) for text in TEXTS] + [NewArtifact("bytes", bytes(range(256)))]
    )
    rows = [Judgment(targets[0], text[:1000], text[:300], "human", text) for text in TEXTS]
    rows += [Judgment(targets[0], "q", "j", "model", None, probability=number) for number in FLOATS]
    rows += [Judgment(targets[0], "q", "j", "model", None, seed=one, active_ms=one) for one in INTEGERS]
    rows += [Judgment(targets[0], "q", "j", "program", value, spans=[value], blinded=False) for value in VALUES]
    ids = record.add_judgments(rows)
    record.add_exposures([Exposure(ids[0], targets[1], "2026", True, accepted) for accepted in (None, True, False)])


def test_the_same_rows_have_the_same_ids_and_roots_on_both(tmp_path: Path, record: Record) -> None:
    with Workspace.open(tmp_path / "sqlite") as sqlite:
        for one in (record, sqlite.record):
            add_everything(one)
            assert one.verify().ok
            one.close()
        assert record.size() == sqlite.record.size() > 60
        assert record.root() == sqlite.record.root()
        for size in range(record.size()):
            assert record.root(size) == sqlite.record.root(size)
        read, expected = ((one.judgments(), one.exposures(), one.artifacts("text")) for one in (record, sqlite.record))
        assert read == expected
        # -0.0 equals 0.0, so the texts are compared too
        assert [row.content for row in read[0]] == [row.content for row in expected[0]]
        keys = [row.id for row in record.artifacts("text") + record.artifacts("bytes")]
        assert record.bodies(keys) == sqlite.record.bodies(keys)


def test_ids_are_ordered_by_their_bytes_in_every_language(record: Record, address: str) -> None:
    columns_of_ids = (
        "SELECT table_name, column_name, collation_name FROM information_schema.columns "
        "WHERE table_schema = current_schema() AND character_maximum_length = 64"
    )
    with psycopg.connect(address) as connection:
        columns = connection.execute(columns_of_ids).fetchall()
    assert len(columns) > 10
    assert {collation for *_, collation in columns} == {"C"}


# Addresses


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        (f"postgresql://ann:{SECRET}@db.example.org:5433/team", "postgresql://ann@db.example.org:5433/team"),
        (f"postgres://ann:{SECRET}@db/team?sslmode=require", "postgresql://ann@db/team"),
        (f"postgresql+psycopg://db/team?password={SECRET}", "postgresql://db/team"),
        (f"postgresql://ann:{SECRET}%40%2F@[::1]/team", "postgresql://ann@::1/team"),
        ("postgresql://%2Fvar%2Frun/team", "postgresql:///var/run/team"),
        ("postgresql:///team?host=/var/run", "postgresql:///team"),
    ],
)
def test_an_address_is_read_and_shown_without_its_password(address: str, expected: str) -> None:
    assert shown(read_address(address)) == expected


@pytest.mark.parametrize(
    ("address", "problem"),
    [
        (f"ann:{SECRET}", "cannot be read"),
        (f"postgresql://ann:{SECRET}@db:port/team", "cannot be read"),
        (f"postgresql://ann:{SECRET}@/team?host=db&port=1,2", "cannot be read"),
        (f"mysql://ann:{SECRET}@db/team", "not one of PostgreSQL"),
        (f"sqlite:///{SECRET}", "not one of PostgreSQL. .* SQLite file in the workspace"),
        (f"postgresql://ann:@{SECRET}@db/team", "more than one @"),
        (f"postgresql://ann:a@{SECRET}/b@db/team", "more than one @"),
        (f"postgresql://ann:{SECRET}@db", "does not name one"),
    ],
)
def test_what_is_no_address_is_refused_without_showing_it(tmp_path: Path, address: str, problem: str) -> None:
    with pytest.raises(SettingsError, match=problem) as caught:
        Workspace.open(tmp_path, address)
    assert "postgresql://USER:PASSWORD@HOST/NAME" in str(caught.value)
    assert SECRET not in str(caught.value)
    assert SECRET not in "".join(traceback.format_exception(caught.value))
    assert not list(tmp_path.iterdir())


def test_without_psycopg_it_is_said_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(SettingsError, match=r"pip install 'kilter\[postgres\]'"):
        Workspace.open(tmp_path, "postgresql://db/team")


# Connections


def refusal(tmp_path: Path, address: str, kind: type[KilterError] = StorageError) -> str:
    with pytest.raises(kind) as caught:
        Workspace.open(tmp_path / "refused", address)
    assert SECRET not in str(caught.value)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_server_that_is_not_there(tmp_path: Path) -> None:
    said = refusal(tmp_path, f"postgresql://ann:{SECRET}@127.0.0.1:1/team")
    assert "postgresql://ann@127.0.0.1:1/team cannot be used" in said
    assert "Connection refused" in said
    assert "Check that the server runs" in said
    assert "Check that the server runs" in refusal(tmp_path, f"postgresql://ann:{SECRET}@db.invalid/team")


def test_a_database_that_is_not_there(tmp_path: Path, own_server: Server) -> None:
    said = refusal(tmp_path, own_server.address(database="nothing", password=SECRET))
    assert 'database "nothing" does not exist' in said
    assert "createdb" in said


def test_a_schema_that_is_not_there(tmp_path: Path, postgresql_server: Server) -> None:
    said = refusal(tmp_path, postgresql_server.address(options="-csearch_path=nothing"))
    assert "The schema is not there" in said


def test_a_user_or_password_that_is_wrong(tmp_path: Path, own_server: Server) -> None:
    said = refusal(tmp_path, own_server.address(user="nobody", password=SECRET))
    assert 'role "nobody" does not exist' in said
    assert "check user and password" in said
    own_server.execute("CREATE ROLE guarded LOGIN PASSWORD 'another'")
    try:
        said = refusal(tmp_path, own_server.address(user="guarded", password=SECRET))
        assert 'password authentication failed for user "guarded"' in said
        assert "check user and password" in said
    finally:
        own_server.execute("DROP ROLE guarded")


def test_an_option_that_is_not_there(tmp_path: Path, postgresql_server: Server) -> None:
    said = refusal(tmp_path, postgresql_server.address(slsmode="require"), SettingsError)
    assert "Take that option out" in said


def test_too_many_connections(tmp_path: Path, own_server: Server) -> None:
    own_server.execute("CREATE ROLE crowded LOGIN CONNECTION LIMIT 0")
    try:
        assert "more connections" in refusal(tmp_path, own_server.address(user="crowded"))
    finally:
        own_server.execute("DROP ROLE crowded")


def test_a_database_that_does_not_hold_all_of_unicode(tmp_path: Path, own_server: Server) -> None:
    own_server.execute("CREATE DATABASE ascii ENCODING 'SQL_ASCII' TEMPLATE template0 LC_COLLATE 'C' LC_CTYPE 'C'")
    try:
        said = refusal(tmp_path, own_server.address(database="ascii"))
        assert "keeps text as SQL_ASCII" in said
        assert "createdb --encoding=UTF8" in said
    finally:
        own_server.execute("DROP DATABASE ascii WITH (FORCE)")


def hang_up(address: str) -> None:
    """End every other connection to this schema, as a server does that is restarted."""
    end = "SELECT pg_terminate_backend(pid, 60000) FROM pg_stat_activity WHERE application_name = %s"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(end, [name_of(address)])


def name_of(address: str) -> str:
    found = re.search(r"search_path%3D(\w+)", address)
    assert found
    return found[1]


def test_connections_that_the_server_closed_while_idle_are_not_noticed(
    tmp_path: Path, address: str, postgresql_server: Server
) -> None:
    with Workspace.open(tmp_path, f"{address}&application_name={name_of(address)}") as workspace:
        record = workspace.record

        def read(_: int) -> int:
            with record._database.reading() as connection:
                everyone.wait(60)
                return int(connection.execute(query(func.count()).select_from(judgments)).scalar_one())

        everyone = threading.Barrier(3)
        with ThreadPoolExecutor(3) as pool:
            assert list(pool.map(read, range(3))) == [0, 0, 0]
            hang_up(address)
            assert list(pool.map(read, range(3))) == [0, 0, 0]
        hang_up(address)
        record.add_artifact("text", "x")
        assert record.verify().ok


def test_a_connection_lost_on_the_way_leaves_nothing_and_the_next_is_new(tmp_path: Path, address: str) -> None:
    with Workspace.open(tmp_path, f"{address}&application_name={name_of(address)}") as workspace:
        record = workspace.record
        for begin in (record._database.writing, record._database.reading):

            def work(begin: Callable[[], AbstractContextManager[Connection]] = begin) -> None:
                with begin() as connection:
                    connection.exec_driver_sql("SELECT count(*) FROM log")
                    if begin == record._database.writing:
                        connection.exec_driver_sql("INSERT INTO log VALUES (0, 'x', 'x', 'x')")
                    hang_up(address)
                    connection.exec_driver_sql("SELECT 1")

            with pytest.raises(StorageError, match="connection to the server was lost: run the command again"):
                work()
            assert record.size() == 0


def test_a_server_that_goes_away_during_verification_is_no_damage(
    tmp_path: Path, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Workspace.open(tmp_path, f"{address}&application_name={name_of(address)}") as workspace:
        workspace.record.add_artifact("text", "x")
        hung_up: list[int] = []

        def progress(done: int, total: int) -> None:
            if not hung_up:
                hung_up.append(done)
                hang_up(address)

        with pytest.raises(StorageError, match="lost"):
            workspace.record.verify(progress=progress)


# Permissions


@pytest.fixture
def reader(own_server: Server, record: Record, address: str) -> Iterator[str]:
    """The same record for a user who may see and add rows, and nothing else."""
    schema = name_of(address)
    user = f"u{schema}"
    own_server.execute(
        f"CREATE ROLE {user} LOGIN",
        f"GRANT USAGE ON SCHEMA {schema} TO {user}",
        f"GRANT SELECT, INSERT ON ALL TABLES IN SCHEMA {schema} TO {user}",
    )
    yield own_server.address(user=user, options=f"-csearch_path={schema}")
    own_server.execute(f"DROP OWNED BY {user}", f"DROP ROLE {user}")


def test_a_user_who_may_only_add_can_do_all_there_is_to_do(tmp_path: Path, reader: str) -> None:
    with Workspace.open(tmp_path / "mine", reader) as workspace:
        add_everything(workspace.record)
        assert workspace.record.verify().ok


@pytest.mark.parametrize("statement", ["DELETE FROM log", "ALTER TABLE log DISABLE TRIGGER USER", "DROP TABLE log"])
def test_such_a_user_cannot_take_the_guards_away(reader: str, statement: str) -> None:
    with (
        psycopg.connect(reader, autocommit=True) as connection,
        pytest.raises(psycopg.errors.InsufficientPrivilege),
    ):
        connection.execute(statement)


def test_a_user_who_may_not_is_told_what_to_grant(
    tmp_path: Path, reader: str, own_server: Server, address: str
) -> None:
    schema, user = name_of(address), f"u{name_of(address)}"
    own_server.execute(f"REVOKE INSERT ON ALL TABLES IN SCHEMA {schema} FROM {user}")
    with Workspace.open(tmp_path / "mine", reader) as workspace:
        assert workspace.record.size() == 0
        with pytest.raises(StorageError, match=r"permission denied .* grant this one at least SELECT and INSERT"):
            workspace.record.add_artifact("text", "x")
    own_server.execute(f"DROP TABLE {schema}.evidence")
    with pytest.raises(StorageError, match="let a user who may create tables open the workspace once"):
        Workspace.open(tmp_path / "mine", reader)


# Writing


@pytest.mark.parametrize(
    ("state", "kind", "said"),
    [
        ("53100", StorageError, "disk is full: free some space"),
        ("58030", StorageError, "disk or files fail"),
        ("25006", StorageError, "only be read"),
        ("57P01", StorageError, "lost"),
        ("57014", StorageError, "longer statement_timeout"),
        ("53200", StorageError, "short of memory"),
        ("XX001", RecordError, "kilter record verify"),
    ],
)
def test_what_the_server_cannot_do_is_said_and_records_nothing(
    record: Record, address: str, state: str, kind: type[KilterError], said: str
) -> None:
    target = record.add_artifact("comparison", {})
    rows = [Judgment(target, "which?", "ann", "human", 1, seed=seed) for seed in range(10)]
    fail = f"RAISE EXCEPTION 'the server says' USING ERRCODE = '{state}'"
    body = f"BEGIN IF NEW.seed = 7 THEN {fail}; END IF; RETURN NEW; END"
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(f"CREATE FUNCTION fail() RETURNS trigger LANGUAGE plpgsql AS $$ {body} $$")
        connection.execute("CREATE TRIGGER fail BEFORE INSERT ON judgments FOR EACH ROW EXECUTE FUNCTION fail()")
        with pytest.raises(kind, match=f"the server says.*{said}"):
            record.add_judgments(rows)
        assert record.size() == 1
        connection.execute("DROP TRIGGER fail ON judgments")
    record.add_judgments(rows)
    assert record.verify().ok


def test_a_server_that_may_only_be_read_is_named(tmp_path: Path, record: Record, address: str) -> None:
    standby = address.replace("search_path", "default_transaction_read_only%3Don%20-csearch_path")
    with Workspace.open(tmp_path, standby) as workspace:
        assert workspace.record.verify().ok
        with pytest.raises(StorageError, match="name the server that is written to"):
            workspace.record.add_artifact("text", "x")


def test_a_name_that_is_too_long_for_an_index_is_said(record: Record) -> None:
    target = record.add_artifact("comparison", {})
    judge = "".join(map(str, range(5000)))
    with pytest.raises(DataError, match=r"about 2,000 bytes in PostgreSQL"):
        record.add_judgments([Judgment(target, "which?", judge, "human", 1)])
    assert record.judgments(judge="a judge") == []
    with pytest.raises(DataError, match="no text with a NUL"):
        record.judgments(judge="a\x00judge")


@pytest.mark.parametrize(("server", "expected"), [("off", "on"), ("on", "on"), ("remote_apply", "remote_apply")])
def test_a_commit_that_was_reported_is_on_the_disk(tmp_path: Path, address: str, server: str, expected: str) -> None:
    weak = address.replace("search_path", f"synchronous_commit%3D{server}%20-csearch_path")
    with Workspace.open(tmp_path, weak) as workspace, workspace.record._database.writing() as connection:
        assert connection.exec_driver_sql("SHOW synchronous_commit").scalar() == expected
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "read committed"


def test_readers_cannot_write_and_see_one_state(record: Record) -> None:
    with record._database.reading() as connection:
        assert connection.exec_driver_sql("SHOW transaction_isolation").scalar() == "repeatable read"
        assert connection.exec_driver_sql("SHOW transaction_read_only").scalar() == "on"


def test_a_writer_that_falls_asleep_does_not_keep_the_others_waiting(
    record: Record, monkeypatch: pytest.MonkeyPatch
) -> None:
    def sleep() -> None:
        with record._database.writing() as connection:
            wire = connection.connection.dbapi_connection.pgconn  # type: ignore[union-attr]
            select.select([wire.socket], [], [], 60)  # until the server says goodbye
            connection.exec_driver_sql("SELECT 1")

    with monkeypatch.context() as patched:
        patched.setattr(engine, "BUSY_SECONDS", 0.05)
        with pytest.raises(StorageError, match="idle-in-transaction timeout"):
            sleep()
    record.add_artifact("text", "x")
    assert record.size() == 1


def test_a_child_that_was_forked_while_a_thread_wrote_can_write(record: Record) -> None:
    inside, leave = threading.Event(), threading.Event()

    def write() -> None:
        with record._database.writing():
            inside.set()
            leave.wait(60)

    with ThreadPoolExecutor(1) as pool:
        writing = pool.submit(write)
        assert inside.wait(60)
        child = multiprocessing.get_context("fork").Process(
            target=lambda: and_leave(lambda: record.add_artifact("comparison", {"from": "child"}))
        )
        child.start()
        leave.set()
        writing.result(60)
    child.join(60)
    assert child.exitcode == 0
    assert record.size() == 1


def test_many_threads_use_few_connections(record: Record) -> None:
    with ThreadPoolExecutor(40) as pool:
        sizes = list(pool.map(lambda n: (record.add_artifact("x", {"n": n}), record.size())[1], range(120)))
    assert max(sizes) == 120
    assert record._database.engine.pool.overflow() <= 15  # type: ignore[attr-defined]
    assert record.verify().ok


# Guards


@pytest.mark.parametrize(
    "statement",
    [
        "TRUNCATE {table} CASCADE",
        "INSERT INTO {table} SELECT * FROM {table} ON CONFLICT ({key}) DO UPDATE SET {key} = {table}.{key}",
        "SET session_replication_role = replica; UPDATE {table} SET {key} = {key}",
    ],
)
@pytest.mark.parametrize("table", ["artifacts", "bodies", "log"])
def test_no_other_statement_changes_rows_either(
    own_server: Server, record: Record, address: str, table: str, statement: str
) -> None:
    record.add_artifact("text", "x")
    key = metadata.tables[table].primary_key.columns[0].name
    with (
        psycopg.connect(address, autocommit=True) as connection,
        pytest.raises(psycopg.errors.RestrictViolation, match="the record is append-only"),
    ):
        connection.execute(statement.format(table=table, key=key))


@pytest.mark.parametrize(
    "statement",
    [
        "DROP TRIGGER judgments_append_only ON judgments",
        "ALTER TABLE judgments DISABLE TRIGGER judgments_append_only",
        "ALTER TABLE judgments ENABLE TRIGGER judgments_append_only",
    ],
)
def test_a_guard_that_is_gone_or_weaker_is_damage(record: Record, address: str, statement: str) -> None:
    with psycopg.connect(address, autocommit=True) as connection:
        connection.execute(statement)
    (damage,) = record.verify().damages
    assert damage.where == "the database"
    assert "judgments_append_only, which keeps rows from being changed, is gone or switched off" in damage.what


def and_leave(act: Callable[[], object]) -> None:
    try:
        act()
    except BaseException:
        os._exit(1)
    os._exit(0)
