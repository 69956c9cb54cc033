from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from places import Place
from postgresql_server import Server

from kilter.errors import RecordError, StorageError
from kilter.record import Workspace


def test_a_workspace_is_a_folder_with_the_documented_parts(tmp_path: Path, place: Place) -> None:
    with Workspace.open(tmp_path / "deep" / "workspace") as workspace:
        names = {path.name for path in workspace.root.iterdir()}
        assert {"blobs", "runs"} <= names
        assert ("kilter.db" in names) == (place.address is None)
        assert workspace.runs.is_dir()


def test_it_can_live_among_other_files_and_be_opened_again(tmp_path: Path, place: Place) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    with Workspace.open(tmp_path) as workspace:
        key = workspace.record.add_artifact("text", "hello")
    with Workspace.open(str(tmp_path), create=False) as workspace:
        assert workspace.record.body(key) == b"hello"
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_two_can_be_open_at_once(tmp_path: Path, place: Place) -> None:
    with Workspace.open(tmp_path) as one, Workspace.open(tmp_path) as other:
        one.record.add_artifact("text", "from one")
        other.record.add_artifact("text", "from the other")
        assert one.record.size() == other.record.size() == 2


def test_the_default_is_named_by_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with Workspace.open() as workspace:
        assert workspace.root == Path("workspace")
    monkeypatch.setenv("KILTER_WORKSPACE", str(tmp_path / "elsewhere"))
    with Workspace.open() as workspace:
        assert workspace.root == tmp_path / "elsewhere"


def test_a_missing_workspace_is_not_made_when_it_is_only_looked_at(tmp_path: Path, place: Place) -> None:
    with pytest.raises(RecordError, match=r"There is no workspace at .*typo.*--workspace"):
        Workspace.open(tmp_path / "typo", create=False)
    assert not (tmp_path / "typo").exists()


def test_a_forgotten_database_does_not_make_a_second_record(tmp_path: Path, postgresql_server: Server) -> None:
    address = postgresql_server.schema()
    with Workspace.open(tmp_path, address) as workspace:
        key = workspace.record.add_artifact("text", "hello")
    for create in (True, False):
        with pytest.raises(RecordError, match=r"has no kilter\.db.*with --database or the variable KILTER_DATABASE"):
            Workspace.open(tmp_path, create=create)
        with pytest.raises(RecordError, match=r"has none of its tables.*belongs to this workspace"):
            Workspace.open(tmp_path, postgresql_server.schema(), create=create)
    assert not (tmp_path / "kilter.db").exists()
    with Workspace.open(tmp_path, address, create=False) as workspace:
        assert workspace.record.body(key) == b"hello"


def test_a_workspace_with_its_own_rows_takes_no_other_database(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    for create in (True, False):
        with pytest.raises(RecordError, match=r"has its rows in .*kilter\.db, and --database"):
            Workspace.open(tmp_path, "postgresql://nobody@nowhere.invalid/nothing", create=create)


def test_a_lost_kilter_db_is_not_replaced_by_an_empty_one(tmp_path: Path) -> None:
    Workspace.open(tmp_path).close()
    (tmp_path / "kilter.db").unlink()
    with pytest.raises(RecordError, match=r"if kilter\.db was lost, restore it"):
        Workspace.open(tmp_path)


def test_a_database_that_cannot_be_opened_leaves_the_folder_for_another_try(tmp_path: Path) -> None:
    with pytest.raises(StorageError):
        Workspace.open(tmp_path, "postgresql://kilter@127.0.0.1:1/kilter")
    Workspace.open(tmp_path).close()


def test_several_folders_may_share_a_database(tmp_path: Path, postgresql_server: Server) -> None:
    address = postgresql_server.schema()
    with Workspace.open(tmp_path / "one", address) as one, Workspace.open(tmp_path / "other", address) as other:
        key = one.record.add_artifact("text", "hello")
        assert other.record.body(key) == b"hello"


def test_a_file_in_its_place_is_said(tmp_path: Path) -> None:
    (tmp_path / "workspace").write_text("in the way")
    with pytest.raises(StorageError, match="A file stands where a folder is needed"):
        Workspace.open(tmp_path / "workspace")


def test_a_folder_that_cannot_be_written_is_said() -> None:
    # As another user, since permissions do not bind root; first used as root, so that all is imported.
    script = (
        "import os, sys\n"
        "from kilter.errors import StorageError\n"
        "from kilter.record import Workspace\n"
        "Workspace.open(sys.argv[2]).record.add_artifact('text', 'x')\n"
        "if os.getuid() == 0:\n    os.setuid(65534)\n"
        "try:\n    Workspace.open(sys.argv[1])\n"
        "except StorageError as error:\n    print(error)\n"
    )
    with tempfile.TemporaryDirectory() as name:  # pytest's own folders are closed to other users
        folder, writable = Path(name) / "closed", Path(name) / "open"
        folder.mkdir(mode=0o555)
        Path(name).chmod(0o755)
        for target in (folder, folder / "workspace"):
            done = subprocess.run(
                [sys.executable, "-c", script, target, writable], capture_output=True, text=True, timeout=60
            )
            assert "The folder is not writable" in done.stdout, done.stderr
