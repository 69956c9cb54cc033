"""The truth and each rater's confusion matrix, estimated together: Dawid and Skene's model by EM.

    P(rater r says l | the truth is c) = confusion[r, c, l],   P(the truth is c) = prevalence[c]

Appl. Statist. 28 (1979), pp. 20-28. Items are independent, and so are raters given the truth.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.sparse import csr_matrix

from kilter.errors import DataError
from kilter.stats.aggregate import majority
from kilter.stats.bootstrap import CONFIDENCE, FloatArray, cluster_codes
from kilter.stats.estimate import Estimate
from kilter.stats.ratings import MISSING, Ratings

SMOOTHING = 0.01
"""Pseudo-count in every cell of a confusion matrix, so that a rater with few items never gets a zero."""

REFITS = 200
"""Bootstrap replicates of a model that is fitted anew each time."""

_ROUGH = 1e-5  # gain per item at which a refit stops: 1e-7 gives the same intervals


@dataclass(frozen=True)
class DawidSkene:
    """The fitted model.

    `posteriors` `[items, categories]`: probability of each true category. `prevalence` `[categories]`.
    `confusion` `[raters, truth, said]`: each rater's answers given the truth. `log_posterior`: the objective
    after each iteration, never falling.
    """

    categories: tuple[Hashable, ...]
    posteriors: FloatArray
    prevalence: FloatArray
    confusion: FloatArray
    log_posterior: tuple[float, ...]

    def accuracy(self) -> FloatArray:
        """Estimated probability that each rater names the true category `[raters]`."""
        return _accuracy(self.prevalence, self.confusion)


@dataclass(frozen=True)
class ConfusionIntervals:
    """How sure a fit is of its raters, by the bootstrap over items.

    `accuracy`: one estimate for each rater, n the items that this rater judged. `low`, `high`: 95 % bounds of
    `DawidSkene.confusion`, of the same shape. `seen` `[raters, categories]`: expected number of items of each true
    category among those that a rater judged, on which the row of the confusion matrix rests.
    """

    accuracy: tuple[Estimate, ...]
    low: FloatArray
    high: FloatArray
    seen: FloatArray


def dawid_skene(ratings: Ratings, *, max_iterations: int = 5000, tolerance: float = 1e-10) -> DawidSkene:
    """Estimate the truth and each rater's confusion matrix together by EM (Dawid and Skene 1979).

    Starts from the majority, which fixes the names of the categories. Stops when the objective per item gains
    less than `tolerance`. Raises `DataError` when the model is not identifiable (fewer than three raters, one
    category, no item with two ratings) or EM does not converge.
    """
    require_identifiable(ratings, "Dawid-Skene")
    said = _Said.of(ratings)
    return _iterate(said, np.ones(said.items), majority(ratings), ratings.categories, max_iterations, tolerance)


def confusion_intervals(
    ratings: Ratings,
    fit: DawidSkene,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REFITS,
) -> ConfusionIntervals:
    """Resample the items, fit again from where `fit` ended, and take percentiles of what comes out.

    `clusters` names for each item what it is a part of, where it is one: those are resampled then.

    Raises `DataError` when a refit does not converge.
    """
    said = _Said.of(ratings)
    rng = np.random.default_rng(seed)
    codes, count = cluster_codes(clusters, said.items)
    even = np.full(count, 1 / count)
    accuracies, confusions = [], []
    for _ in range(replicates):
        weights = rng.multinomial(count, even).astype(np.float64)[codes]
        again = _iterate(said, weights, fit.posteriors, fit.categories, 5000, _ROUGH)
        accuracies.append(again.accuracy())
        confusions.append(again.confusion)
    tails = ((1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2)
    low, high = np.quantile(np.array(confusions), tails, axis=0)
    bounds = np.quantile(np.array(accuracies), tails, axis=0)
    judged = (ratings.codes != MISSING).sum(1)
    method = f"Dawid-Skene, bootstrap of {count} items, percentile, {replicates} replicates"
    accuracy = tuple(
        Estimate(float(value), float(least), float(most), int(n), method)
        for value, least, most, n in zip(fit.accuracy(), *bounds, judged, strict=True)
    )
    seen: FloatArray = (ratings.codes != MISSING).astype(np.float64) @ fit.posteriors
    return ConfusionIntervals(accuracy, low, high, seen)


def require_identifiable(ratings: Ratings, model: str) -> None:
    """Raise `DataError`, naming the model, where nothing in the data tells one rater from another."""
    refused = f"{model} is refused: "
    if len(ratings.raters) < 3:
        count = "one rater" if len(ratings.raters) == 1 else f"{len(ratings.raters)} raters"
        raise DataError(
            f"{refused}with {count} nothing tells a careless rater from a careful one; three are the least. Use the "
            "majority."
        )
    if len(ratings.categories) < 2:
        raise DataError(f"{refused}all ratings are {ratings.categories[0]!r}, so there is nothing to tell apart.")
    if ratings.counts().sum(1).max() < 2:
        raise DataError(f"{refused}no item was judged by two raters, so raters cannot be compared.")


@dataclass(frozen=True)
class _Said:
    """1 where a rater said a category of an item, sparse: a crowd of whom each saw little costs little.

    `answers` is `[items, raters * categories]`, and `by_rater` the same turned, `[raters * categories, items]`.
    """

    answers: csr_matrix
    by_rater: csr_matrix
    raters: int
    items: int
    categories: int

    @classmethod
    def of(cls, ratings: Ratings) -> _Said:
        rater, item, category = ratings.triples()
        raters, items, categories = len(ratings.raters), len(ratings.items), len(ratings.categories)
        cells = rater * categories + category
        answers = csr_matrix((np.ones(len(item)), (item, cells)), (items, raters * categories))
        return cls(answers, answers.T.tocsr(), raters, items, categories)


def _iterate(
    said: _Said,
    weights: FloatArray,
    posteriors: FloatArray,
    categories: tuple[Hashable, ...],
    max_iterations: int,
    tolerance: float,
) -> DawidSkene:
    """EM with item weights `[items]`, from these posteriors on."""
    trace: list[float] = []
    for _ in range(max_iterations):
        prevalence, confusion = _maximize(said, posteriors * weights[:, None])
        posteriors, objective = _expect(said, weights, prevalence, confusion)
        trace.append(objective)
        if len(trace) > 1 and trace[-1] - trace[-2] < tolerance * said.items:
            return DawidSkene(categories, posteriors, prevalence, confusion, tuple(trace))
    raise DataError(
        f"Dawid-Skene did not converge in {max_iterations} iterations on {said.raters} raters and "
        f"{said.items} items. Raise max_iterations, or use the majority."
    )


def _maximize(said: _Said, mass: FloatArray) -> tuple[FloatArray, FloatArray]:
    counts = (said.by_rater @ mass).reshape(said.raters, said.categories, said.categories)
    confusion = counts.transpose(0, 2, 1) + SMOOTHING
    prevalence = mass.sum(0) + SMOOTHING
    return prevalence / prevalence.sum(), confusion / confusion.sum(2, keepdims=True)


def _expect(
    said: _Said, weights: FloatArray, prevalence: FloatArray, confusion: FloatArray
) -> tuple[FloatArray, float]:
    logs_of = np.log(confusion)
    logs = said.answers @ logs_of.transpose(0, 2, 1).reshape(-1, said.categories) + np.log(prevalence)
    logs = np.ascontiguousarray(logs.T)  # numpy is ten times as fast along the long axis
    top = logs.max(0)
    mass = np.exp(logs - top)
    total = mass.sum(0)
    prior = SMOOTHING * float(np.log(prevalence).sum() + logs_of.sum())
    posteriors: FloatArray = (mass / total).T
    return posteriors, float(weights @ (top + np.log(total))) + prior


def _accuracy(prevalence: FloatArray, confusion: FloatArray) -> FloatArray:
    shares: FloatArray = np.einsum("c,rcc->r", prevalence, confusion)
    return shares
