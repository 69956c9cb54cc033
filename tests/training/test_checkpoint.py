from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors import SafetensorError

from kilter.errors import SettingsError, StorageError
from kilter.training import checkpoint, checkpoint_shards
from kilter.training.checkpoint import FILE, Checkpoint, load_checkpoint, save_checkpoint
from kilter.training.checkpoint_shards import save_shards

TENSORS = {
    "optimizer/0.value": torch.arange(6.0).view(2, 3).t(),  # not contiguous
    "optimizer/0.step": torch.tensor(3.0),
    "optimizer2/0.value": torch.ones(2, dtype=torch.bfloat16),
}
COUNTERS: dict[str, Any] = {"kl_coef": 0.1, "nested": {"seen": [1, 2]}}


def test_what_was_saved_comes_back(tmp_path: Path) -> None:
    folder = tmp_path / "deep" / "run"
    save_checkpoint(folder, Checkpoint(7, TENSORS, COUNTERS), "print")
    found = load_checkpoint(folder, "print")
    assert found is not None
    assert (found.step, found.counters) == (7, COUNTERS)
    assert found.tensors.keys() == TENSORS.keys()
    for key, value in TENSORS.items():
        assert torch.equal(found.tensors[key], value)
        assert found.tensors[key].dtype == value.dtype
    assert set(found.part("optimizer")) == {"0.value", "0.step"}


def test_nothing_saved_is_none(tmp_path: Path) -> None:
    assert load_checkpoint(tmp_path, "print") is None


def test_a_new_checkpoint_replaces_the_old_while_its_tensors_are_in_use(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(1, TENSORS), "print")
    first = load_checkpoint(tmp_path, "print")
    assert first is not None
    save_checkpoint(tmp_path, Checkpoint(2, {key: value + 1 for key, value in first.tensors.items()}), "print")
    second = load_checkpoint(tmp_path, "print")
    assert second is not None
    assert second.step == 2
    assert torch.equal(first.tensors["optimizer/0.value"] + 1, second.tensors["optimizer/0.value"])
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_another_fingerprint_is_refused(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(1, TENSORS), "print")
    with pytest.raises(SettingsError, match="unfinished run with other settings or data"):
        load_checkpoint(tmp_path, "other")


@pytest.mark.parametrize("damage", ["cut", "empty", "not ours", "garbage"])
def test_a_damaged_file_is_named(tmp_path: Path, damage: str) -> None:
    from safetensors.torch import save_file

    save_checkpoint(tmp_path, Checkpoint(1, TENSORS), "print")
    file = tmp_path / FILE
    if damage == "not ours":
        save_file({"x": torch.ones(1)}, file)
    else:
        file.write_bytes({"cut": file.read_bytes()[:-5], "empty": b"", "garbage": b"\xff" * 100}[damage])
    with pytest.raises(StorageError, match="is damaged"):
        load_checkpoint(tmp_path, "print")


@pytest.mark.parametrize("damage", ["missing", "cut", "garbage", "unreadable"])
def test_a_damaged_shard_is_said_with_its_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, damage: str
) -> None:
    save_shards(tmp_path, 3, {key: value.contiguous() for key, value in TENSORS.items()}, COUNTERS, "print")
    found = load_checkpoint(tmp_path, "print")
    assert found is not None
    assert all(torch.equal(found.tensors[key], value) for key, value in TENSORS.items())
    [shard] = (tmp_path / "checkpoint-3").glob("*.safetensors")
    if damage == "missing":
        shard.unlink()
    elif damage == "unreadable":  # while the processes read: DCP's own exception, which is no Exception

        def fail(*_: Any, **__: Any) -> None:
            raise OSError(errno.EIO, "Input/output error")

        monkeypatch.setattr(checkpoint_shards.HuggingFaceStorageReader, "read_data", fail)
    else:
        shard.write_bytes({"cut": shard.read_bytes()[:-5], "garbage": b"\xff" * 100}[damage])
    with pytest.raises(StorageError, match=r"checkpoint-3 is damaged .*Delete it to start this stage anew") as caught:
        load_checkpoint(tmp_path, "print")
    assert "Traceback" not in str(caught.value)
    assert damage != "missing" or f"{shard.name} is missing" in str(caught.value)


@pytest.mark.parametrize(
    "error",
    [OSError(errno.ENOSPC, "No space left on device"), SafetensorError("I/O error: No space left on device")],
    ids=["os", "safetensors"],
)
def test_a_full_disk_is_said_and_leaves_the_old_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    save_checkpoint(tmp_path, Checkpoint(1, TENSORS), "print")

    def full(tensors: Any, file: Path, metadata: Any) -> None:
        file.write_bytes(b"half a file")
        raise error

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match=r"step 2 .*the disk is full.*checkpoint before it is whole"):
        save_checkpoint(tmp_path, Checkpoint(2, TENSORS), "print")
    found = load_checkpoint(tmp_path, "print")
    assert found is not None
    assert found.step == 1
    assert [file.name for file in tmp_path.iterdir()] == [FILE]


def test_a_shard_that_cannot_be_written_is_said_in_one_line(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoint_shards.HuggingFaceStorageWriter, "write_data", full)
    with pytest.raises(StorageError, match=r"step 2 .*No space left on device\. The checkpoint before") as caught:
        save_shards(tmp_path, 2, {"a": torch.ones(2)}, COUNTERS, "print")
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("checkpoint-*"))


def test_another_write_error_is_told_as_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any, **__: Any) -> None:
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(checkpoint, "save_file", refuse)
    with pytest.raises(StorageError, match="Permission denied"):
        save_checkpoint(tmp_path, Checkpoint(2, TENSORS), "print")


def test_what_a_kill_left_half_written_is_cleared_away(tmp_path: Path) -> None:
    save_checkpoint(tmp_path, Checkpoint(1, TENSORS), "print")
    (tmp_path / f".{FILE}.12345").write_bytes(b"half")
    found = load_checkpoint(tmp_path, "print")
    assert found is not None
    assert [file.name for file in tmp_path.iterdir()] == [FILE]
