from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from pathlib import Path

import pytest
from places import Place

from kilter.errors import KilterError
from kilter.record import Judgment, NewArtifact, Verification, Workspace, sha256

LARGE = b"w" * 100_000
Tamper = Callable[..., None]


@pytest.fixture
def filled(workspace: Workspace, tmp_path: Path) -> Workspace:
    record = workspace.record
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "weights").write_bytes(b"file " * 50_000)
    (folder / "config.json").write_text("{}")
    comparisons = record.add_artifacts([NewArtifact("comparison", {"n": n}) for n in range(20)])
    ids = record.add_judgments(
        [Judgment(key, "which?", "ann", "human", n % 2, 0.75, seed=n) for n, key in enumerate(comparisons)]
    )
    record.add_artifact("text", LARGE)
    dataset = record.add_dataset(comparisons, ids)
    base = record.add_folder("model", folder, parents=[dataset])
    run = record.start_run("eval", {"n": 20}, 3, [base])
    record.add_evidence("accuracy", 0.7, 0.6, 0.8, 20, "wilson", run)
    record.finish_run(run, seconds=2.0)
    record.close()
    return workspace


@pytest.fixture
def tamper(filled: Workspace, place: Place) -> Tamper:
    """tamper(*statements) changes the database as someone would who knows it."""

    def change(*statements: str) -> None:
        filled.close()
        with place.unguarded(filled.root) as connection:
            for statement in statements:
                assert connection.execute(statement).rowcount != 0, statement

    return change


def only_damage(workspace: Workspace) -> tuple[str, str]:
    result = workspace.record.verify()
    assert not result.ok
    assert result.found == len(result.damages) == 1, result.damages
    return result.damages[0].where, result.damages[0].what


def flip(path: Path, offset: int) -> None:
    path.chmod(0o644)
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


def test_a_sound_record_is_counted(filled: Workspace) -> None:
    seen: list[tuple[int, int]] = []
    result = filled.record.verify(progress=lambda done, total: seen.append((done, total)))
    assert result.ok
    assert result.rows == result.size == filled.record.size() == 20 + 20 + 3 + 2 + 1
    assert result.bodies == 20 + 3 + 2
    assert result.root == filled.record.root()
    assert seen[-1][0] == seen[-1][1] == result.rows + result.bodies


def test_a_flipped_byte_in_a_blob(filled: Workspace) -> None:
    path = next(path for path in (filled.root / "blobs").rglob("*") if path.stat().st_size == len(LARGE))
    flip(path, 77_777)
    where, what = only_damage(filled)
    assert where == f"blob {path}"
    assert "bytes were changed (artifact " in what


def test_a_flipped_byte_in_a_file_of_a_folder(filled: Workspace) -> None:
    path = next(path for path in (filled.root / "blobs").rglob("*") if path.stat().st_size == 250_000)
    flip(path, 0)
    where, what = only_damage(filled)
    assert where == f"blob {path}"
    assert "weights of artifact " in what


def test_a_missing_blob(filled: Workspace) -> None:
    path = next(path for path in (filled.root / "blobs").rglob("*") if path.stat().st_size == 2)
    path.unlink()
    where, what = only_damage(filled)
    assert where == f"blob {path}"
    assert "the file is gone (config.json of artifact" in what


def test_an_orphaned_blob_is_harmless(filled: Workspace) -> None:
    filled.record.blobs.put(b"an orphan" * 10_000)
    assert filled.record.verify().ok


def test_a_changed_small_body(filled: Workspace, tamper: Tamper) -> None:
    nine, eight = (sha256(content) for content in (b'{"n":9}', b'{"n":8}'))
    tamper(f"UPDATE bodies SET content = (SELECT content FROM bodies WHERE sha256 = '{eight}') WHERE sha256 = '{nine}'")
    where, what = only_damage(filled)
    assert where.startswith("body ")
    assert "of artifact" in where
    assert what == "its bytes were changed"


def test_a_deleted_small_body(filled: Workspace, tamper: Tamper) -> None:
    nine = sha256(b'{"n":9}')
    tamper(f"DELETE FROM bodies WHERE sha256 = '{nine}'")
    assert "the file is gone" in only_damage(filled)[1]


@pytest.mark.parametrize(
    "change",
    [
        "value = '1' WHERE value = '0' AND seed = 4",
        "value = '{' WHERE seed = 4",
        "probability = 0.7500000000000001 WHERE seed = 4",
        "seed = 40 WHERE seed = 4",
        "judge = 'Ann' WHERE seed = 4",
        "principal = 'robot' WHERE seed = 4",
        "blinded = FALSE WHERE seed = 4",
        "started = '2026-01-01' WHERE seed = 4",
    ],
)
def test_a_changed_row(filled: Workspace, tamper: Tamper, change: str) -> None:
    tamper(f"UPDATE judgments SET {change}")
    result = filled.record.verify()
    assert any(damage.where.startswith("judgments") for damage in result.damages)


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("change", ["probability = 'high'", "question = CAST(x'ff' AS TEXT)"])
def test_a_value_that_is_none_of_its_column(filled: Workspace, tamper: Tamper, change: str) -> None:
    tamper(f"UPDATE judgments SET {change} WHERE seed = 4")
    assert any(damage.where.startswith("judgments") for damage in filled.record.verify().damages)


