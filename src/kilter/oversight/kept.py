"""What a study keeps in its folder, so that it goes on where it was stopped: cases, critiques, trials."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, TypeVar

from kilter.errors import DataError, StorageError
from kilter.files import json_lines, read_text, write_atomically
from kilter.oversight.assistance import Arm, Assistance, Claim
from kilter.oversight.experiment import Outcome, Unread
from kilter.oversight.findings import Mark, compare
from kilter.oversight.plan import Trial
from kilter.oversight.simulated_rater import Review
from kilter.oversight.study import OF_A_TESTBED, Study, shows_critic
from kilter.settings import build
from kilter.testbeds import Case, as_jsonl, read_cases

R = TypeVar("R")
STUDY, CASES, CRITIQUES, RUN = "study.json", "cases.jsonl", "critiques.jsonl", "run.txt"
TRIALS, UNREAD = "trials.jsonl", "unread.jsonl"


class Kept:
    """The folder of a study. As long as nothing was judged its settings may still change, and its cases with them.

    Raises:
        DataError: another study of this name is there, and has begun.
        StorageError: the folder cannot be written.
    """

    def __init__(self, folder: Path, study: Study) -> None:
        self.folder = folder
        file = folder / STUDY
        if file.is_file() and study_in(folder) == study:
            return
        if any((folder / name).is_file() for name in (RUN, TRIALS)):
            raise DataError(
                f"{folder} holds another study of the name '{study.name}', with other settings. What was judged under "
                "one must not be mixed with the other: give this one a name of its own, or remove that folder."
            )
        for name in (CASES, CRITIQUES):
            (folder / name).unlink(missing_ok=True)
        write_atomically(file, study.model_dump_json(indent=1))

    @classmethod
    def open(cls, folder: Path) -> Kept:
        """A study that was run before; raises `DataError` where there is none."""
        file = folder / STUDY
        if not file.is_file():
            raise DataError(f"There is no study in {folder}; 'kilter oversee run FILE.yaml' makes one.")
        return cls(folder, build(Study, _definition(file), str(file)))

    @property
    def study(self) -> Study:
        """As it was begun."""
        return study_in(self.folder)

    def run(self, start: Callable[[], str]) -> str:
        """Id of the study's run on the record; what `start` gives, the first time."""
        file = self.folder / RUN
        if not file.is_file():
            write_atomically(file, start())
        return read_text(file)

    def keep_cases(self, cases: Iterable[Case]) -> list[Case]:
        """The cases as they were the first time; these, if this is it."""
        file = self.folder / CASES
        if not file.is_file():
            write_atomically(file, as_jsonl(cases))
        return read_cases(file)

    def cases(self) -> list[Case]:
        """The cases of the first time; raises `DataError` where it did not come to that."""
        file = self.folder / CASES
        if not file.is_file():
            raise DataError(f"Nothing of the study in {self.folder} was judged yet; 'kilter oversee run' goes on.")
        return read_cases(file)

    def critiques(self) -> list[Assistance]:
        """What a critic said of the first cases, as far as it came."""
        return _read(self.folder / CRITIQUES, _assistance)

    def add_critiques(self, new: Sequence[Assistance]) -> None:
        """Append what the critic said of the next cases."""
        _append(self.folder / CRITIQUES, [asdict(one) for one in new])

    def outcomes(self, cases: Sequence[Case], shown: dict[Arm, list[Assistance]]) -> list[Outcome]:
        """The trials that were done."""
        return _read(self.folder / TRIALS, lambda row: _outcome(row, cases, shown))

    def add_outcomes(self, new: Sequence[Outcome]) -> None:
        """Append trials that were done, once they are on the record."""
        _append(self.folder / TRIALS, [_row(one) for one in new])

    def unread(self) -> list[Unread]:
        """The trials that were done, and whose answers could not be read."""
        return _read(self.folder / UNREAD, lambda row: Unread(_trial(row), row["said"]))

    def add_unread(self, new: Sequence[Unread]) -> None:
        """Append trials whose answers could not be read, however often they were asked for."""
        if new:
            _append(self.folder / UNREAD, [{**asdict(one.trial), "said": one.said} for one in new])


def study_in(folder: Path) -> Study:
    """The study of a folder as it was begun, writing nothing; `DataError` or `SettingsError` where none can be read."""
    file = folder / STUDY
    return build(Study, _definition(file), str(file))


def _definition(file: Path) -> dict[str, Any]:
    try:
        found = json.loads(read_text(file))
    except ValueError as error:
        raise DataError(f"{file} is damaged ({error}). Remove its folder to begin the study anew.") from error
    if not isinstance(found, dict):
        raise DataError(f"{file} holds no study. Remove its folder to begin the study anew.")
    return _with_effect(found)


def _with_effect(found: dict[str, Any]) -> dict[str, Any]:
    """Without the settings that have no effect beside the others: all are kept, but to set these is an error."""
    cases, arms = found.get("cases"), found.get("arms")
    if isinstance(cases, dict) and cases.get("file") is not None:
        found["cases"] = {name: value for name, value in cases.items() if name not in OF_A_TESTBED}
    if isinstance(arms, list) and not shows_critic(arms):
        found.pop("critic", None)
    return found


def _read(file: Path, make: Callable[[dict[str, Any]], R]) -> list[R]:
    """What the whole lines of a file stand for; a last one that a stop cut off was never counted and is dropped."""
    if not file.is_file():
        return []
    whole, _, cut = file.read_bytes().rpartition(b"\n")
    if cut:
        write_atomically(file, whole.decode("utf-8") + "\n" if whole else "")
    made = []
    for number, row in json_lines(file):
        try:
            made.append(make(row))
        except (KeyError, TypeError, IndexError) as error:
            raise DataError(
                f"{file}, line {number} is not what a study keeps ({error}). Put the file back as it was, or remove "
                "its folder to begin the study anew."
            ) from error
    return made


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
    claims = tuple(Claim(**one) for one in row["claims"])
    return Assistance(row["arm"], row["critic"], claims, row["readable"], row.get("said", ""))


def _row(one: Outcome) -> dict[str, Any]:
    return {**asdict(one.trial), **asdict(one.review)}


def _trial(row: dict[str, Any]) -> Trial:
    return Trial(row["rater"], row["item"], row["arm"], row["place"])


def _outcome(row: dict[str, Any], cases: Sequence[Case], shown: dict[Arm, list[Assistance]]) -> Outcome:
    trial = _trial(row)
    alone, marks = ([Mark(**mark) for mark in row[name]] for name in ("alone", "marks"))
    case, help_ = cases[trial.item], shown[trial.arm][trial.item]
    said = Review(alone, marks, row["followed"], row["effort"])
    return Outcome(trial, case, help_, said, compare(case, alone), compare(case, marks))
