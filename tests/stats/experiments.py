"""Made-up experiments whose effects are known."""

from __future__ import annotations

import numpy as np

from kilter.stats.trials import Trials


def experiment(
    rng: np.random.Generator, *, raters: int = 12, items: int = 24, ratios: tuple[float, ...] = (1.0, 1.5),
    rate: float = 1.0, spreads: tuple[float, float] = (0.3, 0.4),
) -> Trials:  # fmt: skip
    """Each rater judges each item once, in turn with each help (a Latin square); counts are Poisson."""
    rater, item = (one.ravel() for one in np.meshgrid(np.arange(raters), np.arange(items), indexing="ij"))
    arm = (rater + rng.permutation(items)[item]) % len(ratios)
    level = rng.normal(0, spreads[0], raters)[rater] + rng.normal(0, spreads[1], items)[item]
    counts = rng.poisson(rate * np.array(ratios)[arm] * np.exp(level)).astype(np.float64)
    return Trials(counts, arm, rater, item, tuple(f"arm {number}" for number in range(len(ratios))))
