"""How fast a rater works: active seconds per item, and which answers were faster than reading allows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from kilter.feedback.work import Result
from kilter.stats import Estimate, Finding, bootstrap_mean, median, wilson

QUICK = 1 / 3
"""An item answered in less than this share of the usual time is called quick."""

_UNKNOWN = Finding(None, "the browser measured no active time")


@dataclass(frozen=True)
class Pace:
    """Active time, idle time left out.

    Attributes:
        seconds: median per item.
        quartiles: a quarter of the items took less than the first, and a quarter more than the second.
        per_hour: items in an hour of active time.
        quick: share of the items that took less than `quick_below` seconds.
    """

    seconds: Finding
    quartiles: tuple[float, float] | None
    per_hour: Finding
    quick: Finding
    quick_below: float | None

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        found = {name: getattr(self, name).as_dict() for name in ("seconds", "per_hour", "quick")}
        return {**found, "quartiles": self.quartiles and list(self.quartiles), "quick_below": self.quick_below}


def seconds_per_item(results: Sequence[Result]) -> list[float]:
    """Active seconds of each item that one rater judged, all its questions together, in the order of time.

    Items without a measured time are left out.
    """
    spent: dict[str, int] = {}
    for one in sorted(results, key=lambda result: result.submitted):
        if one.judgment.active_ms is not None:
            spent[one.artifact] = spent.get(one.artifact, 0) + one.judgment.active_ms
    return [milliseconds / 1000 for milliseconds in spent.values() if milliseconds > 0]


def quick_below(times: Mapping[str, Sequence[float]]) -> float | None:
    """The time below which an answer is quick: a third of the median over raters of their medians; None without times.

    Over raters, so that one who rushes through many items does not set the pace.
    """
    medians = [float(np.median(seconds)) for seconds in times.values() if seconds]
    return QUICK * float(np.median(medians)) if medians else None


def pace(seconds: Sequence[float], below: float | None, *, seed: int, replicates: int) -> Pace:
    """The pace of one rater."""
    if not seconds or below is None:
        return Pace(_UNKNOWN, None, _UNKNOWN, _UNKNOWN, below)
    low, high = np.quantile(seconds, (0.25, 0.75))
    fast = wilson(float(sum(one < below for one in seconds)), len(seconds))

    def per_hour() -> Estimate:
        mean = bootstrap_mean(seconds, seed=seed, replicates=replicates)
        return Estimate(3600 / mean.value, 3600 / mean.high, 3600 / mean.low, mean.n, f"1 / mean time, {mean.method}")

    return Pace(
        Finding.of(lambda: median(seconds)), (float(low), float(high)), Finding.of(per_hour), Finding(fast), below
    )
