from __future__ import annotations

import numpy as np
import pytest

from kilter.errors import DataError
from kilter.stats import first_place_share


def test_recovers_a_planted_liking_for_the_first_place():
    rng = np.random.default_rng(0)
    hits, values = 0, []
    for _ in range(400):
        first = rng.integers(0, 2, 80)
        found = first_place_share(list((rng.random(80) < 0.65).astype(float)), first.tolist())
        values.append(found.value)
        hits += found.low <= 0.65 <= found.high
    assert np.mean(values) == pytest.approx(0.65, abs=0.01)
    assert hits / 400 > 0.93


def test_a_liking_for_a_response_is_none_for_a_place_when_sides_are_dealt():
    first = np.random.default_rng(1).integers(0, 2, 400)
    found = first_place_share((first == 0).astype(float).tolist(), first.tolist())  # always chooses response 0
    assert found.low < 0.5 < found.high
    with pytest.raises(DataError, match="response 0 was shown first every time"):
        first_place_share([1.0] * 30, [0] * 30)


def test_pairs_of_one_ranking_are_not_independent():
    rng = np.random.default_rng(2)
    chosen, first, items = [], [], []
    for item in range(60):
        keen = float(rng.random() < 0.6)
        for _ in range(6):
            chosen.append(keen)
            first.append(int(rng.integers(0, 2)))
            items.append(item)
    alone, together = first_place_share(chosen, first), first_place_share(chosen, first, items)
    assert together.high - together.low > 2 * (alone.high - alone.low)


def test_nothing_and_nonsense_are_refused():
    with pytest.raises(DataError, match="no choice was made"):
        first_place_share([], [])
    with pytest.raises(DataError, match="Choices are 1"):
        first_place_share([0.5], [0])
    with pytest.raises(DataError, match="Choices are 1"):
        first_place_share([1.0], [0, 1])
