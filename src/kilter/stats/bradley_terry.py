"""Strengths from comparisons: Bradley and Terry's model by penalized maximum likelihood.

    P(i beats j) = sigmoid(s_i - s_j + position * x),   x = 1 where i was shown first, -1 where j was

minimizing the negative log-likelihood + penalty * (sum(s^2) + position^2) by Newton's method with exact gradient and
Hessian. The penalty keeps a contestant that never loses finite and sets the mean strength to 0. Without knowledge of
sides there is no x; random sides then make the strengths a little smaller than they are, and no more.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from scipy.sparse import csr_matrix
from scipy.sparse.csgraph import connected_components
from scipy.special import expit

from kilter.errors import DataError
from kilter.stats.bootstrap import REPLICATES, FloatArray, IntArray, bootstrap, cluster_codes
from kilter.stats.estimate import Estimate, Finding

PENALTY = 0.01


@dataclass(frozen=True)
class BradleyTerry:
    """Contestants in order of first appearance, their strengths in log odds, and who is best.

    Strengths have mean 0. `best` is P(best): the share of bootstrap replicates (whole prompts resampled, the model
    fitted again) in which a contestant came out on top; of `replicates`, so it is never finer than one of them.
    `position` is what being shown first adds, in log odds, fitted together with the strengths.
    """

    contestants: tuple[Hashable, ...]
    strengths: tuple[Estimate, ...]
    best: tuple[float, ...]
    position: Finding
    replicates: int

    def chance(self, first: Hashable, second: Hashable) -> float:
        """Predicted probability that `first` beats `second`, position left out."""
        at = self.contestants.index
        return float(expit(self.strengths[at(first)].value - self.strengths[at(second)].value))

    def as_dict(self) -> dict[str, Any]:
        """As JSON, the strongest first."""
        order = sorted(range(len(self.contestants)), key=lambda index: -self.strengths[index].value)
        return {
            "contestants": [
                {"name": self.contestants[k], "strength": self.strengths[k].as_dict(), "best": self.best[k]}
                for k in order
            ],
            "position": self.position.as_dict(),
            "replicates": self.replicates,
        }


def bradley_terry(
    comparisons: Sequence[tuple[Hashable, Hashable, float]],
    clusters: Sequence[Hashable] | None = None,
    sides: Sequence[int] | None = None,
    *,
    penalty: float = PENALTY,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> BradleyTerry:
    """Strengths from `(first, second, outcome)`, outcome 1 when the first won, 0 when it lost, 0.5 for a tie.

    `sides` says for each comparison where its first contestant was shown: 0 first, 1 second; with it the effect of
    position is fitted too, where the data can tell it from strength. Intervals are BCa, resampling `clusters` (the
    prompts) and fitting again. Raises `DataError` for outcomes or sides out of range, a contestant compared with
    itself, and a comparison graph that is not connected: strengths of parts that never met cannot be put on one scale.
    """
    names, one, other, outcome = _read(comparisons)
    _require_connected(names, one, other)
    shown = None if sides is None else np.asarray(sides)
    if shown is not None and (shown.shape != outcome.shape or not np.all(np.isin(shown, (0, 1)))):
        raise DataError("Sides are 0 (the first of a comparison was shown first) or 1 (second), one for each.")
    if shown is not None:  # from here on the first of a comparison is the one that was shown first
        one, other = np.where(shown == 0, one, other), np.where(shown == 0, other, one)
        outcome = np.where(shown == 0, outcome, 1 - outcome)
    refusal = _why_no_position(len(names), one, other, shown)
    size = len(names)
    codes, count = cluster_codes(clusters, len(outcome))
    cells = one * size + other
    wins, losses = (csr_matrix((mass, (codes, cells)), shape=(count, size * size)) for mass in (outcome, 1 - outcome))

    def refit(weights: FloatArray) -> FloatArray:
        ahead, behind = ((weights @ table).reshape(-1, size, size) for table in (wins, losses))
        return _fit(ahead, behind, penalty, position=refusal is None)

    resampled = bootstrap(refit, count, seed=seed, replicates=replicates, rows=2 * size * size)
    method = f"penalized likelihood, {resampled.describe('BCa', len(outcome))}"
    *strengths, effect = (
        Estimate(float(resampled.point[index]), *resampled.bca(index), len(outcome), method)
        for index in range(size + 1)
    )
    top = np.bincount(resampled.draws[:, :size].argmax(1), minlength=size) / len(resampled.draws)
    position = Finding(effect) if refusal is None else Finding(None, refusal)
    return BradleyTerry(names, tuple(strengths), tuple(float(share) for share in top), position, len(resampled.draws))


def _fit(ahead: FloatArray, behind: FloatArray, penalty: float, *, position: bool) -> FloatArray:
    """Strengths and effect of position `[batch, k + 1]` by Newton's method.

    `ahead[b, i, j]` counts how often i, shown first, beat j, and `behind[b, i, j]` how often it lost to j. Without
    `position` its effect stays 0.
    """
    batch, size, _ = ahead.shape
    games = ahead + behind
    found: FloatArray = np.zeros((batch, size + 1))
    diagonal = np.arange(size + 1)
    for _ in range(100):
        s = found[:, :size]
        chance = expit(s[:, :, None] - s[:, None, :] + found[:, size, None, None])
        surplus = ahead - games * chance
        curve = games * chance * (1 - chance)
        gradient = 2 * penalty * found
        gradient[:, :size] -= surplus.sum(2) - surplus.sum(1)
        gradient[:, size] -= surplus.sum((1, 2))
        hessian = np.zeros((batch, size + 1, size + 1))
        hessian[:, :size, :size] = -(curve + curve.transpose(0, 2, 1))
        hessian[:, diagonal[:size], diagonal[:size]] += curve.sum(2) + curve.sum(1)
        hessian[:, size, :size] = hessian[:, :size, size] = curve.sum(2) - curve.sum(1)
        hessian[:, size, size] = curve.sum((1, 2))
        hessian[:, diagonal, diagonal] += 2 * penalty
        if not position:
            gradient[:, size], hessian[:, size, :size], hessian[:, :size, size] = 0.0, 0.0, 0.0
        step = np.linalg.solve(hessian, gradient[:, :, None])[:, :, 0]
        # The likelihood is flat far out: a bounded step keeps Newton from jumping past the minimum.
        step *= np.minimum(1.0, 1.0 / np.maximum(np.abs(step).max(1, keepdims=True), 1e-300))
        found = found - step
        if np.abs(step).max() < 1e-10:
            return found
    raise DataError("The Bradley-Terry fit did not converge in 100 Newton steps; a penalty of 0.01 or more makes it.")


def _why_no_position(size: int, one: IntArray, other: IntArray, shown: IntArray | None) -> str | None:
    """Why the effect of position cannot be had, or None.

    It cannot be told from strengths where some strengths would explain that whoever was shown first won every time:
    where a solution of s_first - s_second = 1 for all comparisons exists.
    """
    if shown is None:
        return "the side on which each response was shown is not known"
    met = np.unique(np.stack([one, other], axis=1), axis=0)
    design = np.zeros((len(met), size))
    design[np.arange(len(met)), met[:, 0]] = 1
    design[np.arange(len(met)), met[:, 1]] = -1
    goal = np.ones(len(met))
    left = goal - design @ np.linalg.lstsq(design, goal, rcond=None)[0]
    if np.abs(left).max() > 1e-8:
        return None
    return "the same ones were always shown first, so position cannot be told from strength; randomize the sides"


def _read(
    comparisons: Sequence[tuple[Hashable, Hashable, float]],
) -> tuple[tuple[Hashable, ...], IntArray, IntArray, FloatArray]:
    known: dict[Hashable, int] = {}
    rows = []
    for one, other, result in comparisons:
        if one == other or not 0 <= result <= 1:
            raise DataError(
                f"The comparison ({one!r}, {other!r}, {result!r}) is not usable: two different contestants "
                "and an outcome between 0 and 1 are needed."
            )
        rows.append((known.setdefault(one, len(known)), known.setdefault(other, len(known)), float(result)))
    if not rows:
        raise DataError("There are no comparisons to fit strengths to.")
    table = np.array(rows)
    return tuple(known), table[:, 0].astype(np.int64), table[:, 1].astype(np.int64), table[:, 2]


def _require_connected(names: tuple[Hashable, ...], first: IntArray, second: IntArray) -> None:
    links = csr_matrix((np.ones(len(first)), (first, second)), shape=(len(names), len(names)))
    parts, label = connected_components(links, directed=False)
    if parts > 1:
        apart = [str(name) for name, part in zip(names, label, strict=True) if part != label[0]]
        shown = ", ".join(apart[:5]) + (" ..." if len(apart) > 5 else "")
        raise DataError(
            f"Bradley-Terry is refused: the comparisons fall into {parts} groups that never meet "
            f"('{names[0]}' is never linked to {shown}), so their strengths have no common scale. Add "
            "comparisons between the groups."
        )
