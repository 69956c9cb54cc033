from __future__ import annotations

import krippendorff
import numpy as np
import pytest

from kilter.errors import DataError
from kilter.stats import MarkedText, Span, matched_spans, span_agreement


def flaws(rng, length: int, marks: int, found: list[float]) -> dict[str, list[Span]]:
    """Raters who each find every one of `marks` planted passages with a chance of their own."""
    starts = np.sort(rng.choice(length // 20 - 1, marks, replace=False)) * 20
    return {
        f"r{n}": [Span(int(at), int(at) + 10, "wrong") for at in starts if rng.random() < p]
        for n, p in enumerate(found)
    }


def texts(seed: int, count: int, found: list[float]) -> list[MarkedText]:
    rng = np.random.default_rng(seed)
    return [MarkedText(400, flaws(rng, 400, 6, found), number) for number in range(count)]


def test_f1_is_the_share_of_flaws_that_each_rater_finds():
    # both find a flaw with p * p, and mark 2 * p of them: F1 = 2 p p / (2 p) = p
    hits, values = 0, []
    for seed in range(40):
        result = span_agreement(texts(seed, 60, [0.7, 0.7, 0.7]), seed=seed, replicates=200)
        assert result.f1.estimate is not None
        values.append(result.f1.estimate.value)
        hits += result.f1.estimate.low <= 0.7 <= result.f1.estimate.high
    assert np.mean(values) == pytest.approx(0.7, abs=0.01)
    assert hits / 40 > 0.85


def test_alpha_over_characters_equals_the_krippendorff_package():
    marked = texts(1, 12, [0.9, 0.6, 0.7])
    rows = [np.concatenate([_said(text, rater) for text in marked]) for rater in ("r0", "r1", "r2")]
    theirs = krippendorff.alpha(reliability_data=np.array(rows), level_of_measurement="nominal")
    ours = span_agreement(marked, replicates=50).alpha.estimate
    assert ours is not None
    assert ours.value == pytest.approx(theirs, abs=1e-9)
    assert ours.n == 12 * 400


def _said(text: MarkedText, rater: str) -> np.ndarray:
    said = np.zeros(text.length)
    for span in text.marks[rater]:
        said[span.start : span.end] = 1
    return said


def test_types_are_told_apart():
    one = {"a": [Span(0, 10, "wrong")], "b": [Span(2, 10, "other")]}
    two = {"a": [Span(5, 9, "wrong")], "b": [Span(5, 9, "wrong")]}
    three = {"a": [], "b": [Span(0, 3, "wrong")]}
    result = span_agreement([MarkedText(40, marks, n) for n, marks in enumerate([one, two, three])], replicates=50)
    assert result.f1.estimate is not None
    assert result.typed_f1.estimate is not None
    assert result.f1.estimate.value == pytest.approx(2 * 2 / 5)
    assert result.typed_f1.estimate.value == pytest.approx(2 * 1 / 5)


def test_a_character_of_two_types_is_a_category_of_its_own():
    both = MarkedText(10, {"a": [Span(0, 4, "x"), Span(2, 6, "y")], "b": [Span(0, 2, "x"), Span(2, 6, "y")]}, 0)
    plain = MarkedText(10, {"a": [], "b": [Span(0, 1, "x")]}, 1)
    result = span_agreement([both, plain], replicates=50)
    codes = {"": 0, "x": 1, "xy": 2, "y": 3}
    rows = [["x", "x", "xy", "xy", "y", "y", *[""] * 4, *[""] * 10], ["x", "x", *["y"] * 4, *[""] * 4, "x", *[""] * 9]]
    data = np.array([[codes[one] for one in row] for row in rows], dtype=float)
    theirs = krippendorff.alpha(reliability_data=data, level_of_measurement="nominal")
    if result.typed_alpha.estimate is not None:
        assert result.typed_alpha.estimate.value == pytest.approx(theirs)


def test_each_passage_matches_one_other_and_as_many_as_can():
    # A greedy choice of the best overlap first would take (0, 10) with (1, 10) and leave the other two alone.
    assert matched_spans([Span(0, 10), Span(5, 11)], [Span(1, 10), Span(0, 6)]) == 2
    assert matched_spans([Span(0, 10)], [Span(0, 10), Span(0, 10)]) == 1
    assert matched_spans([Span(0, 10)], [Span(6, 16)]) == 0
    assert matched_spans([], [Span(0, 1)]) == 0


def test_perfect_agreement_is_not_certain():
    marks = {"a": [Span(0, 5)], "b": [Span(0, 5)]}
    result = span_agreement([MarkedText(20, marks, n) for n in range(5)])
    for found in (result.alpha, result.f1):
        assert found.estimate is not None
        assert found.estimate.value == 1
        assert found.estimate.low < 0.6


def test_undefined_is_refused_with_the_reason():
    nothing = span_agreement([MarkedText(20, {"a": [], "b": []}, n) for n in range(5)])
    assert "no rater marked anything" in (nothing.alpha.reason or "")
    assert "nothing to match" in (nothing.f1.reason or "")
    assert nothing.empty == 5
    alone = span_agreement([MarkedText(20, {"a": [Span(0, 5)]}, 0)])
    assert "two raters" in (alone.alpha.reason or "")
    assert "two raters" in (alone.f1.reason or "")
    with pytest.raises(DataError, match=r"marked characters 3 to 30 of a text that has 20"):
        MarkedText(20, {"a": [Span(3, 30)]}, 0)
