"""Jobs that a worker of the tests' cluster can import, and fast: nothing here needs torch."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from kilter.errors import DataError


def double(data: int) -> int:
    return 2 * data


def where(data: int) -> list[int | str]:
    return [os.getpid(), os.getcwd()]


def late_first(data: dict[str, Any]) -> int:
    """The first part waits until the last one has left its file, so that they end in another order."""
    folder, number, last = Path(data["folder"]), data["number"], data["last"]
    while number == 0 and not (folder / str(last)).exists():
        pass
    (folder / str(number)).touch()
    return number


def die(data: dict[str, Any]) -> int:
    """Kill the worker in the middle, as often as `times` says; each attempt leaves a line."""
    log = Path(data["log"])
    attempts = log.read_text().count("\n") if log.exists() else 0
    with log.open("a") as stream:
        stream.write(f"{os.getpid()}\n")
    if attempts < data["times"]:
        os.kill(os.getpid(), signal.SIGKILL)
    return data["value"]


def refuse(data: int) -> int:
    if data == 1:
        raise DataError("It holds nothing.")
    return data


def fault(data: int) -> int:
    return 1 // (data - 1)
