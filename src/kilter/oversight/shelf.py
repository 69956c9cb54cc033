"""The studies of a workspace, looked at from outside: nothing is written, for one of them may be running."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from kilter.errors import KilterError
from kilter.oversight.kept import CASES, STUDY, TRIALS, UNREAD, study_in
from kilter.oversight.study import Study

REPORT = "report.html"
NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,59}")
BLOCK = 1 << 20


@dataclass(frozen=True)
class Shelved:
    """A study in its folder.

    Attributes:
        name: of its folder.
        study: its settings; None where they cannot be read.
        done: trials in its folder, those whose answers nobody could read included; those of people are on the record.
        planned: trials that there will be; 0 where its file of cases was not read yet.
        reported: whether its report was written.
    """

    name: str
    study: Study | None
    done: int
    planned: int
    reported: bool


def studies_in(runs: Path) -> list[Shelved]:
    """The studies in a workspace's folder of runs, by name."""
    folders = sorted(file.parent for file in runs.glob(f"*/{STUDY}") if NAME.fullmatch(file.parent.name))
    return [_shelved(folder) for folder in folders if _is_inside(folder / STUDY, runs)]


def report_in(runs: Path, name: str) -> Path | None:
    """The report of a study, or None where none was written; nothing outside of the folder is given away."""
    if not NAME.fullmatch(name):
        return None
    folder = runs / name
    page = folder / REPORT
    is_there = (folder / STUDY).is_file() and page.is_file()
    return page if is_there and _is_inside(page, runs) else None


def _shelved(folder: Path) -> Shelved:
    reported = (folder / REPORT).is_file()
    try:
        study = study_in(folder)
    except KilterError:
        return Shelved(folder.name, None, 0, 0, reported)
    cases = _lines(folder / CASES) or study.cases.n or 0
    planned = study.raters.count * (study.items_per_rater or cases)
    done = _lines(folder / TRIALS) + _lines(folder / UNREAD)
    return Shelved(folder.name, study, done, planned, reported)


def _is_inside(file: Path, runs: Path) -> bool:
    """Whether it is no link to somewhere else."""
    return file.resolve().is_relative_to(runs.resolve())


def _lines(file: Path) -> int:
    """Whole lines of a file; 0 where there is none."""
    try:
        with file.open("rb") as opened:
            return sum(block.count(b"\n") for block in iter(lambda: opened.read(BLOCK), b""))
    except OSError:
        return 0
