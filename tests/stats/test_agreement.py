from __future__ import annotations

from fractions import Fraction

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.stats import Ratings, agreement, gwet_ac1, krippendorff_alpha, raw_agreement

# Krippendorff, "Computing Krippendorff's Alpha-Reliability" (2011), example C: 4 observers, 12 units.
OBSERVERS = [
    [1, 2, 3, 3, 2, 1, 4, 1, 2, None, None, None],
    [1, 2, 3, 3, 2, 2, 4, 1, 2, 5, None, 3],
    [None, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, None],
    [1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, None],
]


@pytest.mark.parametrize(("level", "alpha"), [("nominal", 0.743), ("ordinal", 0.815), ("interval", 0.849)])
def test_alpha_of_the_published_example(level, alpha: float):
    result = krippendorff_alpha(Ratings.from_table(OBSERVERS), level).estimate
    assert result is not None
    assert result.value == pytest.approx(alpha, abs=5e-4)
    assert result.n == 11  # unit 12 was seen by one observer only
    assert result.low < alpha < result.high


def test_ac1_on_paper():
    # Two raters, 100 items, 80 both yes, 10 both no, 10 split: p_a = 0.9, pi = 0.85, p_e = 2 * 0.85 * 0.15 = 0.255.
    one = ["yes"] * 80 + ["no"] * 10 + ["yes"] * 5 + ["no"] * 5
    two = ["yes"] * 80 + ["no"] * 10 + ["no"] * 5 + ["yes"] * 5
    ratings = Ratings.from_table([one, two])
    ac1, raw = gwet_ac1(ratings).estimate, raw_agreement(ratings).estimate
    assert ac1 is not None
    assert raw is not None
    assert ac1.value == pytest.approx((0.9 - 0.255) / (1 - 0.255))
    assert raw.value == pytest.approx(0.9)


def ac1_item_by_item(table: list[list[int | None]], *, chance_from_all: bool) -> float:
    """Gwet (2008), equations for any number of raters with missing ones, without arrays."""
    items = [[row[number] for row in table if row[number] is not None] for number in range(len(table[0]))]
    paired = [one for one in items if len(one) > 1]
    categories = sorted({value for one in paired for value in one})
    agree = [
        Fraction(sum(one.count(k) * (one.count(k) - 1) for k in categories), len(one) * (len(one) - 1))
        for one in paired
    ]
    counted = items if chance_from_all else paired
    shares = [sum(Fraction(one.count(k), len(one)) for one in counted) / len(counted) for k in categories]
    chance = sum(share * (1 - share) for share in shares) / (len(categories) - 1)
    return float((sum(agree) / len(agree) - chance) / (1 - chance))


def test_ac1_of_the_published_example():
    # Gwet's package irrCAC gives 0.77544: its chance agreement counts the item that one observer alone has seen, too.
    assert ac1_item_by_item(OBSERVERS, chance_from_all=True) == pytest.approx(0.77544, abs=5e-6)
    found = gwet_ac1(Ratings.from_table(OBSERVERS)).estimate
    assert found is not None
    assert found.value == pytest.approx(ac1_item_by_item(OBSERVERS, chance_from_all=False))


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.lists(st.one_of(st.none(), st.integers(0, 4)), min_size=3, max_size=3), min_size=2, max_size=12),
    st.sampled_from(["nominal", "ordinal", "interval"]),
)
def test_alpha_equals_the_krippendorff_package(columns: list[list[int | None]], level):
    """Wherever both give a number it is the same. They differ where alpha does not exist: with a single category the
    package raises, or, where a second one occurs only in an item that one rater saw, warns and gives NaN; here both are
    refused with the reason. And where resampling leaves alpha undefined too often, ours is refused, because a value
    whose uncertainty cannot be told is not reported.
    """
    table = [list(row) for row in zip(*columns, strict=True)]
    if all(cell is None for row in table for cell in row):
        return
    ours = krippendorff_alpha(Ratings.from_table(table), level, replicates=5)
    pairable = [[cell for cell in column if cell is not None] for column in columns]
    pairable = [column for column in pairable if len(column) > 1]
    if len({cell for column in pairable for cell in column}) < 2:
        assert ours.estimate is None
        assert ours.reason
        return
    if ours.estimate is not None:
        data = np.array([[np.nan if cell is None else cell for cell in row] for row in table], dtype=float)
        theirs = krippendorff.alpha(reliability_data=data, level_of_measurement=level)
        assert ours.estimate.value == pytest.approx(theirs, abs=1e-9)


def test_recovers_planted_agreement_and_covers_it():
    # A rater reports the truth with probability q and otherwise draws from the base rates: nominal alpha is
    # q**2.
    rng = np.random.default_rng(0)
    q, base, hits, values = 0.8, [0.5, 0.3, 0.2], 0, []
    for trial in range(120):
        truth = rng.choice(3, size=120, p=base)
        table = [np.where(rng.random(120) < q, truth, rng.choice(3, size=120, p=base)).tolist() for _ in range(3)]
        estimate = krippendorff_alpha(Ratings.from_table(table), "nominal", seed=trial, replicates=200).estimate
        assert estimate is not None
        values.append(estimate.value)
        hits += estimate.low <= q * q <= estimate.high
    assert np.mean(values) == pytest.approx(q * q, abs=0.01)
    assert hits / 120 > 0.9


