"""What a study keeps in its folder, so that it goes on where it was stopped: cases, critiques, trials."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from kilter.errors import DataError, StorageError
from kilter.oversight.assistance import Arm, Assistance, Claim
from kilter.oversight.experiment import Outcome
from kilter.oversight.findings import Mark, compare
from kilter.oversight.plan import Trial
from kilter.oversight.simulated_rater import Review
from kilter.oversight.study import Study
from kilter.report.files import write_atomically
from kilter.settings import build
from kilter.testbeds import Case, as_jsonl, read_cases

STUDY, CASES, CRITIQUES, TRIALS = "study.json", "cases.jsonl", "critiques.jsonl", "trials.jsonl"


class Kept:
    """The folder of a study.

    Raises:
        DataError: another study of this name is there.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        definition = study.model_dump_json(indent=1)
        file = folder / STUDY
        if not file.is_file():
            write_atomically(file, definition)
        elif json.loads(file.read_text("utf-8")) != json.loads(definition):
            raise DataError(
                f"{folder} holds another study of the name '{study.name}', with other settings. What was judged under "
                "one must not be mixed with the other: give this one a name of its own, or remove that folder."
            )

    @classmethod
    def open(cls, folder: Path) -> Kept:
        """A study that was run before; raises `DataError` where there is none."""
        file = folder / STUDY
        if not file.is_file():
            raise DataError(f"There is no study in {folder}; 'kilter oversee run FILE.yaml' makes one.")
        return cls(folder, build(Study, json.loads(file.read_text("utf-8")), str(file)))

    @property
    def study(self) -> Study:
        """As it was begun."""
        file = self.folder / STUDY
        return build(Study, json.loads(file.read_text("utf-8")), str(file))

    def cases(self, make: Iterable[Case] = ()) -> list[Case]:
        """The cases; those of `make` the first time."""
        file = self.folder / CASES
        if not file.is_file():
            write_atomically(file, as_jsonl(make))
        return read_cases(file)

    def critiques(self) -> list[Assistance]:
        """What a critic said of the first cases, as far as it came."""
        return [_assistance(row) for row in _rows(self.folder / CRITIQUES)]

    def add_critiques(self, new: Sequence[Assistance]) -> None:
        """Append what the critic said of the next cases."""
        _append(self.folder / CRITIQUES, [asdict(one) for one in new])

    def outcomes(self, cases: Sequence[Case], shown: dict[Arm, list[Assistance]]) -> list[Outcome]:
        """The trials that were done."""
        return [_outcome(row, cases, shown) for row in _rows(self.folder / TRIALS)]

    def add_outcomes(self, new: Sequence[Outcome]) -> None:
        """Append trials that were done, once they are on the record."""
        _append(self.folder / TRIALS, [_row(one) for one in new])


def _rows(file: Path) -> list[dict[str, Any]]:
    """The whole lines of a file; a last one that a stop cut off was never counted and is dropped."""
    if not file.is_file():
        return []
    whole, _, cut = file.read_bytes().rpartition(b"\n")
    if cut:
        write_atomically(file, whole.decode("utf-8") + "\n" if whole else "")
    return [json.loads(line) for line in whole.decode("utf-8").splitlines()]


def _append(file: Path, rows: Sequence[dict[str, Any]]) -> None:
    try:
        with file.open("a", encoding="utf-8") as opened:
            opened.write("".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows))
            opened.flush()
            os.fsync(opened.fileno())
    except OSError as error:
        raise StorageError(
            f"{file} cannot be written ({error.strerror}). What was judged before is kept; make room, and the same "
            "command goes on."
        ) from error


def _assistance(row: dict[str, Any]) -> Assistance:
    return Assistance(row["arm"], row["critic"], tuple(Claim(**one) for one in row["claims"]))


def _row(one: Outcome) -> dict[str, Any]:
    return {**asdict(one.trial), **asdict(one.review)}


def _outcome(row: dict[str, Any], cases: Sequence[Case], shown: dict[Arm, list[Assistance]]) -> Outcome:
    trial = Trial(row["rater"], row["item"], row["arm"], row["place"])
    alone, marks = ([Mark(**mark) for mark in row[name]] for name in ("alone", "marks"))
    case, help_ = cases[trial.item], shown[trial.arm][trial.item]
    said = Review(alone, marks, row["followed"], row["effort"])
    return Outcome(trial, case, help_, said, compare(case, alone), compare(case, marks))
