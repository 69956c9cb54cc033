"""Ratios of rates from counts of raters who differ on items that differ: a Poisson model with both as random effects.

log E[count] = intercept + arm + rater + item, rater ~ N(0, s_r^2), item ~ N(0, s_i^2). The two spreads maximize the
likelihood with everything else integrated out by Laplace's approximation (Breslow and Clayton 1993; with the fixed
effects integrated out, too, as restricted maximum likelihood does). Intervals are Wald's on the log scale, from the
curvature at the mode, which holds what the random effects leave uncertain.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.linalg import cho_factor, cho_solve
from scipy.optimize import minimize
from scipy.stats import norm

from kilter.errors import DataError
from kilter.stats.bootstrap import FloatArray
from kilter.stats.estimate import Estimate
from kilter.stats.trials import Trials

SPREADS = (1e-3, 3.0)
"""Least and largest standard deviation of raters or items on the log scale: none, and twentyfold."""

_STEPS = 100
_CLOSE = 1e-8


@dataclass(frozen=True)
class MixedPoisson:
    """What the model says.

    Attributes:
        ratios: of each arm's rate to the baseline's.
        rate: count per trial of the baseline, for a typical rater and item.
        rater_spread, item_spread: standard deviations on the log scale; at `SPREADS` they are at their bounds.
    """

    ratios: dict[str, Estimate]
    rate: float
    rater_spread: float
    item_spread: float


def mixed_poisson(trials: Trials) -> MixedPoisson:
    """Fit the model.

    Raises:
        DataError: an arm without any count, or the search does not settle.
    """
    trials.require_found()
    model = _Model(trials)
    low, high = np.log(SPREADS)

    def cost(spreads: FloatArray) -> float:
        return -model.fit(np.exp(np.clip(spreads, low, high)))

    best = minimize(
        cost, np.log([0.3, 0.3]), method="Nelder-Mead", bounds=[(low, high)] * 2,
        options={"xatol": 1e-2, "fatol": 1e-4, "maxiter": 200},
    )  # fmt: skip
    spreads = np.exp(best.x)
    model.fit(spreads)
    error = np.sqrt(np.diag(model.covariance()))
    z = norm.ppf(0.975)
    ratios = {
        name: Estimate(
            float(np.exp(effect)), float(np.exp(effect - z * one)), float(np.exp(effect + z * one)), len(trials),
            "Poisson model, raters and items random, Wald",
        )
        for name, effect, one in zip(trials.names[1:], model.state[1:], error[1:], strict=False)
    }  # fmt: skip
    return MixedPoisson(ratios, float(np.exp(model.state[0])), float(spreads[0]), float(spreads[1]))


class _Model:
    """The model of one set of trials; `state` is [A + R + I], intercept and arms, raters, items, at the last mode."""

    def __init__(self, trials: Trials) -> None:
        self._counts = trials.counts
        self._sizes = trials.sizes
        arms, raters, _ = self._sizes
        # Each trial touches four entries of the state at most; the baseline's arm is the intercept alone.
        self._places = np.stack([trials.arms, arms + trials.raters, arms + raters + trials.items])
        self._effect = trials.arms > 0
        self.state = np.zeros(sum(self._sizes))
        self.state[0] = np.log(trials.counts.mean())

    def fit(self, spreads: FloatArray) -> float:
        """Find the mode by Newton's method; the logarithm of the marginal likelihood of these spreads [2]."""
        arms, raters, items = self._sizes
        prior = np.concatenate([np.zeros(arms), np.full(raters, spreads[0] ** -2), np.full(items, spreads[1] ** -2)])
        value = self._value(self.state, prior)
        for _ in range(_STEPS):
            rates = np.exp(self._linear(self.state))
            gradient = self._gathered(self._counts - rates) - prior * self.state
            self._factor = cho_factor(self._curvature(rates, prior), lower=True)
            step = cho_solve(self._factor, gradient)
            expected = float(gradient @ step)
            if expected < _CLOSE:
                break
            size = 1.0
            while (found := self._value(self.state + size * step, prior)) < value and size > 1e-6:
                size /= 2
            self.state, value = self.state + size * step, found
        else:
            raise DataError("The mixed Poisson model did not settle; look for a trial with an absurd count.")
        log_det = 2 * np.log(np.diag(self._factor[0])).sum()
        return float(value - log_det / 2 - raters * np.log(spreads[0]) - items * np.log(spreads[1]))

    def covariance(self) -> FloatArray:
        """[A, A] of intercept and arms at the mode."""
        arms = self._sizes[0]
        unit = np.eye(len(self.state))[:, :arms]
        whole: FloatArray = cho_solve(self._factor, unit)[:arms]
        return whole

    def _linear(self, state: FloatArray) -> FloatArray:
        arm, rater, item = self._places
        total: FloatArray = state[0] + state[arm] * self._effect + state[rater] + state[item]
        return total

    def _value(self, state: FloatArray, prior: FloatArray) -> float:
        linear = self._linear(state)
        with np.errstate(over="ignore"):
            return float(self._counts @ linear - np.exp(linear).sum() - prior @ state**2 / 2)

    def _gathered(self, values: FloatArray) -> FloatArray:
        """Sums of values [N] over the trials that each entry of the state touches."""
        arm, rater, item = self._places
        n = len(self.state)
        total = np.zeros(n)
        for place, weights in ((arm, values * self._effect), (rater, values), (item, values)):
            total += np.bincount(place, weights, n)
        total[0] += values.sum()
        return total

    def _curvature(self, rates: FloatArray, prior: FloatArray) -> FloatArray:
        arm, rater, item = self._places
        n = len(self.state)
        table = np.zeros(n * n)
        effect = rates * self._effect
        intercept = np.zeros_like(arm)
        for row, column, weights in (
            (intercept, arm, effect), (intercept, rater, rates), (intercept, item, rates), (arm, rater, effect),
            (arm, item, effect), (rater, item, rates),
        ):  # fmt: skip
            table += np.bincount(row * n + column, weights, n * n)
        whole = table.reshape(n, n)
        whole = whole + whole.T
        whole[np.diag_indices(n)] = self._gathered(rates) + prior
        return whole
