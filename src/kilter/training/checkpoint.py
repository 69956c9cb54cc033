"""Checkpoints: one safetensors file, replaced atomically; no pickle. Of several processes each writes its shards.

A checkpoint holds everything a run needs to go on as if it had never stopped: weights, optimizer, step and counters.
Random numbers and data order are functions of the seed and the step (`seeds.py`), so they need no state.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kilter.errors import SettingsError, StorageError
from kilter.models import processes
from kilter.training.checkpoint_shards import HEADER, drop_shards, load_shards, newest_shards, save_shards

FILE = "checkpoint.safetensors"


@dataclass
class Checkpoint:
    """State after `step` finished steps."""

    step: int
    tensors: dict[str, Tensor]
    counters: dict[str, Any] = field(default_factory=dict)

    def part(self, name: str) -> dict[str, Tensor]:
        """The tensors saved under `name/`, without that prefix."""
        return {key[len(name) + 1 :]: value for key, value in self.tensors.items() if key.startswith(f"{name}/")}


def save_checkpoint(folder: Path, checkpoint: Checkpoint, fingerprint: str) -> None:
    """Write to a temporary file beside the old checkpoint, flush it to disk, and put it in its place.

    Raises:
        StorageError: the disk is full or not writable; the old checkpoint is untouched.
    """
    if processes.world_size() > 1:
        save_shards(folder, checkpoint.step, checkpoint.tensors, checkpoint.counters, fingerprint)
        (folder / FILE).unlink(missing_ok=True)
        return
    temporary = folder / f".{FILE}.{os.getpid()}"
    header = {
        "kilter": json.dumps({"step": checkpoint.step, "fingerprint": fingerprint, "counters": checkpoint.counters})
    }
    try:
        folder.mkdir(parents=True, exist_ok=True)
        save_file({key: value.contiguous() for key, value in checkpoint.tensors.items()}, temporary, metadata=header)
        with temporary.open("rb+") as stream:
            os.fsync(stream.fileno())
        temporary.replace(folder / FILE)
        drop_shards(folder)
    except (OSError, SafetensorError) as error:
        temporary.unlink(missing_ok=True)
        full = getattr(error, "errno", None) == errno.ENOSPC or "No space" in str(error)
        raise StorageError(
            f"The checkpoint of step {checkpoint.step} could not be written to {folder}: "
            f"{'the disk is full' if full else error}. The checkpoint before it is whole; free some space and run the "
            "same command again to go on from it."
        ) from error


def _undivided(name: str) -> Tensor:
    return torch.empty(0)


def load_checkpoint(folder: Path, fingerprint: str, like: Callable[[str], Tensor] = _undivided) -> Checkpoint | None:
    """The last checkpoint in `folder`, or None; of any number of processes, for any number of them.

    Args:
        like: for a saved tensor's name, one that is divided over the processes as it shall be.

    Raises:
        SettingsError: it was made with other settings or data.
        StorageError: the file is damaged, or one of several is missing.
    """
    file = folder / FILE
    if processes.is_main():
        for leftover in folder.glob(f".{FILE}.*"):
            leftover.unlink(missing_ok=True)
    processes.barrier()
    try:
        shards = newest_shards(folder)
        if shards is not None:
            header = json.loads((shards / HEADER).read_text())
        elif file.exists():
            with safe_open(file, "pt") as opened:
                header = json.loads(opened.metadata()["kilter"])
        else:
            return None
        if header["fingerprint"] != fingerprint:
            raise SettingsError(
                f"{folder} holds an unfinished run with other settings or data. Run it again with the settings it was "
                "started with, or give another output folder (output=FOLDER), or delete this one."
            )
        tensors = _read(file) if shards is None else load_shards(shards, header["shards"], like)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StorageError(
            f"The checkpoint {shards or file} is damaged ({error}). Delete it to start this stage anew; earlier stages "
            "stay."
        ) from error
    return Checkpoint(header["step"], tensors, header["counters"])


def drop_checkpoint(folder: Path) -> None:
    """Delete what a finished run no longer needs."""
    if processes.is_main():
        (folder / FILE).unlink(missing_ok=True)
        drop_shards(folder)


def _read(file: Path) -> dict[str, Tensor]:
    with safe_open(file, "pt") as opened:
        return {key: opened.get_tensor(key).clone() for key in opened.keys()}  # noqa: SIM118
