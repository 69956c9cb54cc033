"""How much in dispute each item is, given who said what: which items should have their next rater first."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np

from kilter.errors import DataError
from kilter.feedback.quality.aspects import Aspect, aspects
from kilter.feedback.quality.basis import Basis, basis, require_work
from kilter.feedback.quality.disagreements import distance
from kilter.feedback.quality.models import GRADED, Fits
from kilter.feedback.tasks import Task
from kilter.feedback.work import Result


@dataclass(frozen=True)
class TaskDisputes:
    """How much in dispute the judged work items of a task are.

    Attributes:
        scores: by artifact, from 0 (settled) to 1 (open): that of the question most in dispute, averaged over the parts
            of the item. The entropy of Dawid and Skene's posterior over that of a fair draw; where no such model
            fits, how far the raters' answers are apart (as in `Disagreement.score`), of things with two raters.
        by_distance: why the second measure was taken, by question; grades always have it.
    """

    basis: Basis
    scores: dict[str, float]
    by_distance: dict[str, str]


def task_disputes(task: Task, results: Sequence[Result]) -> TaskDisputes:
    """How much in dispute each work item is that somebody has judged.

    Raises `DataError` where nothing was judged yet, and where a task asks for nothing that can be compared.
    """
    work = require_work(task, results)
    asked = [one for one in aspects(task, work) if one.main and one.compared]
    if not asked:
        raise DataError(f"The task '{task.name}' asks for texts alone, and texts cannot be told to agree or to differ.")
    most: dict[str, float] = {}
    refused: dict[str, str] = {}
    for aspect in asked:
        fits = Fits(aspect)
        reason = fits.dawid_skene_refused
        if reason is not None and reason != GRADED:
            refused[aspect.title] = reason
        for artifact, score in (_entropies(fits) if reason is None else _distances(aspect)).items():
            most[artifact] = max(score, most.get(artifact, 0.0))
    return TaskDisputes(basis(task, results), most, refused)


def _entropies(fits: Fits) -> dict[str, float]:
    """Entropy of the posterior of who is right, from 0 to 1, by artifact."""
    assert fits.dawid_skene is not None
    posteriors = np.clip(fits.dawid_skene.posteriors, 1e-300, 1.0)
    entropies = -(posteriors * np.log(posteriors)).sum(1) / math.log(posteriors.shape[1])
    parts: dict[str, list[float]] = {}
    for artifact, entropy in zip(fits.aspect.clusters(fits.ratings), entropies, strict=True):
        parts.setdefault(artifact, []).append(float(entropy))
    return {artifact: sum(found) / len(found) for artifact, found in parts.items()}


def _distances(aspect: Aspect) -> dict[str, float]:
    """Mean distance of two raters, by artifact; things that one rater judged tell none."""
    given: dict[tuple[str, tuple[int, ...]], list[Hashable]] = {}
    for one in aspect.said:
        given.setdefault(one.thing, []).append(one.value)
    parts: dict[str, list[float]] = {}
    for (artifact, _), values in given.items():
        pairs = [distance(aspect, one, other) for one, other in combinations(values, 2)]
        if pairs:
            parts.setdefault(artifact, []).append(sum(pairs) / len(pairs))
    return {artifact: sum(found) / len(found) for artifact, found in parts.items()}
