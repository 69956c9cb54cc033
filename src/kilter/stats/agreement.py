"""How far raters agree: Krippendorff's alpha, Gwet's AC1 and the raw share of agreeing pairs.

All three take items as clusters and are bootstrapped over them. A coefficient that the data leave undefined
is None with its reason, never 1: raters who all use a single category have shown no agreement beyond chance.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import REPLICATES, FloatArray, IntArray, Statistic, bootstrap, cluster_codes, kinds
from kilter.stats.estimate import Estimate, Finding
from kilter.stats.intervals import rate, wilson
from kilter.stats.ratings import MISSING, Ratings

Level = Literal["nominal", "ordinal", "interval"]


@dataclass(frozen=True)
class Agreement:
    """The three coefficients side by side, with what is needed to read them.

    `items` counts the items that two or more raters judged, and `raters` who judged one of them; only they can show
    agreement. `prevalence` is the share of each category among all their ratings: where one category dominates,
    alpha is low even for good raters, and AC1 shows it.
    """

    alpha: Finding
    ac1: Finding
    raw: Finding
    level: Level
    raters: int
    items: int
    prevalence: dict[Hashable, float]

    def as_dict(self) -> dict[str, Any]:
        """As JSON; prevalence as a list of {value, share}, because a value need not be a text."""
        return {
            "alpha": self.alpha.as_dict(), "ac1": self.ac1.as_dict(), "raw": self.raw.as_dict(), "level": self.level,
            "raters": self.raters, "items": self.items,
            "prevalence": [{"value": value, "share": share} for value, share in self.prevalence.items()],
        }  # fmt: skip


def agreement(
    ratings: Ratings,
    level: Level = "nominal",
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Agreement:
    """All coefficients of `ratings`, alpha at the given level of measurement.

    `clusters` names for each of `ratings.items` what it belongs to, where several of them are parts of one thing
    (steps of a solution, pairs of a ranking): whole clusters are resampled.
    """
    units = _pairable(ratings, clusters)
    shares = units.counts.sum(0) / max(1.0, units.counts.sum())
    return Agreement(
        alpha=krippendorff_alpha(ratings, level, clusters, seed=seed, replicates=replicates),
        ac1=gwet_ac1(ratings, clusters, seed=seed, replicates=replicates),
        raw=raw_agreement(ratings, clusters, seed=seed, replicates=replicates),
        level=level,
        raters=units.raters,
        items=len(units.counts),
        prevalence={category: float(share) for category, share in zip(ratings.categories, shares, strict=True)},
    )


def krippendorff_alpha(
    ratings: Ratings,
    level: Level,
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Finding:
    """Krippendorff's alpha, 1 - observed / expected disagreement; missing ratings allowed.

    `level` says what a difference between categories means: nominal (different or not), ordinal (how many
    ratings lie between), interval (squared difference of numbers). Source: Krippendorff, Content Analysis,
    chapter 12. Raises `DataError` for an interval level whose categories are not numbers.
    """
    units = _pairable(ratings, clusters)
    if len(units.counts) == 0:
        return Finding(None, "no item was judged by two raters")
    if np.count_nonzero(units.counts.sum(0)) < 2:
        return Finding(None, "all ratings fall into one category, so disagreement by chance cannot occur")
    alike = units.alike()
    statistic = _alpha_statistic(alike.counts, _positions(ratings, level), level)
    if np.all(_agreeing_pairs(units.counts) == 1):
        margins = units.counts.sum(0)
        chance = 1 - float((margins * (margins - 1)).sum() / (margins.sum() * (margins.sum() - 1)))
        return Finding.of(lambda: without_disagreement(chance, units.clusters, len(units.counts), f"{level} alpha"))
    return _resampled(statistic, alike, f"{level} alpha", seed, replicates)


def gwet_ac1(
    ratings: Ratings, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, replicates: int = REPLICATES
) -> Finding:
    """Gwet's AC1, steadier than alpha where one category dominates (Gwet 2008, doi 10.1348/000711006X126600).

    The categories are those that occur; chance agreement is estimated from the pairable items.
    """
    units = _pairable(ratings, clusters)
    counts = units.counts
    if len(counts) == 0:
        return Finding(None, "no item was judged by two raters")
    used = np.flatnonzero(counts.sum(0))
    if len(used) < 2:
        return Finding(None, "all ratings fall into one category, so agreement by chance is not defined")
    if np.all(_agreeing_pairs(counts) == 1):
        mean = (counts[:, used] / counts.sum(1, keepdims=True)).mean(0)
        chance = 1 - float((mean * (1 - mean)).sum() / (len(used) - 1))
        return Finding.of(lambda: without_disagreement(chance, units.clusters, len(counts), "AC1"))
    alike = units.alike()
    shares = alike.counts[:, used] / alike.counts.sum(1, keepdims=True)
    agreeing = _agreeing_pairs(alike.counts)[:, None]

    def statistic(weights: FloatArray) -> FloatArray:
        total = weights.sum(1, keepdims=True)
        prevalence = weights @ shares / total
        chance = (prevalence * (1 - prevalence)).sum(1, keepdims=True) / (len(used) - 1)
        coefficient: FloatArray = (weights @ agreeing / total - chance) / (1 - chance)
        return coefficient

    return _resampled(statistic, alike, "AC1", seed, replicates)


def raw_agreement(
    ratings: Ratings, clusters: Sequence[Hashable] | None = None, *, seed: int = 0, replicates: int = REPLICATES
) -> Finding:
    """Share of pairs of raters that agree, averaged over the items that two or more judged."""
    units = _pairable(ratings, clusters)
    if len(units.counts) == 0:
        return Finding(None, "no item was judged by two raters")
    if len(units.counts) == 1:
        return Finding(None, "only one item was judged by two raters")
    outcomes = list(_agreeing_pairs(units.counts))
    try:
        share = rate(outcomes, units.codes.tolist(), seed=seed, replicates=replicates)
    except DataError as refusal:
        return Finding(None, str(refusal))
    method = f"raw agreement, {share.method} over items"
    return Finding(Estimate(share.value, share.low, share.high, share.n, method))


def without_disagreement(chance: float, clusters: int, n: int, name: str) -> Estimate:
    """A coefficient of 1 - observed / `chance` disagreement where none was observed: 1, but how sure?

    Resampling would claim certainty. Instead the share of clusters with a disagreement is taken to be as large as
    Wilson's upper bound for 0 of them allows. Raises `DataError` for a single cluster, as resampling does.
    """
    if clusters < 2:
        raise DataError("The interval is refused: all ratings belong to one item, which says nothing of others.")
    most = wilson(0, clusters).high
    return Estimate(1.0, 1 - most / chance, 1.0, n, f"{name}, Wilson on {clusters} items without any disagreement")


@dataclass(frozen=True)
class _Pairable:
    """Items that two or more raters judged: `counts` `[items, categories]`, their clusters, and how many raters.

    Where there are `sizes`, each of the rows stands for so many equal items, each a cluster of its own.
    """

    counts: FloatArray
    codes: IntArray
    clusters: int
    raters: int
    sizes: FloatArray | None = None

    @property
    def items(self) -> int:
        """How many items there are."""
        return self.clusters if self.sizes is not None else len(self.counts)

    def alike(self) -> _Pairable:
        """The same with equal items put together, where that spares work: ten thousand items are few kinds of rows."""
        found = kinds(self.counts) if self.clusters == len(self.counts) else None
        if found is None:
            return self
        first, sizes = found
        return replace(self, counts=self.counts[first], codes=np.arange(len(first)), sizes=sizes)


def _pairable(ratings: Ratings, clusters: Sequence[Hashable] | None) -> _Pairable:
    counts = ratings.counts()
    kept = counts.sum(1) >= 2
    names = None if clusters is None else list(clusters)
    if names is not None and len(names) != len(ratings.items):
        raise DataError(f"There are {len(ratings.items)} items but {len(names)} cluster names; give one for each.")
    inside = None if names is None else [name for name, keep in zip(names, kept, strict=True) if keep]
    codes, count = cluster_codes(inside, int(kept.sum()))
    raters = int(np.any(ratings.codes[:, kept] != MISSING, axis=1).sum())
    return _Pairable(counts[kept], codes, count, raters)


def _agreeing_pairs(counts: FloatArray) -> FloatArray:
    raters = counts.sum(1)
    pairs: FloatArray = (counts * (counts - 1)).sum(1) / (raters * (raters - 1))
    return pairs


def _positions(ratings: Ratings, level: Level) -> FloatArray:
    """Where each category lies on the scale `[categories]`; used by the interval level only."""
    if level != "interval":
        return np.zeros(len(ratings.categories))
    try:
        return np.array([float(category) for category in ratings.categories])  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise DataError(
            f"Alpha at the interval level needs ratings that are numbers, not {ratings.categories[:5]!r}. "
            "Use the nominal level for names."
        ) from error


def _alpha_statistic(counts: FloatArray, positions: FloatArray, level: Level) -> Statistic:
    """Alpha as a function of item weights `[batch, items]`.

    With m ratings of an item, its pairs weigh 1 / (m - 1). A squared difference summed over all pairs of
    values is 2 * (m * sum of squares - square of the sum), which spares the coincidence matrix. The ordinal
    metric is the interval metric on mid-ranks, taken anew from each replicate's own margins.
    """
    raters = counts.sum(1)

    def nominal(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        margins = weights @ counts
        observed = weights @ ((raters**2 - (counts**2).sum(1)) / (raters - 1))
        return observed, margins.sum(1) ** 2 - (margins**2).sum(1)

    def metric(weights: FloatArray) -> tuple[FloatArray, FloatArray]:
        margins = weights @ counts
        where = positions if level == "interval" else np.cumsum(margins, axis=1) - margins / 2
        where = np.broadcast_to(where, margins.shape)
        squares = (((weights * (raters / (raters - 1))) @ counts) * where**2).sum(1)
        sums = ((weights / (raters - 1)) * (where @ counts.T) ** 2).sum(1)
        total = margins.sum(1)
        expected = 2 * (total * (margins * where**2).sum(1) - (margins * where).sum(1) ** 2)
        return 2 * (squares - sums), expected

    parts: Callable[[FloatArray], tuple[FloatArray, FloatArray]] = nominal if level == "nominal" else metric

    def statistic(weights: FloatArray) -> FloatArray:
        observed, expected = parts(weights)
        total = weights @ raters
        with np.errstate(invalid="ignore", divide="ignore"):
            alpha = 1 - (total - 1) * observed / np.where(expected > 1e-9, expected, np.nan)
        return np.asarray(alpha)[:, None]

    return statistic


def _resampled(statistic: Statistic, units: _Pairable, name: str, seed: int, replicates: int) -> Finding:
    apart = units.clusters == units.items  # spares a copy of the weights

    def clustered(weights: FloatArray) -> FloatArray:
        return statistic(weights if apart else weights[:, units.codes])

    try:
        resampled = bootstrap(
            clustered, units.clusters, seed=seed, replicates=replicates, rows=max(units.counts.shape), sizes=units.sizes
        )
        low, high = resampled.bca()
    except DataError as refusal:
        return Finding(None, str(refusal))
    method = f"{name}, {resampled.describe('BCa', units.items)} over items"
    return Finding(Estimate(float(resampled.point[0]), low, high, units.items, method))
