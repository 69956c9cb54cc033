"""The truth, each rater's ability and each item's difficulty, estimated together: GLAD.

    P(rater i is right about item j) = sigmoid(ability_i * easiness_j),   easiness_j = exp(e_j)

Whitehill et al., "Whose Vote Should Count More", NeurIPS 2009, with its priors: ability ~ N(1, 1), e ~ N(0, 1); a
wrong answer is any of the others with equal chance. An ability of 0 is guessing, a negative one is saying the
opposite. Two things differ from the paper.

With K > 2 categories its sigmoid makes the hardest item a coin toss, better than guessing. Here it is shifted by
log(K - 1), so that the hardest item is guessed right once in K:

    P(right) = exp(x) / (exp(x) + K - 1),   x = ability_i * easiness_j

Its EM sums out the truth only and takes the difficulties where they are most likely. There are as many of them as
items, so what they soak up never averages out: with ten raters per item, abilities came out 0.2 to 0.3 too high on
average, with 2,000 items as with 300.
Here the difficulties are summed out too, by Gauss-Hermite quadrature over their prior; what is left to climb are the
abilities and the prevalence, by L-BFGS with the exact gradient (which is EM's expected one).
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass

import numpy as np
from scipy.optimize import minimize
from scipy.sparse import csr_matrix
from scipy.stats import norm

from kilter.errors import DataError
from kilter.stats.aggregate import majority
from kilter.stats.bootstrap import CONFIDENCE, FloatArray, IntArray, cluster_codes
from kilter.stats.dawid_skene import SMOOTHING, require_identifiable
from kilter.stats.estimate import Estimate
from kilter.stats.ratings import Ratings

NODES = 21
"""Points of the quadrature over log easiness, from -7.8 to 7.8."""


@dataclass(frozen=True)
class Glad:
    """The fitted model.

    `posteriors` `[items, categories]`: probability of each true category. `prevalence` `[categories]`. `ability`: for
    each rater, in log odds at an item of difficulty 1, n the items judged. `difficulty` `[items]`: 1 / easiness, the
    exponential of its posterior mean on the log scale; 1 is usual, and large means that even able raters guess.
    `difficulty_spread` `[items]`: posterior standard deviation of its log; 1 where the raters tell nothing of it.
    """

    categories: tuple[Hashable, ...]
    posteriors: FloatArray
    prevalence: FloatArray
    ability: tuple[Estimate, ...]
    difficulty: FloatArray
    difficulty_spread: FloatArray
    log_posterior: float


def glad(ratings: Ratings, clusters: Sequence[Hashable] | None = None, *, max_iterations: int = 1000) -> Glad:
    """Estimate truth, ability and difficulty together, from the majority on, which fixes the names of the categories.

    Intervals of abilities are normal, the information estimated from the items' scores: items, not ratings, are what
    is independent; or `clusters`, named for each item, where items are parts of something.

    Raises `DataError` when the model is not identifiable (fewer than three raters, one category, no item with two
    ratings) or the climb does not end.
    """
    require_identifiable(ratings, "GLAD")
    hill = _Hill.of(ratings)
    shares = np.log(majority(ratings).mean(0) + SMOOTHING)
    start = np.r_[np.ones(hill.raters), shares - shares.mean()]
    found = minimize(hill.down, start, method="L-BFGS-B", jac=True, options={"maxiter": max_iterations})
    if not found.success:
        raise DataError(
            f"GLAD did not converge in {max_iterations} iterations on {hill.raters} raters and {hill.items} items. "
            "Raise max_iterations, or use Dawid-Skene or the majority."
        )
    ability, prevalence = hill.parts(found.x)
    joint, _ = hill.posteriors(ability, prevalence)
    nodes, eases = joint.sum(1), hill.nodes
    mean = nodes @ eases
    spread = np.sqrt(np.maximum(nodes @ eases**2 - mean**2, 0))
    return Glad(
        ratings.categories, joint.sum(2), prevalence, hill.intervals(ability, joint, clusters), np.exp(-mean), spread,
        -float(found.fun),
    )  # fmt: skip


@dataclass(frozen=True)
class _Hill:
    """The log posterior of (abilities, prevalence logits), as a function to climb, and what is needed for it.

    `judged` `[items, raters]` and `said` `[items * categories, raters]` are 1 where there is a rating, so that what
    depends on the rater and the easiness alone is computed once for each of both and not once for each rating.
    """

    rater: IntArray
    item: IntArray
    category: IntArray
    raters: int
    items: int
    categories: int
    judged: csr_matrix
    said: csr_matrix
    nodes: FloatArray
    prior: FloatArray

    @classmethod
    def of(cls, ratings: Ratings) -> _Hill:
        rater, item, category = ratings.triples()
        raters, items, categories = len(ratings.raters), len(ratings.items), len(ratings.categories)
        ones = np.ones(len(item))
        judged = csr_matrix((ones, (item, rater)), (items, raters))
        said = csr_matrix((ones, (item * categories + category, rater)), (items * categories, raters))
        nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
        prior = np.log(weights / weights.sum())
        return cls(rater, item, category, raters, items, categories, judged, said, nodes, prior)

    def parts(self, at: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Abilities and prevalence of a point."""
        ability, scores = np.split(at, [self.raters])
        prevalence = np.exp(scores - scores.max())
        return ability, prevalence / prevalence.sum()

    def posteriors(self, ability: FloatArray, prevalence: FloatArray) -> tuple[FloatArray, FloatArray]:
        """Probability of truth and ease `[items, categories, nodes]`, and each item's log-likelihood `[items]`."""
        x = ability[:, None] * np.exp(self.nodes)
        wrong = self.judged @ -np.logaddexp(x, np.log(self.categories - 1))
        right = (self.said @ x).reshape(self.items, self.categories, NODES)
        logs = wrong[:, None, :] + right + np.log(prevalence)[:, None] + self.prior
        top = logs.max((1, 2), keepdims=True)
        mass = np.exp(logs - top)
        total = mass.sum((1, 2), keepdims=True)
        return mass / total, (top + np.log(total))[:, 0, 0]

    def down(self, at: FloatArray) -> tuple[float, FloatArray]:
        """Minus the log posterior, and its gradient."""
        ability, prevalence = self.parts(at)
        joint, likelihood = self.posteriors(ability, prevalence)
        easiness = np.exp(self.nodes)
        expected = (self.judged.T @ joint.sum(1)) * self._right(ability) @ easiness
        value = likelihood.sum() - ((ability - 1) ** 2).sum() / 2 + SMOOTHING * np.log(prevalence).sum()
        slope = np.r_[
            self.said.T @ (joint @ easiness).ravel() - expected - (ability - 1),
            joint.sum((0, 2)) + SMOOTHING - (self.items + SMOOTHING * self.categories) * prevalence,
        ]
        return -float(value), -slope

    def _right(self, ability: FloatArray) -> FloatArray:
        """Probability of a right answer `[raters, nodes]`."""
        x = ability[:, None] * np.exp(self.nodes)
        right: FloatArray = np.exp(x - np.logaddexp(x, np.log(self.categories - 1)))
        return right

    def intervals(
        self, ability: FloatArray, joint: FloatArray, clusters: Sequence[Hashable] | None
    ) -> tuple[Estimate, ...]:
        """Abilities with normal intervals, from the sandwich of the items' and the clusters' score products.

        Without clusters the two are one, and the sandwich is the inverse of the information.
        """
        codes, count = cluster_codes(clusters, self.items)
        surplus = joint[self.item, self.category] - joint.sum(1)[self.item] * self._right(ability)[self.rater]
        scores = surplus @ np.exp(self.nodes)
        bread, filling = (
            csr_matrix((scores, (rows[self.item], self.rater)), (number, self.raters))
            for rows, number in ((np.arange(self.items), self.items), (codes, count))
        )
        prior = np.eye(self.raters)
        inverse = np.linalg.inv((bread.T @ bread).toarray() + prior)
        covariance = inverse @ ((filling.T @ filling).toarray() + prior) @ inverse
        half = norm.ppf((1 + CONFIDENCE) / 2) * np.sqrt(np.diag(covariance))
        judged = np.bincount(self.rater, minlength=self.raters)
        method = f"GLAD, normal interval from the scores of {count} items"
        return tuple(
            Estimate(float(value), float(value - wide), float(value + wide), int(n), method)
            for value, wide, n in zip(ability, half, judged, strict=True)
        )
