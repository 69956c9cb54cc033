"""The items on which raters differ most, with each answer: what a researcher should look at, and decide."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

from kilter.errors import DataError
from kilter.feedback.quality.aspects import Aspect, Part, aspects
from kilter.feedback.quality.basis import Basis, basis, require_work
from kilter.feedback.quality.passages import marked_texts
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Result
from kilter.settings import nearest
from kilter.stats import matched_spans


@dataclass(frozen=True)
class Disagreement:
    """One item under one question.

    Attributes:
        score: from 0, all said the same, to 1, as different as can be: the mean over pairs of raters and parts of the
            item of how far they are apart. Equal or not for names; the share of the scale for grades, strengths and
            steps; the share of pairs in another order for rankings; 1 - matched F1 for flaws.
        raters: who judged it; with two of them a score is one pair.
        answers: their results in the order of time.
        decided: what a researcher decided, if one did.
    """

    artifact: str
    item: TaskItem
    question: str
    score: float
    raters: int
    answers: tuple[Result, ...]
    decided: Result | None = None

    def as_dict(self) -> dict[str, Any]:
        """As JSON, for researchers: the item as raters see it, and who said what."""
        return {
            "item": self.artifact, "question": self.question, "score": self.score, "raters": self.raters,
            "content": self.item.body(),
            "answers": [_answer(one) for one in self.answers],
            "adjudicated": None if self.decided is None else _answer(self.decided),
        }  # fmt: skip


def _answer(one: Result) -> dict[str, Any]:
    return {
        "judgment": one.id, "judge": one.judge, "simulated": one.judgment.principal == "simulated",
        "value": one.value, "spans": one.judgment.spans, "active_ms": one.judgment.active_ms,
        "submitted": one.submitted,
    }  # fmt: skip


@dataclass(frozen=True)
class TaskDisagreements:
    """Items by how much raters differ, most first; `compared` items and questions had two raters or more."""

    basis: Basis
    found: tuple[Disagreement, ...]
    compared: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "basis": self.basis.as_dict(),
            "compared": self.compared,
            "disagreements": [one.as_dict() for one in self.found],
        }


def task_disagreements(
    task: Task,
    results: Sequence[Result],
    adjudications: Sequence[Result] = (),
    *,
    question: str | None = None,
    limit: int | None = None,
) -> TaskDisagreements:
    """The work items whose raters differ, those most apart first, and among equals those with more raters.

    Those that a researcher has decided come last. Raises `DataError` for an unknown question, and where nothing was
    judged yet.
    """
    names = [one.name for one in task.questions]
    if question is not None and question not in names:
        raise DataError(f"There is no question '{question}' in the task '{task.name}': {nearest(question, names)}")
    work = require_work(task, results)
    answers: dict[tuple[str, str], list[Result]] = {}
    for one in work:
        if question in (None, one.question):
            answers.setdefault((one.question, one.artifact), []).append(one)
    scores = _scores(task, work)
    decided = {(one.question, one.artifact): one for one in adjudications}
    shared = [
        Disagreement(key[1], given[0].item, key[0], scores[key], len(given), tuple(given), decided.get(key))
        for key, given in answers.items()
        if key in scores and len(given) > 1
    ]
    apart = (one for one in shared if one.score > 0)
    found = sorted(apart, key=lambda one: (one.decided is not None, -one.score, -one.raters))
    return TaskDisagreements(basis(task, results), tuple(found[:limit]), len(shared))


def _scores(task: Task, work: Sequence[Result]) -> dict[tuple[str, str], float]:
    """How far raters are apart, by question and artifact; questions for texts have no score."""
    apart: dict[tuple[str, str], list[float]] = {}
    for aspect in _compared(task, work):
        given: dict[tuple[str, Part], list[Hashable]] = {}
        for one in aspect.said:
            given.setdefault(one.thing, []).append(one.value)
        for (artifact, _), values in given.items():
            pairs = [distance(aspect, one, other) for one, other in combinations(values, 2)]
            if pairs:
                apart.setdefault((aspect.question, artifact), []).append(sum(pairs) / len(pairs))
    return {key: sum(means) / len(means) for key, means in apart.items()} | _passages(task, work)


def _compared(task: Task, work: Sequence[Result]) -> list[Aspect]:
    """One aspect or several of each question: strengths where there are some, for they say how far sides are apart."""
    found = [one for one in aspects(task, work) if one.compared]
    told = {one.question for one in found if not one.main}
    marked = {one.name for one in task.questions if one.type == "flaws"}
    return [one for one in found if one.question not in marked and not (one.main and one.question in told)]


def distance(aspect: Aspect, one: Any, other: Any) -> float:
    """How far two answers are apart, from 0 to 1: equal or not for names, else the share of the scale."""
    if aspect.level == "nominal":
        return float(one != other)
    low, high = aspect.scale or (-1.0, 1.0)  # steps and pairs of rankings go from -1 to 1
    return abs(float(one) - float(other)) / (high - low)


def _passages(task: Task, work: Sequence[Result]) -> dict[tuple[str, str], float]:
    """1 - F1 of matched passages, averaged over pairs of raters and responses in which somebody marked something."""
    apart: dict[tuple[str, str], list[float]] = {}
    for question in task.questions:
        if question.type != "flaws":
            continue
        own = [one for one in work if one.question == question.name]
        for (artifact, _), text in marked_texts(own).items():
            for one, other in combinations(text.marks.values(), 2):
                marked = len(one) + len(other)
                score = 1 - 2 * matched_spans(one, other) / marked if marked else 0.0
                apart.setdefault((question.name, artifact), []).append(score)
    return {key: sum(scores) / len(scores) for key, scores in apart.items()}
