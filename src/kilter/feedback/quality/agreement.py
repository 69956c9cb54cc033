"""How far the raters of a task agree, question by question, at the level that fits each."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

from kilter.feedback.quality.aspects import Aspect, aspects, same_level
from kilter.feedback.quality.basis import Basis, basis, require_work
from kilter.feedback.quality.passages import marked_texts
from kilter.feedback.tasks import Question, Task
from kilter.feedback.work import Result
from kilter.stats import (
    Agreement,
    Level,
    RankAgreement,
    Ranking,
    SpanAgreement,
    agreement,
    rank_agreement,
    span_agreement,
)
from kilter.stats.bootstrap import REPLICATES

NO_TEXTS = "texts have no agreement to measure: no two good ones are the same; ask for a rating or comparison of them"


@dataclass(frozen=True)
class AspectAgreement:
    """Agreement on one aspect of a question: `coefficients.items` are things of the kind `unit`, not whole items."""

    question: str
    aspect: str
    unit: str
    coefficients: Agreement

    @property
    def title(self) -> str:
        """The question's name, and the aspect's where there are several."""
        return f"{self.question}: {self.aspect}" if self.aspect else self.question

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"question": self.question, "aspect": self.aspect, "unit": self.unit, **self.coefficients.as_dict()}


@dataclass(frozen=True)
class TaskAgreement:
    """All that can be said of the agreement in a task.

    Attributes:
        aspects: coefficients of everything that can be equal or different.
        rankings: Kendall's tau, by the names of ranking questions.
        passages: agreement on marked passages, by the names of questions for flaws.
        refused: why a question has no agreement at all, by its name.
    """

    basis: Basis
    aspects: tuple[AspectAgreement, ...]
    rankings: dict[str, RankAgreement]
    passages: dict[str, SpanAgreement]
    refused: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "basis": self.basis.as_dict(),
            "aspects": [one.as_dict() for one in self.aspects],
            "rankings": {name: one.as_dict() for name, one in self.rankings.items()},
            "passages": {name: one.as_dict() for name, one in self.passages.items()},
            "refused": self.refused,
        }


def task_agreement(
    task: Task,
    results: Sequence[Result],
    *,
    level: Level | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> TaskAgreement:
    """Agreement on the work items of a task; items are resampled whole, with all their steps, pairs and responses.

    `level` replaces "ordinal" for grades, strengths, steps and pairs of rankings. Raises `DataError` where nothing was
    judged yet.
    """
    work = require_work(task, results)
    options: dict[str, Any] = {"seed": seed, "replicates": replicates}
    found = [same_level(one, level) for one in aspects(task, work) if one.compared]
    by_question = {question.name: [one for one in work if one.question == question.name] for question in task.questions}
    return TaskAgreement(
        basis(task, results),
        tuple(_measured(one, options) for one in found),
        {
            one.name: rank_agreement(_rankings(by_question[one.name]), **options)
            for one in task.questions
            if one.type == "ranking"
        },
        {
            one.name: span_agreement(list(marked_texts(by_question[one.name]).values()), **options)
            for one in task.questions
            if one.type == "flaws"
        },
        {one.name: why for one in task.questions if (why := _refusal(one, by_question[one.name]))},
    )


def _measured(aspect: Aspect, options: dict[str, Any]) -> AspectAgreement:
    ratings = aspect.ratings()
    found = agreement(ratings, aspect.level, aspect.clusters(ratings), **options)
    return AspectAgreement(aspect.question, aspect.name, aspect.unit, found)


def _rankings(results: Sequence[Result]) -> dict[Hashable, dict[Hashable, Ranking]]:
    found: dict[Hashable, dict[Hashable, Ranking]] = {}
    for one in results:
        found.setdefault(one.artifact, {})[one.judge] = one.value
    return found


def _refusal(question: Question, results: Sequence[Result]) -> str | None:
    if question.type == "text":
        return NO_TEXTS
    return None if results else "nobody has answered it yet"
