"""The processes that work on one model together: those that torchrun started, or this one alone.

All of them run the same program on the same data and differ only in their share of a step's work, so that what one
process computes, several compute too, up to rounding. What they exchange here are numbers, tensors and JSON.
"""

from __future__ import annotations

import atexit
import json
import os
import sys
from collections.abc import Callable
from typing import Any, NoReturn, TypeVar

import torch
import torch.distributed as dist
from torch import Tensor

from kilter import errors
from kilter.errors import KilterError, WorkerError

Value = TypeVar("Value")


def join() -> None:
    """Meet the other processes if torchrun started this one; on a GPU each takes its own.

    Raises:
        WorkerError: the others cannot be reached.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ or dist.is_initialized() or int(os.environ["WORLD_SIZE"]) == 1:
        return
    gpu = torch.cuda.is_available()
    if gpu:
        torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
    try:
        dist.init_process_group("cpu:gloo,cuda:nccl" if gpu else "gloo")
    except (RuntimeError, ValueError) as error:
        raise WorkerError(
            f"This process could not meet the others at {os.environ.get('MASTER_ADDR')}: {error}. Start all of them "
            "with torchrun, with the same --rdzv-endpoint, and check that this port is open between the machines."
        ) from error


def leave() -> None:
    """Part from the others at the end of the program."""
    if dist.is_initialized():
        dist.destroy_process_group()


def end(code: int) -> NoReturn:
    """End the program with this exit code; one of several processes is ended before Python takes itself down.

    gloo's threads may hold the last tensors still. One that lets go of them while the interpreter is taken down aborts
    the process, and torchrun takes that for a failure of the whole (pytorch/pytorch#179291).
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        sys.exit(code)
    leave()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def world_size() -> int:
    """How many processes work together."""
    return dist.get_world_size() if dist.is_initialized() else 1


def rank() -> int:
    """Which of them this is, from 0."""
    return dist.get_rank() if dist.is_initialized() else 0


def is_main() -> bool:
    """Whether this is the one that writes files and talks to the user."""
    return rank() == 0


def totals(*values: float) -> list[float]:
    """Sum of each value over all processes."""
    if world_size() == 1:
        return list(values)
    summed = torch.tensor(values, dtype=torch.float64)
    dist.all_reduce(summed)
    return list(summed.tolist())


def largest(value: int) -> int:
    """The largest of the processes' values."""
    if world_size() == 1:
        return value
    found = torch.tensor(value)
    dist.all_reduce(found, dist.ReduceOp.MAX)
    return int(found)


def all_reduce(tensor: Tensor) -> Tensor:
    """Sum a tensor over all processes, in place."""
    if world_size() > 1:
        dist.all_reduce(tensor)
    return tensor


def all_gather(value: Any) -> list[Any]:
    """Every process's value, in order; a value is what JSON can hold."""
    if world_size() == 1:
        return [value]
    own = torch.frombuffer(bytearray(json.dumps(value).encode()), dtype=torch.uint8)
    room = largest(len(own))
    padded = torch.full((room,), ord(" "), dtype=torch.uint8)
    padded[: len(own)] = own
    every = [torch.empty_like(padded) for _ in range(world_size())]
    dist.all_gather(every, padded)
    return [json.loads(bytes(one.tolist())) for one in every]


def on_main(compute: Callable[[], Value]) -> Value:
    """What `compute` returns on the main process, on all; what is returned must be what JSON can hold.

    Raises:
        KilterError: as on the main process.
    """
    if world_size() == 1:
        return compute()
    told: dict[str, Any] = {}
    fault: Exception | None = None
    if is_main():
        try:
            told = {"value": compute()}
            json.dumps(told)  # here, so that what cannot be told is an error on all
        except Exception as error:
            told, fault = {"error": str(error), "kind": type(error).__name__}, error
    told = all_gather(told)[0]
    if fault is not None:
        raise fault
    if "error" in told:
        raise getattr(errors, told["kind"], KilterError)(told["error"])
    return told["value"]  # type: ignore[no-any-return]


def barrier() -> None:
    """Until all processes are here."""
    if world_size() > 1:
        dist.barrier()
