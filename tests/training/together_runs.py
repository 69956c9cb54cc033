"""Tiny training runs by several processes: `torchrun together_runs.py BASE FOLDER STOP ALGORITHM...`.

Each algorithm trains into a folder of its name; with STOP above 0 all processes leave it in the middle of the step of
that number, as if they had been killed.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import tiny_runs

from kilter.models import processes
from kilter.training import loop as loops


class Stopped(Exception):
    """Every process leaves the run here."""


def stop_at(number: int) -> None:
    """Let every run end with `Stopped` when it logs the step of this number."""
    plain = loops.Loop.log

    def log(loop: loops.Loop, metrics: Any, step: int) -> None:
        if step == number:
            raise Stopped
        plain(loop, metrics, step)

    loops.Loop.log = log  # type: ignore[method-assign]


def main() -> None:
    base, folder, stop = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    processes.join()
    if stop:
        stop_at(stop)
    for algorithm in sys.argv[4:]:
        try:
            tiny_runs.run(algorithm, base, folder / algorithm)
        except Stopped:
            continue
    processes.end(0)


if __name__ == "__main__":
    main()
