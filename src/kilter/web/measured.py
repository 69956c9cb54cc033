"""What the pages show of quality: computed from the desk with fewer replicates than the commands take, and kept."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass

from kilter.errors import DataError
from kilter.feedback.quality import (
    AspectAggregate,
    Disagreement,
    OwnQuality,
    TaskAggregate,
    TaskAgreement,
    TaskDisagreements,
    TaskRaters,
    own_quality,
    task_aggregate,
    task_agreement,
    task_disagreements,
    task_raters,
)
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Rater, Result
from kilter.web.figures import PATIENCE, Known
from kilter.web.site import Site

REPLICATES, RATER_REPLICATES, REFITS = 500, 200, 40
"""Of each number of the task, of each of each rater, and fits of Dawid and Skene's model; the commands take more."""
STRENGTH_REPLICATES = 200
"""Replicates of the models' strengths, of which each is a fit."""


@dataclass(frozen=True)
class TaskQuality:
    """A task's numbers."""

    agreement: TaskAgreement
    raters: TaskRaters
    aggregate: TaskAggregate


@dataclass(frozen=True)
class Summary:
    """Verdicts on one aspect, counted.

    Attributes:
        things: items, responses, steps or pairs that were judged.
        unanimous, tied: of those that two raters or more judged.
        shared: how many these are.
        adjudicated: decided by a researcher.
        overruled: of them, where most raters had said something else.
        answers: how often each answer counts in the end, the commonest first.
        mean: of grades, over all things; None for names.
        otherwise: where Dawid and Skene's model holds another answer likelier than the majority; None without it.
    """

    aspect: AspectAggregate
    things: int
    shared: int
    unanimous: int
    tied: int
    adjudicated: int
    overruled: int
    answers: tuple[tuple[Hashable, int], ...]
    mean: float | None
    otherwise: int | None


@dataclass(frozen=True)
class Contested:
    """An item that raters differ about, under one question or several; `score` is the largest."""

    artifact: str
    item: TaskItem
    score: float
    questions: tuple[Disagreement, ...]


def quality_key(task: str) -> tuple[str, ...]:
    """The name of a task's figures."""
    return "quality", task


def disagreements_key(task: str) -> tuple[str, ...]:
    """The name of a task's disagreements."""
    return "disagreements", task


def own_key(task: str, rater: Rater) -> tuple[str, ...]:
    """The name of a rater's own figures."""
    return "own", task, rater.id


def quality(site: Site, task: Task) -> Known | None:
    """`TaskQuality` as far as it is known."""
    desk = site.desk

    def compute() -> TaskQuality:
        said = desk.results(task.name)
        return TaskQuality(
            task_agreement(task, said, replicates=REPLICATES),
            task_raters(task, said, desk.asides(task.name), replicates=RATER_REPLICATES, refits=REFITS),
            task_aggregate(task, said, desk.adjudications(task.name), replicates=STRENGTH_REPLICATES),
        )

    return site.figures.look(quality_key(task.name), desk.stamp(task.name), compute, patience=PATIENCE)


def own(site: Site, task: Task, rater: Rater, patience: float) -> Known | None:
    """`OwnQuality` as far as it is known after some seconds."""
    desk = site.desk

    def compute() -> OwnQuality:
        said, left = desk.results(task.name), desk.asides(task.name)
        return own_quality(task, said, left, rater.judge, replicates=RATER_REPLICATES)

    return site.figures.look(own_key(task.name, rater), desk.stamp(task.name), compute, patience=patience)


def disagreements(site: Site, task: Task) -> Known | None:
    """`TaskDisagreements` as far as they are known; decisions are read anew for each page."""
    desk = site.desk

    def compute() -> TaskDisagreements:
        return task_disagreements(task, desk.results(task.name))

    return site.figures.look(
        disagreements_key(task.name), desk.stamp(task.name), compute, lane="quick", patience=PATIENCE
    )


def contested(found: TaskDisagreements, decided: list[Result], question: str | None) -> tuple[list[Contested], int]:
    """The items to decide, those most apart first and decided ones last; and how many are decided."""
    rulings = {(one.artifact, one.question) for one in decided}
    by_item: dict[str, list[Disagreement]] = {}
    for one in found.found:
        if question in (None, one.question):
            by_item.setdefault(one.artifact, []).append(one)
    items = [Contested(name, own[0].item, max(one.score for one in own), tuple(own)) for name, own in by_item.items()]
    done = {one.artifact for one in items if all((one.artifact, each.question) in rulings for each in one.questions)}
    return sorted(items, key=lambda one: (one.artifact in done, -one.score)), len(done)


def summary(aspect: AspectAggregate) -> Summary:
    """The verdicts of one aspect, counted."""
    verdicts = aspect.verdicts
    shared = [one for one in verdicts if one.raters > 1]
    decided = [one for one in verdicts if one.adjudicated is not None]
    answers = Counter(one.answer for one in verdicts if one.answer is not None)
    means = [one.mean for one in verdicts if one.mean is not None]
    modeled = [one for one in verdicts if one.dawid_skene is not None]
    otherwise = sum(
        one.majority is not None and max(one.dawid_skene, key=one.dawid_skene.__getitem__) != one.majority
        for one in modeled if one.dawid_skene
    )  # fmt: skip
    return Summary(
        aspect, len(verdicts), len(shared), sum(one.share.value == 1 for one in shared),
        sum(bool(one.tied) for one in shared), len(decided), sum(one.adjudicated != one.majority for one in decided),
        tuple(answers.most_common(6)), sum(means) / len(means) if means else None, otherwise if modeled else None,
    )  # fmt: skip


def require_rater(found: TaskQuality, judge: str) -> None:
    """Raise `DataError` where nobody of this name has judged."""
    if found.raters.rater(judge) is None:
        raise DataError(f"Nobody called '{judge}' has judged a work item of this task as of these figures.")
