from __future__ import annotations

import choix
import numpy as np
import pytest
from scipy.special import expit
from sklearn.linear_model import LogisticRegression

from kilter.errors import DataError
from kilter.stats import bradley_terry

STRENGTHS = np.array([1.0, 0.4, 0.0, -0.3, -1.1])


def play(rng, games: int):
    comparisons = []
    for _ in range(games):
        one, other = rng.choice(5, 2, replace=False)
        won = rng.random() < expit(STRENGTHS[one] - STRENGTHS[other])
        comparisons.append((int(one), int(other), float(won)))
    return comparisons


def in_order(fit) -> list:
    return [fit.strengths[fit.contestants.index(k)] for k in range(5)]


def test_recovers_planted_strengths():
    fit = bradley_terry(play(np.random.default_rng(0), 20_000), replicates=50)
    assert [s.value for s in in_order(fit)] == pytest.approx(list(STRENGTHS), abs=0.06)
    assert fit.chance(0, 4) == pytest.approx(expit(2.1), abs=0.01)
    assert fit.best[fit.contestants.index(0)] == 1.0
    assert sum(fit.best) == pytest.approx(1.0)


def test_intervals_cover():
    rng = np.random.default_rng(1)
    hits = total = 0
    for trial in range(60):
        fit = bradley_terry(play(rng, 250), seed=trial, replicates=300)
        for truth, found in zip(STRENGTHS, in_order(fit), strict=True):
            hits += found.low <= truth <= found.high
            total += 1
    assert hits / total > 0.91


def test_equals_choix():
    """choix.opt_pairwise minimizes the same penalized likelihood. Its other estimators agree without a penalty only:
    mm_pairwise takes alpha for a Gamma prior and ilsr_pairwise for pseudo-wins of a Markov chain, so that at equal
    alpha they shrink less and more than this.
    """
    comparisons = play(np.random.default_rng(2), 120)
    ours = [s.value for s in in_order(bradley_terry(comparisons, penalty=0.05, replicates=2))]
    pairs = [(one, other) if won else (other, one) for one, other, won in comparisons]
    theirs = choix.opt_pairwise(5, pairs, alpha=0.05, tol=1e-12)
    assert ours == pytest.approx(list(theirs - theirs.mean()), abs=1e-6)


def test_the_fit_is_where_the_gradient_vanishes():
    # At the optimum expected wins + penalty term equal observed wins, for each contestant.
    comparisons = play(np.random.default_rng(3), 400)
    fit = bradley_terry(comparisons, penalty=0.02, replicates=2)
    s = np.array([e.value for e in in_order(fit)])
    surplus = np.zeros(5)
    for one, other, won in comparisons:
        gap = won - expit(s[one] - s[other])
        surplus[one] += gap
        surplus[other] -= gap
    assert surplus == pytest.approx(2 * 0.02 * s, abs=1e-7)


def test_ties_count_half_and_the_order_shown_does_not_matter():
    fit = bradley_terry([("a", "b", 0.5)] * 10, replicates=20)
    assert [s.value for s in fit.strengths] == pytest.approx([0.0, 0.0])
    one = bradley_terry([("a", "b", 1.0)] * 7 + [("a", "b", 0.0)] * 3, replicates=20)
    other = bradley_terry([("b", "a", 0.0)] * 7 + [("b", "a", 1.0)] * 3, replicates=20)
    assert one.chance("a", "b") == pytest.approx(other.chance("a", "b"))
    assert one.chance("a", "b") == pytest.approx(0.7, abs=0.01)


def test_a_contestant_that_never_loses_stays_finite():
    fit = bradley_terry([("champion", "b", 1.0)] * 50 + [("b", "c", 1.0), ("c", "b", 1.0)] * 10)
    assert 3 < fit.strengths[0].value < 20
    assert fit.best[0] == 1.0


def test_repeating_a_prompt_adds_no_certainty():
    comparisons = play(np.random.default_rng(4), 200)
    once = bradley_terry(comparisons, seed=1, penalty=0.001)
    often = bradley_terry(comparisons * 5, list(range(200)) * 5, seed=1, penalty=0.005)
    for one, other in zip(once.strengths, often.strengths, strict=True):
        assert (other.low, other.high) == pytest.approx((one.low, one.high), abs=1e-6)


def test_refuses_a_disconnected_graph():
    with pytest.raises(DataError, match=r"2 groups that never meet \('a' is never linked to c, d\)"):
        bradley_terry([("a", "b", 1.0), ("b", "a", 1.0), ("c", "d", 1.0)])


