from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import check_grad
from scipy.special import expit

from kilter.errors import DataError
from kilter.stats import Ratings, dawid_skene, glad, majority
from kilter.stats.glad import _Hill


def crowd(rng, raters: int, items: int, categories: int, per_item: int):
    """Ratings drawn from the model and its priors: abilities, log easiness, truth, and the ratings in that order."""
    ability, ease = rng.normal(1, 1, raters), rng.normal(0, 1, items)
    base = np.r_[0.4, np.full(categories - 1, 0.6 / (categories - 1))]
    truth = rng.choice(categories, items, p=base)
    table: list[list[int | None]] = [[None] * items for _ in range(raters)]
    for item in range(items):
        for rater in rng.choice(raters, per_item, replace=False):
            x = ability[rater] * np.exp(ease[item])
            right = rng.random() < np.exp(x) / (np.exp(x) + categories - 1)
            others = [one for one in range(categories) if one != truth[item]]
            table[rater][item] = int(truth[item] if right else rng.choice(others))
    ratings = Ratings.from_table(table)
    at = [ratings.raters.index(one) for one in range(raters)], [ratings.items.index(one) for one in range(items)]
    return ability, ease, truth, ratings, at


@pytest.mark.parametrize("categories", [2, 4])
def test_recovers_planted_abilities_difficulties_and_truth(categories: int):
    ability, ease, truth, ratings, (at, items) = crowd(np.random.default_rng(0), 12, 1500, categories, 8)
    fit = glad(ratings)
    found = np.array([fit.ability[rater].value for rater in at])
    assert found == pytest.approx(ability, abs=0.35)
    assert np.mean(found - ability) == pytest.approx(0, abs=0.08)
    assert np.corrcoef(np.log(fit.difficulty[items]), -ease)[0, 1] > 0.6
    assert fit.prevalence[0] == pytest.approx(0.4, abs=0.05)
    said = fit.posteriors[items].argmax(1)
    assert np.mean(said == truth) > np.mean(majority(ratings)[items].argmax(1) == truth) + 0.03
    assert np.mean(said == truth) > np.mean(dawid_skene(ratings).posteriors[items].argmax(1) == truth) - 0.01


def test_intervals_of_ability_cover_and_difficulty_says_how_sure_it_is():
    hits, total, gaps = 0, 0, []
    for seed in range(30):
        ability, ease, _, ratings, (at, items) = crowd(np.random.default_rng(seed), 10, 300, 2, 5)
        fit = glad(ratings)
        hits += sum(fit.ability[r].low <= a <= fit.ability[r].high for r, a in zip(at, ability, strict=True))
        total += len(at)
        gaps += list((np.log(fit.difficulty[items]) + ease) / fit.difficulty_spread[items])
    assert hits / total > 0.9
    assert np.std(gaps) == pytest.approx(1, abs=0.05)


def test_posteriors_are_calibrated_probabilities():
    _, _, truth, ratings, (_, items) = crowd(np.random.default_rng(3), 15, 3000, 2, 3)
    fit = glad(ratings)
    assert fit.posteriors.sum(1) == pytest.approx(np.ones(3000))
    sure = fit.posteriors[items, 1]
    for low, high in [(0.0, 0.2), (0.2, 0.5), (0.5, 0.8), (0.8, 1.0)]:
        inside = (sure >= low) & (sure < high)
        assert truth[inside].mean() == pytest.approx(sure[inside].mean(), abs=0.06)


def test_the_gradient_is_exact():
    _, _, _, ratings, _ = crowd(np.random.default_rng(4), 5, 9, 3, 4)
    hill = _Hill.of(ratings)
    point = np.random.default_rng(5).normal(size=5 + 3)
    assert check_grad(lambda at: hill.down(at)[0], lambda at: hill.down(at)[1], point) < 1e-5


def test_the_likelihood_is_that_of_the_definition():
    """Two items, three raters, the integral over easiness by brute force."""
    ratings = Ratings.from_table([[0, 1], [0, 0], [1, 1]])
    hill = _Hill.of(ratings)
    ability, prevalence = np.array([1.5, 0.7, -0.4]), np.array([0.3, 0.7])
    _, likelihood = hill.posteriors(ability, prevalence)
    ease = np.linspace(-8, 8, 4001)
    density = np.exp(-(ease**2) / 2) / np.sqrt(2 * np.pi)
    for item, said in enumerate([(0, 0, 1), (1, 0, 1)]):
        total = np.zeros_like(ease)
        for truth in (0, 1):
            chance = np.full_like(ease, prevalence[truth])
            for rater, answer in enumerate(said):
                right = expit(ability[rater] * np.exp(ease))
                chance *= right if answer == truth else 1 - right
            total += chance
        assert likelihood[item] == pytest.approx(np.log(np.trapezoid(total * density, ease)), abs=1e-3)


def test_a_rater_who_says_the_opposite_has_a_negative_ability_and_is_used():
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, 400)
    table = [np.where(rng.random(400) < p, truth, 1 - truth).tolist() for p in (0.85, 0.8, 0.8, 0.1)]
    fit = glad(Ratings.from_table(table))
    assert fit.ability[3].high < 0
    assert np.mean(fit.posteriors.argmax(1) == truth) > 0.9


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([[0, 1, 1]], "GLAD is refused: with one rater"),
        ([[0, 1], [1, 1]], "three are the least"),
        ([[1, 1], [1, 1], [1, 1]], "nothing to tell apart"),
        ([[0, None, None], [None, 1, None], [None, None, 0]], "no item was judged by two"),
    ],
)
def test_refuses_what_is_not_identifiable(table, reason: str):
    with pytest.raises(DataError, match=reason):
        glad(Ratings.from_table(table))


def test_says_when_it_does_not_converge():
    *_, ratings, _ = crowd(np.random.default_rng(7), 6, 100, 2, 4)
    with pytest.raises(DataError, match="did not converge in 1 "):
        glad(ratings, max_iterations=1)


def test_parts_of_one_item_are_not_independent():
    *_, ratings, _ = crowd(np.random.default_rng(8), 8, 60, 2, 5)
    copies = Ratings(ratings.raters, tuple(range(240)), ratings.categories, np.tile(ratings.codes, 4))
    alone, together = glad(copies), glad(copies, list(range(60)) * 4)
    for one, other in zip(alone.ability, together.ability, strict=True):
        assert other.value == one.value
        assert other.high - other.low > 1.5 * (one.high - one.low)
