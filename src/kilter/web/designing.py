"""A study from the fields of a form: every problem at its field, its power, what it takes, and its file.

Nothing is run and no file is read that a browser names: the form has no file of cases, and a model is only text.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ValidationError

from kilter.oversight.draft import MINUTES_A_LOOK, WORDS_A_MINUTE, Effort, as_file, effort_of, words_per_case
from kilter.oversight.kept import STUDY
from kilter.oversight.study import Study, cases_of, chance_with, flaws_per_case, plan_of, raters_enough
from kilter.web.figures import PATIENCE
from kilter.web.site import Site
from kilter.web.wording import texts

FIELDS = (
    "name", "cases.testbed", "cases.n", "cases.words", "cases.difficulty", "cases.flawed", "cases.view",
    "critic.kind", "critic.finds", "critic.invents", "critic.model", "critic.name", "critic.key", "critic.threshold",
    "raters.kind", "raters.count", "raters.work.sees", "raters.work.trust", "raters.model", "raters.name", "raters.key",
    "items_per_rater", "expected.ratio", "expected.power", "seed",
)  # fmt: skip
"""Settings of a study that the form has, by their paths; all others stay at their defaults."""
LIMITS: dict[str, tuple[float, float]] = {
    "cases.n": (1, 1000), "raters.count": (1, 1000), "critic.invents": (0, 20), "expected.ratio": (0.05, 20),
    "seed": (0, 2**32 - 1),
}  # fmt: skip
MOST_TRIALS = 50_000
"""That the page computes with; a file may hold more."""
SAMPLE = 60
"""Cases that are generated to see how many flaws there are; a longer list begins with the shorter one."""


@dataclass(frozen=True)
class Sample:
    """Of the first cases of a study: flaws and words per case; no flaws are 0."""

    flaws: float
    words: float


@dataclass(frozen=True)
class Chance:
    """The power, and the raters that would do where it is less than what is asked for."""

    power: float
    enough: int | None


class Figure(BaseModel):
    """A number with its name, in words, and what is to be known of it."""

    name: str
    value: str
    note: str = ""


class Designed(BaseModel):
    """What the page shows of a study.

    Attributes:
        state: of the power; with "computing", ask again.
        problems: why it is no study yet, by the path of the setting.
        said: the power, or what is to be mended, in words.
        power: None as long as it is not known.
        enough: raters that would do, where it is too small and a number is known.
        file: the YAML; None where it is no study.
    """

    state: Literal["wrong", "computing", "small", "ready"]
    said: str
    problems: dict[str, str] = {}
    power: float | None = None
    enough: int | None = None
    figures: list[Figure] = []
    name: str | None = None
    file: str | None = None


def designed(site: Site, person: str, fields: Mapping[str, str], arms: Sequence[str]) -> Designed:
    """What is known of the study that somebody designs; of each person, one is computed at a time."""
    study, problems = read_form(fields, arms)
    problems = problems if study is None else unplannable(study) | _taken(site, study)
    if study is None or problems:
        return _wrong(problems)
    cases = study.cases.model_copy(update={"n": min(_count(study), SAMPLE)})
    known = site.figures.look(
        ("design cases", person), cases.model_dump_json(), lambda: _sample(study), "design", patience=PATIENCE
    )
    if known is None or not known.fresh:
        return _computing(study)
    if known.refusal is not None:
        return _wrong({"cases.words" if study.cases.words is not None else "cases.testbed": known.refusal})
    sample: Sample = known.value
    if sample.flaws == 0:
        return _wrong({"cases.flawed": _words()["problems"]["no_flaws"]})
    chance = site.figures.look(
        ("design power", person), study.model_dump_json(), lambda: _chance(study, sample.flaws), "design",
        patience=PATIENCE,
    )  # fmt: skip
    if chance is None or not chance.fresh:
        return _computing(study)
    if chance.refusal is not None:
        return _wrong({"expected.ratio": chance.refusal})
    return _told(study, sample, chance.value)


def read_form(fields: Mapping[str, str], arms: Sequence[str]) -> tuple[Study | None, dict[str, str]]:
    """The study of a form, or None and its problems; a field without text is left to its default."""
    unknown = {name: _words()["problems"]["unknown"] for name in fields if name not in FIELDS}
    if unknown:
        return None, unknown
    tree: dict[str, Any] = {"arms": ["none", *(arm for arm in arms if arm != "none")]}
    for name, text in fields.items():
        if text.strip():
            *path, leaf = name.split(".")
            node = tree
            for part in path:
                node = node.setdefault(part, {})
            node[leaf] = text.strip()
    try:
        study = Study.model_validate(tree)
    except ValidationError as error:
        return None, {_field(one["loc"]): _in_words(one) for one in reversed(error.errors())}
    outside = {name: _outside(name) for name in LIMITS if not _is_within(study, name)}
    return (None, outside) if outside else (study, {})


def unplannable(study: Study) -> dict[str, str]:
    """Why the cases cannot be dealt to the raters, by the setting to change."""
    words, arms, cases, count = _words()["problems"], len(study.arms), _count(study), study.raters.count
    each = study.items_per_rater or cases
    found = {}
    if each > cases:
        found["items_per_rater"] = words["more_than_cases"].format(cases=cases)
    if each < arms:
        found["items_per_rater" if study.items_per_rater else "cases.n"] = words["too_few_cases"].format(arms=arms)
    if count < arms:
        found["raters.count"] = words["too_few_raters"].format(arms=arms)
    elif count * each > MOST_TRIALS:
        found["raters.count"] = words["too_many"].format(trials=f"{count * each:,}", most=f"{MOST_TRIALS:,}")
    if study.expected.ratio == 1:
        found["expected.ratio"] = words["no_ratio"]
    return found


def _taken(site: Site, study: Study) -> dict[str, str]:
    taken = site.runs is not None and (site.runs / study.name / STUDY).is_file()
    return {"name": _words()["problems"]["taken"]} if taken else {}


def _sample(study: Study) -> Sample:
    cases = cases_of(study.cases.model_copy(update={"n": min(_count(study), SAMPLE)}))
    flaws = flaws_per_case(cases) if any(one.flaws for one in cases) else 0.0
    return Sample(flaws, words_per_case(cases))


def _chance(study: Study, flaws: float) -> Chance:
    cases = _count(study)
    power = chance_with(study, flaws, plan_of(study, cases))
    if power >= study.expected.power:
        return Chance(power, None)
    most = min(LIMITS["raters.count"][1], MOST_TRIALS // (study.items_per_rater or cases))
    return Chance(power, raters_enough(study, flaws, cases, int(most)))


def _count(study: Study) -> int:
    """How many cases it has."""
    assert study.cases.n is not None  # the form has no file of cases, which alone needs no number
    return study.cases.n


def _wrong(problems: dict[str, str]) -> Designed:
    names = ", ".join(_words()["fields"].get(name, name) for name in (*FIELDS, "arms") if name in problems)
    return Designed(state="wrong", said=_words()["said"]["wrong"].format(names=names), problems=problems)


def _computing(study: Study) -> Designed:
    figures = _figures(effort_of(study, _count(study), 0), study, timed=False)
    return Designed(
        state="computing", said=_words()["said"]["computing"], figures=figures, name=study.name, file=as_file(study)
    )


def _told(study: Study, sample: Sample, chance: Chance) -> Designed:
    words, expected = _words()["said"], study.expected
    is_small = chance.power < expected.power
    said = [words["chance"].format(power=math.floor(100 * chance.power), ratio=f"{expected.ratio:g}")]
    if is_small:
        more = words["more_cases"] if chance.enough is None else words["more_raters"].format(count=chance.enough)
        said.append(words["small"].format(asked=f"{100 * expected.power:g}", more=more))
    if _count(study) > SAMPLE:
        said.append(words["sampled"].format(sample=SAMPLE, cases=f"{_count(study):,}"))
    return Designed(
        state="small" if is_small else "ready", said=" ".join(said), power=chance.power, enough=chance.enough,
        figures=_figures(effort_of(study, _count(study), sample.words), study, timed=True), name=study.name,
        file=as_file(study),
    )  # fmt: skip


def _figures(effort: Effort, study: Study, *, timed: bool) -> list[Figure]:
    words = _words()["figures"]
    shown = [
        Figure(name=words[name], value=f"{getattr(effort, name):,}") for name in ("trials", "each", "judgments")
    ]  # fmt: skip
    if timed and effort.minutes is not None:
        total, own = (_duration(minutes) for minutes in (effort.minutes, effort.minutes / study.raters.count))
        rate = words["rate"].format(words=f"{WORDS_A_MINUTE:g}", minutes=f"{MINUTES_A_LOOK:g}")
        shown.append(Figure(name=words["time"], value=words["about"].format(total=total, own=own), note=rate))
    return shown


def _duration(minutes: float) -> str:
    number, unit = (minutes / 60, "hours") if minutes >= 90 else (minutes, "minutes")
    said: str = _words()["figures"][unit].format(n=f"{number:,.0f}")
    return said


def _field(path: Sequence[int | str]) -> str:
    """The path of a setting as the form has it: without the kind that pydantic names, and a list as a whole."""
    parts = [part for part in path if isinstance(part, str)]
    if parts[:1] in (["critic"], ["raters"]):
        parts = [parts[0], *(parts[2:] or ["kind"])]
    return ".".join(parts) or "arms"  # what no setting alone is to blame for, is said of the arms


def _in_words(error: Mapping[str, Any]) -> str:
    known: str | None = _words()["problems"]["of_type"].get(error["type"])
    if known is None:
        said = str(error["msg"]).removeprefix("Value error, ")
        return f"{said[:1].upper()}{said[1:]}."
    bounds = error.get("ctx", {})
    return known.format(**{name: f"{one:g}" if isinstance(one, float) else one for name, one in bounds.items()})


def _is_within(study: Study, name: str) -> bool:
    value: Any = study
    for part in name.split("."):
        value = getattr(value, part, None)
    low, high = LIMITS[name]
    return value is None or low <= value <= high


def _outside(name: str) -> str:
    low, high = LIMITS[name]
    said: str = _words()["problems"]["outside"].format(low=f"{low:,}", high=f"{high:,}")
    return said


def _words() -> dict[str, Any]:
    found: dict[str, Any] = texts()["design"]
    return found