def test_choix_puts_groups_that_never_met_on_one_scale():
    """Where we refuse, it gives numbers: 0 and 2 come out equal although nothing compares them."""
    games = [(0, 1), (1, 0), (0, 1), (2, 3), (3, 2), (2, 3)]
    theirs = choix.opt_pairwise(4, games, alpha=0.01)
    assert theirs[0] == pytest.approx(theirs[2])
    with pytest.raises(DataError, match="2 groups that never meet"):
        bradley_terry([(one, other, 1.0) for one, other in games])


def shown(rng, games: int, position: float, strengths=STRENGTHS):
    comparisons, sides = [], []
    for _ in range(games):
        one, other = (int(k) for k in rng.choice(5, 2, replace=False))
        side = int(rng.integers(0, 2))
        won = rng.random() < expit(strengths[one] - strengths[other] + position * (1 - 2 * side))
        comparisons.append((one, other, float(won)))
        sides.append(side)
    return comparisons, sides


def test_recovers_a_planted_effect_of_position_with_the_strengths():
    comparisons, sides = shown(np.random.default_rng(5), 20_000, 0.8, 2 * STRENGTHS)
    fit = bradley_terry(comparisons, None, sides, replicates=20)
    assert fit.position.estimate is not None
    assert fit.position.estimate.value == pytest.approx(0.8, abs=0.05)
    assert [s.value for s in in_order(fit)] == pytest.approx(list(2 * STRENGTHS), abs=0.09)
    # Left out, it shrinks the strengths: a coin is mixed into every comparison.
    blind = bradley_terry(comparisons, replicates=2)
    assert "not known" in (blind.position.reason or "")
    assert np.ptp([s.value for s in in_order(blind)]) < np.ptp([s.value for s in in_order(fit)]) - 0.1


def test_the_interval_of_position_covers():
    rng, hits = np.random.default_rng(6), 0
    for trial in range(60):
        comparisons, sides = shown(rng, 250, 0.4)
        found = bradley_terry(comparisons, None, sides, seed=trial, replicates=200).position.estimate
        assert found is not None
        hits += found.low <= 0.4 <= found.high
    assert hits / 60 > 0.88


def test_position_and_strengths_equal_a_logistic_regression():
    """choix knows no covariates, so scikit-learn stands in: its C is 1 / (2 penalty) for log-likelihoods summed."""
    comparisons, sides = shown(np.random.default_rng(7), 300, 0.5)
    fit = bradley_terry(comparisons, None, sides, penalty=0.05, replicates=2)
    design = np.zeros((300, 6))
    for row, ((one, other, _), side) in enumerate(zip(comparisons, sides, strict=True)):
        design[row, one], design[row, other], design[row, 5] = 1, -1, 1 - 2 * side
    model = LogisticRegression(C=1 / 0.1, fit_intercept=False, tol=1e-10, max_iter=10_000)
    theirs = model.fit(design, [won for *_, won in comparisons]).coef_[0]
    assert [s.value for s in in_order(fit)] == pytest.approx(list(theirs[:5]), abs=1e-4)
    assert fit.position.estimate is not None
    assert fit.position.estimate.value == pytest.approx(theirs[5], abs=1e-4)


def test_position_that_cannot_be_told_from_strength_is_refused_alone():
    games = [("a", "b", 1.0), ("b", "c", 1.0), ("a", "b", 0.0), ("b", "c", 0.0)] * 10
    fit = bradley_terry(games, None, [0] * 40, replicates=20)  # a always before b, b always before c
    assert "cannot be told from strength" in (fit.position.reason or "")
    ring = bradley_terry([*games, ("a", "c", 1.0)], None, [0] * 41, replicates=20)  # 1 + 1 is not 1
    assert ring.position.estimate is not None
    with pytest.raises(DataError, match="Sides are 0"):
        bradley_terry(games, None, [2] * 40)


def test_the_chance_to_be_best_is_as_often_right_as_it_says():
    rng, claimed, right = np.random.default_rng(8), [], []
    for trial in range(80):
        strengths = rng.normal(0, 0.4, 5)
        comparisons, sides = shown(rng, 150, 0.0, strengths)
        fit = bradley_terry(comparisons, None, sides, seed=trial, replicates=100)
        claimed += [fit.best[fit.contestants.index(k)] for k in range(5)]
        right += [k == int(strengths.argmax()) for k in range(5)]
    sure, true = np.array(claimed), np.array(right)
    for low, high in [(0.0, 0.1), (0.1, 0.5), (0.5, 1.01)]:
        inside = (sure >= low) & (sure < high)
        assert true[inside].mean() == pytest.approx(sure[inside].mean(), abs=0.12)


@pytest.mark.parametrize("bad", [("a", "a", 1.0), ("a", "b", 1.5)])
def test_refuses_unusable_comparisons(bad):
    with pytest.raises(DataError, match="not usable"):
        bradley_terry([("a", "b", 1.0), bad])
    with pytest.raises(DataError, match="no comparisons"):
        bradley_terry([])