def test_undefined_is_none_with_a_reason_and_never_one():
    same = agreement(Ratings.from_table([["good"] * 8, ["good"] * 8]))
    assert same.alpha.estimate is None
    assert same.ac1.estimate is None
    assert "one category" in (same.alpha.reason or "")
    assert same.raw.estimate is not None
    assert same.raw.estimate.value == 1.0
    assert same.raw.estimate.low < 0.8
    alone = agreement(Ratings.from_table([[1, 2, 3], [None, None, None]]))
    assert (alone.alpha.estimate, alone.ac1.estimate, alone.raw.estimate) == (None, None, None)
    assert "two raters" in (alone.raw.reason or "")


def test_one_category_nearly_everywhere_makes_alpha_low_and_ac1_high():
    one = [0] * 96 + [1, 1, 0, 0]
    two = [0] * 96 + [0, 0, 1, 1]
    result = agreement(Ratings.from_table([one, two]))
    assert result.alpha.estimate is not None
    assert result.ac1.estimate is not None
    assert result.alpha.estimate.value < 0.05
    assert result.ac1.estimate.value > 0.95
    assert result.prevalence == {0: pytest.approx(0.98), 1: pytest.approx(0.02)}


def test_too_rare_a_difference_is_refused():
    result = krippendorff_alpha(Ratings.from_table([[0] * 50, [0] * 49 + [1]]), "nominal")
    assert result.estimate is None
    assert "not defined" in (result.reason or "")


def test_the_interval_level_needs_numbers():
    with pytest.raises(DataError, match="numbers"):
        krippendorff_alpha(Ratings.from_table([["a", "b"], ["b", "a"]]), "interval")


def test_where_the_package_gives_nan_the_reason_is_given():
    table = [[1, 1, 3], [1, 1, None]]  # the 3 was seen by one rater only: it is no pair, and nothing varies
    data = np.array([[1, 1, 3], [1, 1, np.nan]])
    with pytest.warns(RuntimeWarning, match="invalid value"):
        assert np.isnan(krippendorff.alpha(reliability_data=data, level_of_measurement="nominal"))
    ours = krippendorff_alpha(Ratings.from_table(table), "nominal")
    assert ours.estimate is None
    assert "one category" in (ours.reason or "")


def test_parts_of_one_item_are_resampled_together():
    rng = np.random.default_rng(1)
    triples, clusters = [], []
    for item in range(40):
        agree, value = rng.random() < 0.7, int(rng.integers(0, 2))
        for step in range(8):
            clusters.append(item)
            triples += [("a", (item, step), value), ("b", (item, step), value if agree else 1 - value)]
    ratings = Ratings.from_triples(triples)
    alone, together = agreement(ratings), agreement(ratings, "nominal", clusters)
    for one, other in [(alone.alpha, together.alpha), (alone.ac1, together.ac1), (alone.raw, together.raw)]:
        assert one.estimate is not None
        assert other.estimate is not None
        assert other.estimate.value == pytest.approx(one.estimate.value)
        assert other.estimate.high - other.estimate.low > 2 * (one.estimate.high - one.estimate.low)
        assert other.estimate.n == 320
    with pytest.raises(DataError, match="320 items but 3 cluster names"):
        agreement(ratings, "nominal", [1, 2, 3])


def test_perfect_agreement_on_few_items_is_not_certain():
    few = agreement(Ratings.from_table([[0, 1, 0, 1, 0], [0, 1, 0, 1, 0]]))
    many = agreement(Ratings.from_table([[0, 1] * 200, [0, 1] * 200]))
    for one, other in [(few.alpha, many.alpha), (few.ac1, many.ac1)]:
        assert one.estimate is not None
        assert other.estimate is not None
        assert (one.estimate.value, one.estimate.high) == (1, 1)
        assert one.estimate.low < 0.4
        assert 0.97 < other.estimate.low < 1


def test_raters_are_counted_who_share_an_item():
    assert agreement(Ratings.from_table([[0, 1, None], [0, 0, None], [None, None, 1]])).raters == 2


def test_many_items_of_few_kinds_have_the_same_value_and_interval(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(2)
    truth = rng.integers(0, 3, 2500)
    table = [np.where(rng.random(2500) < 0.8, truth, rng.integers(0, 3, 2500)).tolist() for _ in range(3)]
    ratings = Ratings.from_table(table)
    fast = [agreement(ratings, level) for level in ("nominal", "ordinal", "interval")]
    monkeypatch.setattr("kilter.stats.bootstrap._MANY", 10**9)
    slow = [agreement(ratings, level) for level in ("nominal", "ordinal", "interval")]
    for one, other in zip(fast, slow, strict=True):
        for name in ("alpha", "ac1", "raw"):
            a, b = getattr(one, name).estimate, getattr(other, name).estimate
            assert (a.value, a.n, a.method) == (pytest.approx(b.value, abs=1e-12), b.n, b.method)
            assert (a.low, a.high) == pytest.approx((b.low, b.high), abs=0.2 * (b.high - b.low))
