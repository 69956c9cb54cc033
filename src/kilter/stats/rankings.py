"""How far raters agree on rankings: Kendall's tau, and rankings turned into pairs.

A ranking is a list of groups of equal rank, best first, as judgments keep it: [2, [0, 3], 1] ranks the third response
first, the first and fourth together, and the second last.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np

from kilter.errors import DataError
from kilter.stats.bootstrap import REPLICATES, FloatArray
from kilter.stats.estimate import Estimate, Finding
from kilter.stats.intervals import bootstrap_mean

Ranking = Sequence[int | Sequence[int]]


def ranks(ranking: Ranking) -> FloatArray:
    """The rank of each response `[responses]`, 1 for the best; equal ones share the mean of their ranks.

    Raises `DataError` when the responses named are not 0, 1, ..., each once.
    """
    groups = [[one] if isinstance(one, int) else list(one) for one in ranking]
    named = [one for group in groups for one in group]
    if sorted(named) != list(range(len(named))) or not named:
        raise DataError(f"{ranking!r} is no ranking: it must name each response from 0 on once.")
    found, above = np.empty(len(named)), 0
    for group in groups:
        found[group] = above + (len(group) + 1) / 2
        above += len(group)
    return found


def ranking_pairs(ranking: Ranking) -> list[tuple[int, int, float]]:
    """`(i, j, outcome)` for each pair i < j: 1 where i is ranked better, 0 where j is, 0.5 where they are equal."""
    at = ranks(ranking)
    return [(i, j, float(0.5 + np.sign(at[j] - at[i]) / 2)) for i, j in combinations(range(len(at)), 2)]


def kendall_tau(one: Ranking, other: Ranking) -> float | None:
    """Kendall's tau-b, from -1 (reversed) to 1 (equal); None where a ranking puts all responses level."""
    first, second = ranks(one), ranks(other)
    if len(first) != len(second):
        raise DataError(f"Rankings of {len(first)} and of {len(second)} responses cannot be compared.")
    upper = np.triu_indices(len(first), 1)
    a, b = (np.sign(at[:, None] - at)[upper] for at in (first, second))
    size = float(np.sqrt((a**2).sum() * (b**2).sum()))
    return float(a @ b) / size if size else None


@dataclass(frozen=True)
class RankAgreement:
    """`tau`: mean tau-b over pairs of raters of an item; `level` counts pairs of which one ranks nothing."""

    tau: Finding
    items: int
    raters: int
    level: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"tau": self.tau.as_dict(), "items": self.items, "raters": self.raters, "level": self.level}


def rank_agreement(
    rankings: Mapping[Hashable, Mapping[Hashable, Ranking]], *, seed: int = 0, replicates: int = REPLICATES
) -> RankAgreement:
    """Mean tau-b over items, of each the mean over its pairs of raters; `rankings` by item and rater.

    Resamples items. Raises `DataError` for rankings of the same item that differ in length.
    """
    shared = {item: given for item, given in rankings.items() if len(given) > 1}
    means: list[float] = []
    level = 0
    for given in shared.values():
        taus = [kendall_tau(one, other) for one, other in combinations(given.values(), 2)]
        kept = [tau for tau in taus if tau is not None]
        level += len(taus) - len(kept)
        if kept:
            means.append(float(np.mean(kept)))
    tau = _tau(means, bool(shared), seed, replicates)
    return RankAgreement(tau, len(shared), len({rater for given in shared.values() for rater in given}), level)


def _tau(means: Sequence[float], shared: bool, seed: int, replicates: int) -> Finding:
    if not means:
        why = "no pair of rankings has an order to compare" if shared else "no item was ranked by two raters"
        return Finding(None, why)
    if len(means) > 1 and np.ptp(means) == 0:
        return Finding(None, f"all {len(means)} items have the same tau, {means[0]:.2f}, so nothing shows its spread")

    def estimate() -> Estimate:
        mean = bootstrap_mean(means, seed=seed, replicates=replicates)
        return Estimate(mean.value, mean.low, mean.high, mean.n, f"Kendall's tau-b, {mean.method} over items")

    return Finding.of(estimate)
