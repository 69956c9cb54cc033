"""One answer per item from several raters, without a model of them: the majority, or the mean grade."""

from __future__ import annotations

import numpy as np
from scipy.stats import t as student

from kilter.errors import DataError
from kilter.stats.bootstrap import CONFIDENCE, FloatArray
from kilter.stats.estimate import Estimate
from kilter.stats.ratings import Ratings


def majority(ratings: Ratings) -> FloatArray:
    """Share of raters for each category `[items, categories]`; the largest is the majority, equals a tie."""
    counts = ratings.counts()
    shares: FloatArray = counts / counts.sum(1, keepdims=True)
    return shares


def mean_grades(ratings: Ratings, scale: tuple[float, float] | None = None) -> tuple[Estimate, ...]:
    """Mean grade of each item, with an interval from how much raters differ on the same item.

    Three grades of one item say little of their spread, so it is pooled over all items: Student's t interval with
    the within-item variance of a one-way layout, cut at the ends of the `scale`. Raises `DataError` for grades that
    are no numbers, and where raters were never seen to differ: no item has two grades, or all are alike.
    """
    try:
        grades = np.array([float(grade) for grade in ratings.categories])  # type: ignore[arg-type]
    except (TypeError, ValueError) as error:
        raise DataError(f"A mean grade needs numbers, not {ratings.categories[:5]!r}.") from error
    counts = ratings.counts()
    n = counts.sum(1)
    means = counts @ grades / n
    freedom = int(n.sum() - len(n))
    spread = float((counts * (grades - means[:, None]) ** 2).sum())
    if spread == 0:
        why = "no item was judged by two raters" if freedom < 1 else "no two raters of the same item differ"
        raise DataError(f"The interval of a mean grade is refused: {why}, so nothing shows how much they vary.")
    half = student.ppf((1 + CONFIDENCE) / 2, freedom) * np.sqrt(spread / freedom / n)
    least, most = scale or (float(grades.min()), float(grades.max()))
    method = f"mean, t interval, spread pooled over {len(n)} items ({freedom} degrees of freedom)"
    return tuple(
        Estimate(float(mean), max(least, float(mean - wide)), min(most, float(mean + wide)), int(size), method)
        for mean, wide, size in zip(means, half, n, strict=True)
    )
