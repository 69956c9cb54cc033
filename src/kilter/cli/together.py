"""What changes on the command line when torchrun starts several processes: one of them talks, all of them work."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from pathlib import Path


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
