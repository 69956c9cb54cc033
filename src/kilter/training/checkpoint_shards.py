"""Checkpoints of several processes: PyTorch's distributed checkpoint (DCP) in safetensors files, one per process.

A checkpoint is a folder `checkpoint-STEP`, whole as soon as its header lies in it. It can be read by any number of
processes: DCP gives each its part of every tensor, however it was divided when it was written.
"""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.hf_storage import HuggingFaceStorageReader, HuggingFaceStorageWriter
from torch.distributed.checkpoint.metadata import TensorStorageMetadata
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.tensor import DTensor

from kilter.errors import StorageError
from kilter.models import processes

HEADER = "header.json"
FOLDER = "checkpoint-"


def save_shards(
    folder: Path, step: int, tensors: Mapping[str, Tensor], counters: Mapping[str, Any], fingerprint: str
) -> None:
    """Write `checkpoint-STEP` together, then its header, then drop the one before it.

    Raises:
        StorageError: a process could not write; the old checkpoint is untouched.
    """
    place = folder / f"{FOLDER}{step}"
    former = newest_shards(folder)
    if former == place:  # these very steps are kept already
        return
    if processes.is_main():  # a kill may have left another number of shards there
        shutil.rmtree(place, ignore_errors=True)
    processes.barrier()
    fault = ""
    try:
        place.mkdir(parents=True, exist_ok=True)
        writer = HuggingFaceStorageWriter(str(place), save_distributed=True)
        save(dict(tensors), storage_writer=writer)
        if processes.is_main():
            shards = sorted(one.name for one in place.glob("*.safetensors"))  # DCP reads a lost one as zeros
            _write_header(place, {"step": step, "fingerprint": fingerprint, "counters": counters, "shards": shards})
    except (OSError, CheckpointException) as error:
        fault = _words(error)
    faults = [one for one in processes.all_gather(fault) if one]
    if processes.is_main():
        if faults:
            shutil.rmtree(place, ignore_errors=True)
        elif former is not None:
            shutil.rmtree(former, ignore_errors=True)
    if faults:
        raise StorageError(
            f"The checkpoint of step {step} could not be written to {folder}: {faults[0]}. The checkpoint before it is "
            "whole; free some space and run the same command again to go on from it."
        )


def load_shards(place: Path, shards: Sequence[str], like: Callable[[str], Tensor]) -> dict[str, Tensor]:
    """The tensors of a checkpoint by name: divided where `like` that name is divided, else whole.

    Args:
        shards: the files that its header lists.

    Raises:
        ValueError: a shard is missing, or cannot be read as what it should be.
    """
    missing = [name for name in shards if not (place / name).exists()]
    if missing:
        raise ValueError(f"{', '.join(missing)} is missing")
    reader = HuggingFaceStorageReader(str(place))
    tensors: dict[str, Tensor] = {}
    for name, one in reader.read_metadata().state_dict_metadata.items():
        if not isinstance(one, TensorStorageMetadata):
            raise ValueError(f"{name} is not a tensor")
        model = like(name)
        if isinstance(model, DTensor) and model.shape == one.size:
            tensors[name] = torch.zeros_like(model, dtype=one.properties.dtype, requires_grad=False)
        else:
            tensors[name] = torch.zeros(one.size, dtype=one.properties.dtype)
    try:
        load(tensors, storage_reader=reader, no_dist=processes.world_size() == 1)
    except CheckpointException as error:  # which is no Exception
        raise ValueError(_words(error)) from error
    return tensors


def newest_shards(folder: Path) -> Path | None:
    """The folder of the last whole checkpoint, if there is one."""
    steps = [int(one.parent.name.removeprefix(FOLDER)) for one in folder.glob(f"{FOLDER}*/{HEADER}")]
    return folder / f"{FOLDER}{max(steps)}" if steps else None


def drop_shards(folder: Path) -> None:
    """Delete all checkpoints of this kind, whole or not."""
    for one in folder.glob(f"{FOLDER}*"):
        shutil.rmtree(one, ignore_errors=True)


def _words(error: OSError | CheckpointException) -> str:
    """What went wrong; DCP's own words are the traceback of every process."""
    if isinstance(error, CheckpointException):
        return "; ".join(str(one) for one, _ in error.failures.values())
    return str(error)


def _write_header(place: Path, header: Mapping[str, Any]) -> None:
    temporary = place / f".{HEADER}"
    with temporary.open("w") as stream:
        json.dump(header, stream)
        stream.flush()
        os.fsync(stream.fileno())
    temporary.replace(place / HEADER)
