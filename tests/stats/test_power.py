"""Power as calculated against power as simulated."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import experiment
from scipy.stats import norm

from kilter.errors import DataError
from kilter.stats.mixed_poisson import mixed_poisson
from kilter.stats.power import Design, power


def design(raters: int, items: int) -> Design:
    trials = experiment(np.random.default_rng(0), raters=raters, items=items)
    return Design(trials.arms, trials.raters, trials.items, 1.0, 0.3, 0.4)


def test_power_is_the_share_of_experiments_that_show_the_effect() -> None:
    rng = np.random.default_rng(1)
    shown = [
        mixed_poisson(experiment(rng, raters=8, items=12, ratios=(1.0, 1.5), rate=1.0)).ratios["arm 1"].low > 1
        for _ in range(150)
    ]
    assert power(design(8, 12), 1.5) == pytest.approx(np.mean(shown), abs=0.12)


def test_more_items_and_larger_effects_have_more_power() -> None:
    assert power(design(8, 12), 1.2) < power(design(8, 48), 1.2) < power(design(8, 48), 1.5)
    assert power(design(8, 12), 1.000001) == pytest.approx(0.05, abs=1e-3)


def test_the_information_is_that_of_the_written_out_model() -> None:
    one, ratio = design(7, 9), 1.7
    dummies = [np.eye(int(part.max()) + 1)[part] for part in (one.arms, one.raters, one.items)]
    columns = np.column_stack([np.ones(len(one.arms)), dummies[0][:, 1:], dummies[1], dummies[2]])
    rates = one.rate * np.where(one.arms > 0, ratio, 1.0)
    prior = np.repeat([0, one.rater_spread**-2, one.item_spread**-2], [part.shape[1] for part in dummies])
    covariance = np.linalg.inv(columns.T @ (columns * rates[:, None]) + np.diag(prior))
    worst = np.sqrt(np.diag(covariance)[1 : dummies[0].shape[1]].max())
    effect = np.log(ratio) / worst
    expected = norm.cdf(effect - norm.ppf(0.975)) + norm.cdf(-effect - norm.ppf(0.975))
    assert power(one, ratio) == pytest.approx(expected, rel=1e-9)


def test_what_cannot_be_planned_is_refused() -> None:
    with pytest.raises(DataError, match="above 0"):
        power(design(4, 4), 0.0)
    alone = design(4, 4)
    with pytest.raises(DataError, match="beside the baseline"):
        power(Design(alone.arms * 0, alone.raters, alone.items, 1.0, 0.3, 0.4), 1.5)
