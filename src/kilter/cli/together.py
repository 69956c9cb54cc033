"""What changes on the command line when torchrun starts several processes: one of them talks, all of them work."""

from __future__ import annotations

import hashlib
import os
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stderr, redirect_stdout, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any, NoReturn

PATIENCE = 10.0
"""Seconds that the other processes wait for the main one to say what they would say."""


def started() -> bool:
    """Whether torchrun started this process as one of several."""
    return "TORCHELASTIC_RUN_ID" in os.environ and os.environ.get("WORLD_SIZE", "1") != "1"


def which() -> str:
    """How an error message says whose it is; nothing for the main process."""
    return f" (process {os.environ['RANK']})" if started() and os.environ["RANK"] != "0" else ""


@contextmanager
def working() -> Iterator[None]:
    """Meet the other processes for the length of the block; only the main one writes to the terminal.

    Raises:
        WorkerError: the others cannot be reached.
    """
    if not started():
        yield
        return
    from kilter.models import processes

    processes.join()
    try:
        if processes.is_main():
            yield
        else:
            with Path(os.devnull).open("w") as nowhere, redirect_stdout(nowhere):
                yield
        sys.stdout.flush()
    finally:
        processes.leave()


def end(code: int) -> NoReturn:
    """End the program with this exit code."""
    if not started():
        sys.exit(code)
    from kilter.models import processes

    processes.end(code)


@contextmanager
def said_once(message: str) -> Iterator[None]:
    """Let one process alone write to the terminal in this block where all end with `message`, the main one.

    They agree by way of torchrun's store and not with one another, because the others may be anywhere: what the main
    process does not say within `PATIENCE`, another says itself.
    """
    if not started():
        yield
        return
    key, main = f"kilter/{hashlib.sha256(message.encode()).hexdigest()}", os.environ["RANK"] == "0"
    if not main and _appears(key):
        with Path(os.devnull).open("w") as nowhere, redirect_stderr(nowhere):
            yield
    else:
        yield
    if main:  # not before: when the first process has ended, torchrun ends the others
        with suppress(RuntimeError):
            _store().set(key, "said")


def _appears(key: str) -> bool:
    """Whether it is in torchrun's store within `PATIENCE`; the store's own wait would log that it was in vain."""
    with suppress(RuntimeError):
        store, end = _store(), time.monotonic() + PATIENCE
        while time.monotonic() < end:
            if store.check([key]):
                return True
            time.sleep(0.05)
    return False


def _store() -> Any:
    from torch.distributed import TCPStore  # type: ignore[attr-defined]

    address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
    return TCPStore(address, port, is_master=False, wait_for_workers=False, timeout=timedelta(seconds=PATIENCE))
