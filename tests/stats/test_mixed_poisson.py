"""The mixed Poisson model against planted effects, against exact integration, and where nothing is to be found."""

from __future__ import annotations

import numpy as np
import pytest
from experiments import experiment
from scipy.optimize import minimize
from scipy.special import gammaln, logsumexp

from kilter.errors import DataError
from kilter.stats.mixed_poisson import mixed_poisson
from kilter.stats.trials import Trials


def test_planted_effects_and_spreads_are_recovered() -> None:
    rng = np.random.default_rng(1)
    fits = [mixed_poisson(experiment(rng, raters=20, items=40, ratios=(1.0, 1.5, 0.8))) for _ in range(20)]
    for arm, truth in (("arm 1", 1.5), ("arm 2", 0.8)):
        values = [fit.ratios[arm].value for fit in fits]
        assert np.exp(np.mean(np.log(values))) == pytest.approx(truth, rel=0.05)
        covered = sum(fit.ratios[arm].low <= truth <= fit.ratios[arm].high for fit in fits)
        assert covered >= 17
    assert np.mean([fit.rater_spread for fit in fits]) == pytest.approx(0.3, abs=0.07)
    assert np.mean([fit.item_spread for fit in fits]) == pytest.approx(0.4, abs=0.07)


def test_no_effect_is_claimed_in_at_most_one_of_twenty_experiments() -> None:
    rng = np.random.default_rng(2)
    found = [mixed_poisson(experiment(rng, raters=8, items=12, ratios=(1.0, 1.0))).ratios["arm 1"] for _ in range(200)]
    wrong = sum(not one.low <= 1 <= one.high for one in found)
    assert wrong <= 18  # 10 expected; 18 or more would come of 5 % once in 100 times


def test_the_effect_equals_that_by_exact_integration_over_raters() -> None:
    """With one item spread that is known to be nothing, quadrature can integrate raters out exactly."""
    rng = np.random.default_rng(3)
    trials = experiment(rng, raters=30, items=10, rate=2.0, spreads=(0.5, 1e-6))
    nodes, weights = np.polynomial.hermite_e.hermegauss(41)

    def cost(state: np.ndarray) -> float:
        intercept, effect, spread = state[0], state[1], np.exp(state[2])
        linear = intercept + effect * trials.arms + spread * nodes[:, None]  # [nodes, N]
        likely = trials.counts * linear - np.exp(linear) - gammaln(trials.counts + 1)
        by_rater = np.stack([likely[:, trials.raters == rater].sum(1) for rater in range(30)], axis=1)
        return -float(logsumexp(by_rater + np.log(weights / weights.sum())[:, None], axis=0).sum())

    exact = minimize(cost, [0.5, 0.3, -0.5], method="Nelder-Mead", options={"xatol": 1e-5, "fatol": 1e-8})
    fit = mixed_poisson(trials)
    assert np.log(fit.ratios["arm 1"].value) == pytest.approx(exact.x[1], abs=0.01)  # a tenth of its error
    assert fit.rater_spread == pytest.approx(np.exp(exact.x[2]), rel=0.05)


def test_a_plain_ratio_where_raters_and_items_do_not_differ() -> None:
    trials = experiment(np.random.default_rng(4), raters=30, items=30, rate=3.0, spreads=(1e-6, 1e-6))
    rates = trials.rates()
    assert mixed_poisson(trials).ratios["arm 1"].value == pytest.approx(rates[1] / rates[0], rel=0.02)


def test_an_arm_in_which_nothing_was_found_has_no_ratio() -> None:
    rows = [(rater, item, arm, float(arm == "none")) for rater in "ab" for item in range(4) for arm in ("none", "help")]
    with pytest.raises(DataError, match="help nothing was found"):
        mixed_poisson(Trials.from_rows(rows, "none"))


@pytest.mark.parametrize("rows", [[], [("a", 1, "help", 1)], [("a", 1, "none", 1)]])
def test_one_arm_is_no_experiment(rows: list[tuple[str, int, str, float]]) -> None:
    with pytest.raises(DataError, match="comparison of arms"):
        Trials.from_rows(rows, "none")


def test_a_count_must_be_one() -> None:
    with pytest.raises(DataError, match="negative or not a number"):
        Trials.from_rows([("a", 1, "none", 1), ("a", 2, "help", float("nan"))], "none")