def test_a_table_that_cannot_be_read_does_not_hide_the_damage_of_others(filled: Workspace, tamper: Tamper) -> None:
    tamper("UPDATE evidence SET metric = 'mallory'", "ALTER TABLE judgments RENAME COLUMN blinded TO sighted")
    found = {damage.where: damage.what for damage in filled.record.verify().damages}
    assert "the table cannot be read further" in found.pop("judgments")
    assert any(where.startswith("evidence") and "was changed" in what for where, what in found.items())


def test_a_row_whose_text_only_looks_the_same(filled: Workspace, tamper: Tamper) -> None:
    tamper("UPDATE judgments SET value = ' 0' WHERE seed = 4")
    assert only_damage(filled)[1] == "its text was changed, though it still means the same"


def test_a_deleted_row(filled: Workspace, tamper: Tamper) -> None:
    key = filled.record.judgments()[4].id
    tamper("DELETE FROM judgments WHERE seed = 4")
    assert only_damage(filled) == (f"judgments {key}", "this row is in the log but is gone from its table")


def test_a_row_added_behind_the_back_of_the_log(filled: Workspace, tamper: Tamper) -> None:
    target = filled.record.artifacts("comparison")[0].id
    row = Judgment(target, "which?", "mallory", "human", 1)
    columns, values = zip(*row.stored().items(), strict=True)
    literals = ", ".join("NULL" if v is None else repr(v) for v in values)
    tamper(f"INSERT INTO judgments ({', '.join(columns)}) VALUES ({literals})")
    assert only_damage(filled) == (
        f"judgments {row.id}",
        "this row is not in the log: it was added behind its back",
    )


def test_a_reordered_log(filled: Workspace, tamper: Tamper) -> None:
    first, second = (row.id for row in filled.record.artifacts("comparison")[5:7])
    tamper(
        f"UPDATE log SET row_id = 'spare' WHERE row_id = '{first}'",
        f"UPDATE log SET row_id = '{first}' WHERE row_id = '{second}'",
        f"UPDATE log SET row_id = '{second}' WHERE row_id = 'spare'",
    )
    where, what = only_damage(filled)
    assert where == "log entry 5"
    assert "changed or reordered" in what


def test_a_hole_in_the_log(filled: Workspace, tamper: Tamper) -> None:
    tamper("DELETE FROM log WHERE seq = 7")
    result = filled.record.verify()
    assert result.damages[0].where == "log entry 8"
    assert "entry 7 should stand here" in result.damages[0].what
    assert any("not in the log" in damage.what for damage in result.damages)
    with pytest.raises(KilterError, match="log has no row 7"):
        filled.record.root(8)


def test_only_a_kept_root_shows_that_the_end_was_cut_off(filled: Workspace, tamper: Tamper) -> None:
    record = filled.record
    kept = record.size(), record.root()
    assert record.verify(since=kept).ok
    tamper(
        "DELETE FROM runs WHERE id IN (SELECT row_id FROM log WHERE seq = (SELECT max(seq) FROM log))",
        "DELETE FROM log WHERE seq = (SELECT max(seq) FROM log)",
    )
    assert record.verify().ok
    (damage,) = record.verify(since=kept).damages
    assert damage.where == f"log up to size {kept[0]}"
    assert "shorter now" in damage.what


def test_a_kept_root_holds_while_the_record_grows_and_not_for_another_history(filled: Workspace) -> None:
    record = filled.record
    kept = record.size(), record.root()
    record.add_artifact("comparison", {"later": 1})
    assert record.verify(since=kept).ok
    assert record.verify(since=(0, record.root(0))).ok
    (damage,) = record.verify(since=(kept[0], "ab" * 32)).damages
    assert f"the root of that size is {kept[1]} now" in damage.what


def test_many_damages_are_counted_and_the_first_are_listed(filled: Workspace, tamper: Tamper) -> None:
    tamper("UPDATE judgments SET judge = 'mallory'", "UPDATE artifacts SET producer = 'mallory'")
    result = filled.record.verify()
    assert result.found == 20 + 23
    assert len(result.damages) == 20


@pytest.mark.parametrize("place", ["sqlite"], indirect=True)
@pytest.mark.parametrize("seed", range(25))
def test_no_flipped_byte_in_the_database_goes_unseen_or_unexplained(filled: Workspace, seed: int) -> None:
    connection = sqlite3.connect(filled.root / "kilter.db")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    before = dump(connection)
    connection.close()
    path = filled.root / "kilter.db"
    flip(path, random.Random(seed).randrange(path.stat().st_size))

    result = explained(lambda: Workspace.open(filled.root).record.verify())
    if result is not None and result.ok:
        connection = sqlite3.connect(path)
        assert dump(connection) == before
        connection.close()


def explained(verify: Callable[[], Verification]) -> Verification | None:
    try:
        return verify()
    except KilterError:
        return None


def dump(connection: sqlite3.Connection) -> list[str]:
    tables = ("artifacts", "judgments", "exposures", "runs", "evidence", "bodies", "log")
    return [repr(connection.execute(f"SELECT * FROM {name} ORDER BY 1").fetchall()) for name in tables]
