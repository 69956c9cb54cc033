"""Intervals of rates, means and paired differences."""

from __future__ import annotations

from collections.abc import Hashable, Sequence

import numpy as np
from scipy.stats import norm

from kilter.errors import DataError
from kilter.stats.bootstrap import CONFIDENCE, REPLICATES, FloatArray, bootstrap, cluster_codes, kinds, sum_by
from kilter.stats.estimate import Estimate


def wilson(successes: float, n: int) -> Estimate:
    """Share of successes among `n` independent trials with Wilson's score interval (Wilson 1927).

    `successes` may be fractional (ties counted as one half); the interval is then conservative. Raises
    `DataError` for n < 1 or successes outside 0..n.
    """
    if n < 1 or not 0 <= successes <= n:
        raise DataError(f"A share needs at least one trial and 0 <= successes <= n, not {successes} of {n}.")
    z = float(norm.ppf((1 + CONFIDENCE) / 2))
    share = successes / n
    center = (share + z * z / (2 * n)) / (1 + z * z / n)
    half = z / (1 + z * z / n) * float(np.sqrt(share * (1 - share) / n + z * z / (4 * n * n)))
    return Estimate(share, max(0.0, min(share, center - half)), min(1.0, max(share, center + half)), n, "Wilson")


def rate(
    outcomes: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Mean of outcomes in [0, 1]: Wilson for independent yes/no trials, else a BCa bootstrap over clusters.

    Where every cluster has the same rate (all won, say) resampling would claim certainty; Wilson's interval
    with one trial per cluster is given instead, and named in `method`.
    """
    values = numbers(outcomes, "outcomes")
    if values.min() < 0 or values.max() > 1:
        raise DataError(f"Outcomes of a rate lie between 0 and 1, not {values.min()} to {values.max()}.")
    codes, count = cluster_codes(clusters, len(values))
    binary = bool(np.all((values == 0) | (values == 1)))
    if binary and count == len(values):
        return wilson(float(values.sum()), len(values))
    sums = sum_by(codes, count, values, np.ones_like(values))
    rates = sums[:, 0] / sums[:, 1]
    if np.ptp(rates) < 1e-12:
        few = wilson(float(values.mean()) * count, count)
        return Estimate(few.value, few.low, few.high, len(values), f"Wilson on {count} clusters that do not differ")
    return bootstrap_mean(outcomes, clusters, seed=seed, replicates=replicates)


def bootstrap_mean(
    values: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Mean of `values` with a BCa interval; whole clusters (prompts, say) are resampled, not rows.

    Raises `DataError` for no values, NaN, or fewer than two clusters. Values that are all equal get an
    interval of no width: use `rate` where they are bounded.
    """
    data = numbers(values, "values")
    codes, count = cluster_codes(clusters, len(data))
    sums = sum_by(codes, count, data, np.ones_like(data))
    alike = kinds(sums)
    rows, sizes = (sums, None) if alike is None else (sums[alike[0]], alike[1])

    def mean(weights: FloatArray) -> FloatArray:
        totals = weights @ rows
        return totals[:, :1] / totals[:, 1:]

    resampled = bootstrap(mean, count, seed=seed, replicates=replicates, rows=count, sizes=sizes)
    low, high = resampled.bca()
    return Estimate(float(data.mean()), low, high, len(data), resampled.describe("BCa", len(data)))


def paired_difference(
    before: Sequence[float],
    after: Sequence[float],
    clusters: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> Estimate:
    """Mean of `after - before`, item by item, with a BCa interval over clusters.

    Pairing removes the variance between items that both share. Raises `DataError` when the two are not of
    equal length.
    """
    first, second = numbers(before, "before"), numbers(after, "after")
    if len(first) != len(second):
        raise DataError(f"A paired difference needs the same items twice: {len(first)} before, {len(second)} after.")
    change = bootstrap_mean(list(second - first), clusters, seed=seed, replicates=replicates)
    return Estimate(change.value, change.low, change.high, change.n, f"paired {change.method}")


def numbers(values: Sequence[float], what: str) -> FloatArray:
    """`values` as a float array `[n]`; raises `DataError` naming `what` when empty or not finite."""
    data = np.asarray(values, dtype=np.float64)
    if data.ndim != 1 or data.size == 0:
        raise DataError(f"There are no {what} to estimate from: expected a non-empty list of numbers.")
    bad = int(np.sum(~np.isfinite(data)))
    if bad:
        raise DataError(f"{bad} of {data.size} {what} are NaN or infinite; leave such items out and say how many.")
    return data
