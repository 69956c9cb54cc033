from __future__ import annotations

import numpy as np
import pytest

from kilter.errors import DataError
from kilter.stats import Ratings, confusion_intervals, dawid_skene, majority


def pool(rng, items: int, accuracies: list[float], per_item: int):
    """Binary truth at 40 % ones; each item judged by `per_item` raters with the given accuracies."""
    truth = (rng.random(items) < 0.4).astype(int)
    triples = []
    for item in range(items):
        for rater in rng.choice(len(accuracies), per_item, replace=False):
            right = rng.random() < accuracies[rater]
            triples.append((f"r{rater}", item, int(truth[item] if right else 1 - truth[item])))
    ratings = Ratings.from_triples(triples)
    order = [ratings.raters.index(f"r{rater}") for rater in range(len(accuracies))]
    return ratings, truth, order


def test_finds_the_careless_rater_and_beats_the_majority():
    accuracies = [0.95, 0.9, 0.6, 0.55, 0.5]
    ratings, truth, order = pool(np.random.default_rng(0), 1500, accuracies, 5)
    fit = dawid_skene(ratings)
    assert fit.accuracy()[order] == pytest.approx(accuracies, abs=0.04)
    assert fit.prevalence[1] == pytest.approx(0.4, abs=0.04)
    said = fit.posteriors.argmax(1)
    votes = majority(ratings).argmax(1)
    assert np.mean(said == truth) > np.mean(votes == truth) + 0.05


def test_recovers_confusion_matrices_of_three_categories():
    rng = np.random.default_rng(1)
    planted = np.array(
        [
            [[0.9, 0.1, 0.0], [0.1, 0.8, 0.1], [0.0, 0.1, 0.9]],
            [[0.8, 0.1, 0.1], [0.2, 0.7, 0.1], [0.3, 0.0, 0.7]],
            [[0.7, 0.3, 0.0], [0.0, 0.9, 0.1], [0.1, 0.1, 0.8]],
            [[0.34, 0.33, 0.33], [0.34, 0.33, 0.33], [0.34, 0.33, 0.33]],
        ]
    )
    truth = rng.choice(3, size=3000, p=[0.5, 0.3, 0.2])
    table = [[int(rng.choice(3, p=rater[true])) for true in truth] for rater in planted]
    fit = dawid_skene(Ratings.from_table(table))
    assert np.abs(fit.confusion - planted).max() < 0.06
    assert fit.prevalence == pytest.approx([0.5, 0.3, 0.2], abs=0.03)


def test_posteriors_are_calibrated_probabilities():
    ratings, truth, _ = pool(np.random.default_rng(2), 2000, [0.8, 0.75, 0.7, 0.65, 0.6, 0.5], 3)
    fit = dawid_skene(ratings)
    assert fit.posteriors.sum(1) == pytest.approx(np.ones(2000))
    sure = fit.posteriors[:, 1]
    for low, high in [(0.0, 0.3), (0.3, 0.7), (0.7, 1.0)]:
        inside = (sure >= low) & (sure < high)
        assert truth[inside].mean() == pytest.approx(sure[inside].mean(), abs=0.08)


def test_the_objective_never_falls_and_em_ends_at_a_fixed_point():
    ratings, _, _ = pool(np.random.default_rng(3), 300, [0.9, 0.7, 0.6, 0.5], 3)
    fit = dawid_skene(ratings)
    assert np.diff(fit.log_posterior).min() > -1e-9
    closer = dawid_skene(ratings, tolerance=1e-13, max_iterations=50_000)
    assert closer.posteriors == pytest.approx(fit.posteriors, abs=0.01)


def test_equals_a_plain_loop_over_ratings():
    """One step of EM written as in the paper, item by item, from where the fit ended: nothing may move."""
    ratings, _, _ = pool(np.random.default_rng(5), 60, [0.9, 0.8, 0.7, 0.6], 3)
    fit = dawid_skene(ratings, tolerance=1e-15, max_iterations=100_000)
    for item in range(len(ratings.items)):
        mass = [
            fit.prevalence[c]
            * np.prod([fit.confusion[r, c, said] for r, said in enumerate(ratings.codes[:, item]) if said >= 0])
            for c in range(2)
        ]
        assert np.array(mass) / sum(mass) == pytest.approx(fit.posteriors[item], abs=1e-6)
    for rater, said in enumerate(ratings.codes):
        counts = np.full((2, 2), 0.01)
        for item, code in enumerate(said):
            if code >= 0:
                counts[:, code] += fit.posteriors[item]
        assert counts / counts.sum(1, keepdims=True) == pytest.approx(fit.confusion[rater], abs=1e-6)


def test_intervals_of_accuracy_and_confusion_cover():
    accuracies = [0.92, 0.85, 0.8, 0.75, 0.6]
    hits = total = cells = inside = 0
    for seed in range(12):
        ratings, _, order = pool(np.random.default_rng(100 + seed), 200, accuracies, 4)
        fit = dawid_skene(ratings)
        sure = confusion_intervals(ratings, fit, seed=seed, replicates=60)
        for rater, true in zip(order, accuracies, strict=True):
            hits += sure.accuracy[rater].low <= true <= sure.accuracy[rater].high
            inside += np.sum((sure.low[rater, :, 1] <= [1 - true, true]) & ([1 - true, true] <= sure.high[rater, :, 1]))
            total, cells = total + 1, cells + 2
        assert sure.seen.sum(1) == pytest.approx([one.n for one in sure.accuracy])
    assert hits / total > 0.88
    assert inside / cells > 0.88


@pytest.mark.parametrize(
    ("table", "reason"),
    [
        ([[0, 1], [1, 1]], "three are the least"),
        ([[1, 1], [1, 1], [1, 1]], "nothing to tell apart"),
        ([[0, None, None], [None, 1, None], [None, None, 0]], "no item was judged by two"),
    ],
)
def test_refuses_what_is_not_identifiable(table, reason: str):
    with pytest.raises(DataError, match=reason):
        dawid_skene(Ratings.from_table(table))


def test_says_when_it_does_not_converge():
    ratings, _, _ = pool(np.random.default_rng(4), 200, [0.8, 0.6, 0.5], 3)
    with pytest.raises(DataError, match="did not converge in 2"):
        dawid_skene(ratings, max_iterations=2)


def test_parts_of_one_item_are_resampled_together():
    ratings, _, _ = pool(np.random.default_rng(6), 150, [0.9, 0.8, 0.75, 0.7], 4)
    copies = Ratings(ratings.raters, tuple(range(600)), ratings.categories, np.tile(ratings.codes, 4))
    fit = dawid_skene(copies)
    alone = confusion_intervals(copies, fit, replicates=60)
    together = confusion_intervals(copies, fit, list(range(150)) * 4, replicates=60)
    widths = [np.mean([one.high - one.low for one in found.accuracy]) for found in (alone, together)]
    assert widths[1] > 1.5 * widths[0]
