"""The report of a study: one HTML page, and summary.json beside it."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from kilter.files import write_atomically
from kilter.oversight.account import EFFORT, account_of, notices
from kilter.oversight.assistance import Arm
from kilter.oversight.conduct import Conducted
from kilter.oversight.results import Results
from kilter.oversight.skill_map import SKILLS, TRUSTS, Cell, skill_map
from kilter.oversight.study import SimulatedRatersSettings
from kilter.record import environment
from kilter.report import Headline
from kilter.report.page import as_yaml, set_page
from kilter.stats import Estimate

WHO = {"simulated": "simulated raters", "model": "prompted models", "people": "people"}
ARM_NAMES: dict[Arm, str] = {
    "none": "No help", "critiques": "Critiques", "placebo": "Placebo", "misleading": "Misleading", "oracle": "Oracle",
}  # fmt: skip
ARM_TEXTS: dict[Arm, str] = {
    "none": "a second look alone",
    "critiques": "the critic's claims about the item",
    "placebo": "the critic's claims about another item",
    "misleading": "claims that vouch for what is wrong and call right passages wrong",
    "oracle": "every planted flaw with its reference note, and nothing else",
}


@dataclass(frozen=True)
class Found:
    """Shares found of one kind of flaw, with the arm; None where no such flaw was judged in it."""

    kind: str
    by_arm: tuple[tuple[Arm, Estimate | None], ...]


@dataclass(frozen=True)
class Written:
    """What was written: the page's path, and what summary.json holds."""

    page: Path
    summary: dict[str, Any]


def write_page(done: Conducted, results: Results) -> Written:
    """Write `report.html` and `summary.json` into the study's folder.

    Raises:
        StorageError: the folder cannot be written.
    """
    maps = _maps(done)
    summary = {
        "study": done.study.name,
        "raters": done.study.raters.kind,
        "trials": len(done.outcomes),
        "planned": done.planned,
        "unread": len(done.unread),
        "power": done.power,
        **results.as_dict(),
        "skill_maps": {arm: [one.as_dict() for one in cells] for arm, cells in maps.items()},
    }
    write_atomically(done.folder / "summary.json", json.dumps(summary, indent=1))
    page = done.folder / "report.html"
    write_atomically(page, render(done, results, maps))
    return Written(page, summary)


def render(done: Conducted, results: Results, maps: Mapping[Arm, Sequence[Cell]]) -> str:
    """The page as text; every string is escaped."""
    study, who = done.study, WHO[done.study.raters.kind]
    return set_page(
        Path(__file__).parent / "study.html", f"Help: {study.name}",
        study=study, who=who, power=done.power, cases=done.cases, critic=results.critic,
        notices=notices(done), account=account_of(done), effort=EFFORT[study.raters.kind],
        opening=opening(results, who), headlines=headlines(results), arms=results.arms,
        names=ARM_NAMES, texts=ARM_TEXTS, kinds=by_kind(results, "by_type"), severities=by_kind(results, "by_severity"),
        skills=SKILLS, trusts=TRUSTS, maps={arm: _table(cells) for arm, cells in maps.items()},
        judgments=2 * len(done.outcomes), settings=as_yaml(study.model_dump(mode="json")),
        commit=str(environment()["code"].get("commit", "unknown")), sample=_sample(done),
    )  # fmt: skip


def opening(results: Results, who: str) -> str:
    """The result in a sentence or two, with the interval; what cannot be said is not."""
    helped = [arm for arm in results.arms if arm != "none"]
    arm: Arm = "critiques" if "critiques" in helped else helped[0]
    one = results.arms[arm]
    ratio = one.effect.ratio.estimate if one.effect.ratio else None
    if ratio is None:
        return f"Whether help was worth anything cannot be said: {one.effect.ratio.reason if one.effect.ratio else ''}"
    more = "clearly more" if ratio.low > 1 else "clearly less" if ratio.high < 1 else "not clearly more or less"
    false = one.effect.false_ratio.estimate if one.effect.false_ratio else None
    said = (
        f"With {ARM_NAMES[arm].lower()}, {who} found {ratio.value:.2f} [{ratio.low:.2f}, {ratio.high:.2f}] times the "
        f"planted flaws that they found with no help: {more}. "
    )
    if false is None:
        return said + "How many right passages they marked cannot be compared."
    harm = "more" if false.low > 1 else "fewer" if false.high < 1 else "not clearly more or fewer"
    return said + (
        f"They marked {false.value:.2f} [{false.low:.2f}, {false.high:.2f}] times as many right passages as wrong: "
        f"{harm}."
    )


def headlines(results: Results) -> list[Headline]:
    """The rate ratio of each arm, on one scale."""
    ratios = [(name, one.effect.ratio.estimate) for name, one in results.arms.items() if one.effect.ratio is not None]
    known = [(name, ratio) for name, ratio in ratios if ratio is not None]
    if not known:
        return []
    span = (0.0, max(2.0, *(ratio.high for _, ratio in known)))
    return [
        Headline(ARM_NAMES[name], ratio, "", ARM_TEXTS[name], span, 1.0, "no effect") for name, ratio in known
    ]  # fmt: skip


def by_kind(results: Results, what: Literal["by_type", "by_severity"]) -> list[Found]:
    """A row for each type (or severity) of flaw, a column for each arm."""
    tables: dict[Arm, dict[str, Estimate]] = {arm: getattr(one, what) for arm, one in results.arms.items()}
    kinds = sorted({kind for table in tables.values() for kind in table})
    return [Found(kind, tuple((arm, table.get(kind)) for arm, table in tables.items())) for kind in kinds]


def _table(cells: Sequence[Cell]) -> dict[tuple[float, float], Estimate]:
    return {(one.skill, one.trust): one.gain for one in cells}


def _maps(done: Conducted) -> dict[Arm, list[Cell]]:
    """Of simulated raters only: nobody knows how well people see."""
    raters = done.study.raters
    if not isinstance(raters, SimulatedRatersSettings):
        return {}
    arms: tuple[Arm, ...] = ("critiques", "misleading")
    return {arm: skill_map(done.cases, done.shown[arm], raters.work, done.study.seed, done.study.cases.view)
            for arm in arms if arm in done.shown}  # fmt: skip


def _sample(done: Conducted) -> dict[str, Any] | None:
    """One case with what each arm showed with it: the first that has a flaw."""
    number = next((number for number, case in enumerate(done.cases) if case.flaws), None)
    if number is None:
        return None
    case = done.cases[number]
    helped = {arm: given[number].claims for arm, given in done.shown.items() if arm != "none"}
    return {"case": case, "flaws": [(case.response[one.start : one.end], one) for one in case.flaws], "helped": helped}
