"""The bootstrap over raters and items."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import experiment

from kilter.errors import DataError
from kilter.stats.trials import Trials
from kilter.stats.two_way import two_way_ratios


def test_the_interval_covers_the_planted_ratio_at_least_as_often_as_it_says() -> None:
    rng = np.random.default_rng(1)
    found = [
        two_way_ratios(experiment(rng, raters=12, items=20), replicates=400, seed=number)["arm 1"]
        for number in range(60)
    ]
    assert sum(one.low <= 1.5 <= one.high for one in found) >= 54
    assert np.exp(np.mean([np.log(one.value) for one in found])) == pytest.approx(1.5, rel=0.05)


def test_raters_who_differ_widen_it() -> None:
    def width(spread: float) -> float:
        trials = experiment(np.random.default_rng(5), raters=10, items=40, rate=3.0, spreads=(spread, 0.01))
        # Arms between raters: the spread of raters does not cancel.
        between = Trials(trials.counts, trials.raters % 2, trials.raters, trials.items, trials.names)
        one = two_way_ratios(between)["arm 1"]
        return float(np.log(one.high / one.low))

    assert width(0.8) > 2 * width(0.01)


def test_one_rater_shows_no_spread() -> None:
    with pytest.raises(DataError, match="1 and 4"):
        two_way_ratios(Trials.from_rows([("a", n, "none" if n % 2 else "help", 1) for n in range(4)], "none"))
