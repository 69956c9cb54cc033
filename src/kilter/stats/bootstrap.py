"""The bootstrap that every interval of this room is built on.

Resampling clusters with replacement is the same as giving each cluster a multinomial count, so a statistic is
written once as a function of weights `[batch, clusters]` and evaluated for thousands of replicates in a few
matrix products. The same function at weight one is the point estimate, and with one cluster left out it is
the jackknife that the BCa interval needs.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy.stats import norm

from kilter.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]

Statistic = Callable[[FloatArray], FloatArray]
"""Weights `[batch, clusters]` to statistics `[batch, columns]`; NaN where a statistic is undefined."""

CONFIDENCE = 0.95
REPLICATES = 2000

_CELLS = 4_000_000  # weights held at once: 32 MB of float64
_JACKKNIFE_GROUPS = 500
_MANY = 2000  # clusters from which on it pays to look for equal ones
_TOLERATED = 0.05  # share of replicates in which a statistic may be undefined


@dataclass(frozen=True)
class Bootstrap:
    """The distribution of `columns` statistics under resampling of clusters.

    `point` is `[columns]`, `draws` is `[replicates, columns]`.
    """

    statistic: Statistic
    clusters: int
    point: FloatArray
    draws: FloatArray
    rows: int
    sizes: FloatArray | None = None

    def bca(self, column: int = 0) -> tuple[float, float]:
        """Bias-corrected and accelerated interval (Efron 1987), for statistics with a skewed distribution."""
        draws = self._usable(column)
        point = self.point[column]
        below = np.mean(draws < point) + 0.5 * np.mean(draws == point)
        bias = norm.ppf(np.clip(below, 0.5 / len(draws), 1 - 0.5 / len(draws)))
        shifted = bias + norm.ppf(_tails())
        scale = 1 - self._acceleration(column) * shifted
        tails = norm.cdf(bias + shifted / scale) if np.all(scale > 0) else _tails()
        low, high = np.quantile(draws, tails)
        return float(low), float(high)

    def basic(self, column: int = 0) -> tuple[float, float]:
        """Percentiles reflected about the estimate, for statistics that resampling itself biases."""
        low, high = np.quantile(self._usable(column), _tails())
        return float(2 * self.point[column] - high), float(2 * self.point[column] - low)

    def describe(self, kind: str, rows: int | None = None) -> str:
        """The words for an estimate's `method`; `rows` is the number of observations in the clusters."""
        what = "bootstrap" if rows is None or rows == self.clusters else f"bootstrap of {self.clusters} clusters"
        return f"{what}, {kind}, {len(self.draws)} replicates"

    @cached_property
    def _left_out(self) -> FloatArray:
        """The statistics without each cluster in turn, or without each of 500 groups where there are more.

        A group's influence is the sum of its members', so the acceleration keeps its formula.
        """
        if self.sizes is not None:  # one of each kind
            return self.statistic(self.sizes - np.eye(len(self.sizes)))
        groups = min(self.clusters, _JACKKNIFE_GROUPS)
        group_of = np.arange(self.clusters) % groups
        step = max(1, _CELLS // max(self.rows, self.clusters))
        parts = []
        for start in range(0, groups, step):
            out = np.arange(start, min(start + step, groups))
            parts.append(self.statistic((group_of != out[:, None]).astype(np.float64)))
        return np.concatenate(parts)

    def _acceleration(self, column: int) -> float:
        values = self._left_out[:, column]
        kept = np.isfinite(values)
        times = (np.ones(len(values)) if self.sizes is None else self.sizes)[kept]
        gaps = np.average(values[kept], weights=times) - values[kept]
        spread = float(times @ gaps**2)
        return float(times @ gaps**3) / (6 * spread**1.5) if spread > 0 else 0.0

    def _usable(self, column: int) -> FloatArray:
        draws = self.draws[:, column]
        finite = draws[np.isfinite(draws)]
        if len(finite) < (1 - _TOLERATED) * len(draws):
            raise DataError(
                f"The interval is refused: in {len(draws) - len(finite)} of {len(draws)} bootstrap "
                "replicates the statistic is not defined, so the data are too few or too one-sided to say "
                "how sure the estimate is. Collect more items, or report the counts instead."
            )
        return finite


def bootstrap(
    statistic: Statistic, clusters: int, *, seed: int, replicates: int, rows: int, sizes: FloatArray | None = None
) -> Bootstrap:
    """Evaluate `statistic` on the data and on `replicates` resamples of its clusters.

    `rows` is the widest array the statistic makes per replicate; it only sets how many replicates are held at
    once. Where many clusters are alike, `sizes` says how many there are of each kind, and the statistic takes weights
    `[batch, kinds]`: how many of a kind are drawn is multinomial too, so nothing changes but the work.

    Raises `DataError` for fewer than two clusters, from which no spread can be seen.
    """
    if clusters < 2:
        raise DataError(
            "The interval is refused: all observations belong to one cluster (prompt, rater or topic), so "
            "nothing shows how much they would vary. At least two clusters are needed; thirty are a "
            "sensible minimum."
        )
    rng = np.random.default_rng(seed)
    once = np.ones(clusters) if sizes is None else sizes
    even = once / clusters
    step = max(1, _CELLS // max(rows, len(once)))
    parts = []
    for start in range(0, replicates, step):
        counts = rng.multinomial(clusters, even, size=min(step, replicates - start))
        parts.append(statistic(counts.astype(np.float64)))
    point = statistic(once[None, :])[0]
    return Bootstrap(statistic, clusters, point, np.concatenate(parts), rows, sizes)


def kinds(*tables: FloatArray) -> tuple[IntArray, FloatArray] | None:
    """The first of each kind of cluster, and how many there are of it, where clusters with equal rows are alike.

    Tables are `[clusters, columns]`. None where that would not spare much work: few clusters, or many kinds.
    """
    table = np.concatenate(tables, axis=1)
    if len(table) < _MANY:
        return None
    _, first, sizes = np.unique(table, axis=0, return_index=True, return_counts=True)
    return None if len(first) > _JACKKNIFE_GROUPS else (first, sizes.astype(np.float64))


def cluster_codes(clusters: Sequence[Hashable] | None, n: int) -> tuple[IntArray, int]:
    """Number the clusters 0, 1, ... by first appearance: codes `[n]` and how many there are.

    None means that every observation is a cluster of its own. Raises `DataError` when lengths differ.
    """
    if clusters is None:
        return np.arange(n, dtype=np.int64), n
    if len(clusters) != n:
        raise DataError(f"There are {n} observations but {len(clusters)} cluster names; give one for each.")
    known: dict[Hashable, int] = {}
    codes = np.fromiter((known.setdefault(name, len(known)) for name in clusters), np.int64, n)
    return codes, len(known)


def sum_by(codes: IntArray, clusters: int, *columns: FloatArray) -> FloatArray:
    """Sum each column `[n]` within clusters: `[clusters, columns]`."""
    return np.stack([np.bincount(codes, column, clusters) for column in columns], axis=1)


def _tails() -> FloatArray:
    return np.array([(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
