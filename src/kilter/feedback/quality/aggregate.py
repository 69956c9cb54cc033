"""One answer per item from several raters: majority, posteriors of who is right, mean grades, agreed passages."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kilter.errors import DataError
from kilter.feedback.quality.aspects import Aspect, Part, aspects
from kilter.feedback.quality.basis import Basis, basis, require_work
from kilter.feedback.quality.models import Fits
from kilter.feedback.quality.passages import Passage, agreed_passages
from kilter.feedback.quality.sources import SourceStrengths, source_strengths
from kilter.feedback.tasks import Task
from kilter.feedback.work import Result
from kilter.stats import Estimate, Finding, majority, mean_grades, wilson
from kilter.stats.bootstrap import REPLICATES, FloatArray


@dataclass(frozen=True)
class Verdict:
    """What the raters of one thing say together.

    Attributes:
        artifact, part: the thing: an item, and which of its responses, steps or pairs of responses.
        raters: how many judged it.
        majority: what most of them said; None where several values were said equally often (`tied`).
        share: of the raters who said so, or one of the tied values.
        dawid_skene, glad: probability of each value; None where the model was refused.
        difficulty: by GLAD; 1 is usual, large means that raters guess.
        mean: of grades; `grade` has its interval, or why there is none. Both None for names.
        adjudicated: what a researcher decided, which takes the place of the majority; None where nobody did.
    """

    artifact: str
    part: Part
    raters: int
    majority: Hashable
    tied: tuple[Hashable, ...]
    share: Estimate
    dawid_skene: dict[Hashable, float] | None
    glad: dict[Hashable, float] | None
    difficulty: float | None
    mean: float | None
    grade: Finding | None
    adjudicated: Hashable | None = None

    @property
    def answer(self) -> Hashable | None:
        """What counts: the decision, or else the majority; None where raters are level and nobody decided."""
        return self.majority if self.adjudicated is None else self.adjudicated

    def as_dict(self) -> dict[str, Any]:
        """As JSON; values need not be texts, so posteriors are lists of {value, p}."""
        return {
            "item": self.artifact, "part": list(self.part), "raters": self.raters, "majority": self.majority,
            "tied": list(self.tied), "share": self.share.as_dict(), "dawid_skene": _listed(self.dawid_skene),
            "glad": _listed(self.glad), "difficulty": self.difficulty, "mean": self.mean,
            "grade": None if self.grade is None else self.grade.as_dict(), "adjudicated": self.adjudicated,
        }  # fmt: skip


@dataclass(frozen=True)
class AspectAggregate:
    """The verdicts on one aspect of a question, and why a model of who is right is missing."""

    question: str
    aspect: str
    unit: str
    verdicts: tuple[Verdict, ...]
    dawid_skene_refused: str | None
    glad_refused: str | None

    @property
    def title(self) -> str:
        """The question's name, and the aspect's where there are several."""
        return f"{self.question}: {self.aspect}" if self.aspect else self.question

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "question": self.question, "aspect": self.aspect, "unit": self.unit,
            "dawid_skene_refused": self.dawid_skene_refused, "glad_refused": self.glad_refused,
            "verdicts": [one.as_dict() for one in self.verdicts],
        }  # fmt: skip


@dataclass(frozen=True)
class TaskAggregate:
    """All verdicts of a task.

    Attributes:
        sources: strengths of the models that wrote the responses, by comparison or ranking question.
        sources_refused: why there are none, by question.
        passages: those that half of an item's raters marked, by question for flaws.
    """

    basis: Basis
    aspects: tuple[AspectAggregate, ...]
    sources: dict[str, SourceStrengths]
    sources_refused: dict[str, str]
    passages: dict[str, tuple[Passage, ...]]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "basis": self.basis.as_dict(),
            "aspects": [one.as_dict() for one in self.aspects],
            "sources": {name: one.as_dict() for name, one in self.sources.items()},
            "sources_refused": self.sources_refused,
            "passages": {name: [one.as_dict() for one in found] for name, found in self.passages.items()},
        }


def task_aggregate(
    task: Task,
    results: Sequence[Result],
    adjudications: Sequence[Result] = (),
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> TaskAggregate:
    """What the raters of a task say together of its work items, and what a researcher decided instead.

    Shares, models of who is right and strengths rest on the raters alone: a researcher who had seen their answers is no
    rater more. Raises `DataError` where nothing was judged yet.
    """
    work = require_work(task, results)
    sources: dict[str, SourceStrengths] = {}
    refused: dict[str, str] = {}
    for question in task.questions:
        if question.type in ("comparison", "ranking"):
            try:
                sources[question.name] = source_strengths(task, work, question.name, seed=seed, replicates=replicates)
            except DataError as refusal:
                refused[question.name] = str(refusal)
    passages = {
        question.name: tuple(agreed_passages([one for one in work if one.question == question.name]))
        for question in task.questions
        if question.type == "flaws"
    }
    decided = {(one.question, one.name): one for one in aspects(task, adjudications)}
    found = tuple(aspect_aggregate(one, decided.get((one.question, one.name))) for one in aspects(task, work))
    return TaskAggregate(basis(task, results), found, sources, refused, passages)


def aspect_aggregate(aspect: Aspect, decided: Aspect | None = None) -> AspectAggregate:
    """The verdict on each thing that an aspect is about, in the order in which things were first judged."""
    rulings = {one.thing: one.value for one in decided.said} if decided else {}
    fits = Fits(aspect)
    ratings, names = fits.ratings, fits.ratings.categories
    counts, shares = ratings.counts(), majority(ratings)
    right = None if fits.dawid_skene is None else fits.dawid_skene.posteriors
    able = None if fits.glad is None else fits.glad
    means, grades = _means(fits)
    verdicts = []
    for row, (artifact, part) in enumerate(aspect.things(ratings)):
        most = tuple(names[k] for k in np.flatnonzero(counts[row] == counts[row].max()))
        raters = int(counts[row].sum())
        verdicts.append(
            Verdict(
                artifact, part, raters, most[0] if len(most) == 1 else None, most if len(most) > 1 else (),
                wilson(float(round(shares[row].max() * raters)), raters), _posterior(names, right, row),
                _posterior(names, None if able is None else able.posteriors, row),
                None if able is None else float(able.difficulty[row]), None if means is None else float(means[row]),
                None if grades is None else grades[row], rulings.get((artifact, part)),
            )
        )  # fmt: skip
    return AspectAggregate(
        aspect.question, aspect.name, aspect.unit, tuple(verdicts), fits.dawid_skene_refused, fits.glad_refused
    )


def _means(fits: Fits) -> tuple[FloatArray | None, list[Finding] | None]:
    scale = fits.aspect.scale
    if scale is None:
        return None, None
    counts = fits.ratings.counts()
    grades = np.array([float(grade) for grade in fits.ratings.categories])  # type: ignore[arg-type]  # a scale's
    means: FloatArray = counts @ grades / counts.sum(1)
    try:
        return means, [Finding(one) for one in mean_grades(fits.ratings, scale)]
    except DataError as refusal:
        return means, [Finding(None, str(refusal))] * len(means)


def _posterior(names: Sequence[Hashable], posteriors: FloatArray | None, row: int) -> dict[Hashable, float] | None:
    if posteriors is None:
        return None
    return {name: float(p) for name, p in zip(names, posteriors[row], strict=True)}


def _listed(posterior: dict[Hashable, float] | None) -> list[dict[str, Any]] | None:
    return None if posterior is None else [{"value": value, "p": p} for value, p in posterior.items()]
