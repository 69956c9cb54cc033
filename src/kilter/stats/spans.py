"""How far raters agree on marked passages: alpha over characters, and the F1 of matched passages.

The two answer different questions. Alpha takes every character as a unit that a rater put into a category (marked or
not, and as what), corrects for chance, and gives long passages more weight. Matched F1 counts passages: how many of
those that one rater marked the other marked too. Both resample whole texts.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations, pairwise
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

from kilter.errors import DataError
from kilter.stats.agreement import without_disagreement
from kilter.stats.bootstrap import REPLICATES, FloatArray, IntArray, bootstrap, cluster_codes
from kilter.stats.estimate import Estimate, Finding
from kilter.stats.intervals import wilson

OVERLAP = 0.5
"""Passages match when what they share is at least this much of what they cover together."""


@dataclass(frozen=True)
class Span:
    """A marked passage: characters from `start` up to, not including, `end`."""

    start: int
    end: int
    type: Hashable = None

    def overlap(self, other: Span) -> float:
        """Shared characters as a share of those that the two cover together."""
        shared = max(0, min(self.end, other.end) - max(self.start, other.start))
        return shared / (self.end - self.start + other.end - other.start - shared)


@dataclass(frozen=True)
class MarkedText:
    """One text of `length` characters with the passages that each rater marked; none is an answer too.

    `cluster` is resampled as a whole: the prompt, where several texts answer one. Raises `DataError` for a passage
    outside the text.
    """

    length: int
    marks: Mapping[Hashable, Sequence[Span]]
    cluster: Hashable

    def __post_init__(self) -> None:
        for rater, spans in self.marks.items():
            odd = next((one for one in spans if not 0 <= one.start < one.end <= self.length), None)
            if odd:
                raise DataError(
                    f"Rater '{rater}' marked characters {odd.start} to {odd.end} of a text that has {self.length}."
                )


@dataclass(frozen=True)
class SpanAgreement:
    """What `span_agreement` measures.

    `alpha`, `f1`: marked or not. `typed_alpha`, `typed_f1`: of the same type, too. n of an alpha is the number of
    characters, of an F1 that of passages. `texts` were seen by two raters or more; `empty` of their pairs of raters
    marked nothing, both: they agree, but F1 cannot count them.
    """

    alpha: Finding
    typed_alpha: Finding
    f1: Finding
    typed_f1: Finding
    texts: int
    raters: int
    empty: int

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        found = {name: getattr(self, name).as_dict() for name in ("alpha", "typed_alpha", "f1", "typed_f1")}
        return {**found, "texts": self.texts, "raters": self.raters, "empty": self.empty}


def span_agreement(
    texts: Sequence[MarkedText], *, overlap: float = OVERLAP, seed: int = 0, replicates: int = REPLICATES
) -> SpanAgreement:
    """Alpha over characters and matched F1 of `texts`; those that one rater saw are left out.

    A character that a rater marked as several types counts as a category of its own, the set of them. `overlap` is
    what makes two passages match.
    """
    shared = [one for one in texts if len(one.marks) > 1]
    codes, clusters = cluster_codes([one.cluster for one in shared], len(shared))
    pairs = np.array([_matches(one, overlap) for one in shared]).reshape(len(shared), 4)
    options: dict[str, Any] = {"seed": seed, "replicates": replicates}
    return SpanAgreement(
        alpha=_alpha(shared, codes, clusters, typed=False, **options),
        typed_alpha=_alpha(shared, codes, clusters, typed=True, **options),
        f1=_f1(pairs[:, 0], pairs[:, 2], codes, clusters, f"overlap {overlap:g}", **options),
        typed_f1=_f1(pairs[:, 1], pairs[:, 2], codes, clusters, f"overlap {overlap:g} and type", **options),
        texts=len(shared),
        raters=len({rater for one in shared for rater in one.marks}),
        empty=int(pairs[:, 3].sum()),
    )


def matched_spans(one: Sequence[Span], other: Sequence[Span], *, typed: bool = False, overlap: float = OVERLAP) -> int:
    """How many passages of two raters match, each with one other at most; the most that can be matched."""
    if not one or not other:
        return 0
    shares = np.array([[a.overlap(b) for b in other] for a in one])
    fits = shares >= overlap
    if typed:
        fits &= np.array([[a.type == b.type for b in other] for a in one])
    rows, columns = linear_sum_assignment(np.where(fits, 1 + shares, 0.0), maximize=True)
    return int(fits[rows, columns].sum())


def _matches(text: MarkedText, overlap: float) -> tuple[int, int, int, int]:
    """Over all pairs of raters: matches, matches of equal type, passages of both, and pairs without any."""
    found = same = passages = empty = 0
    for one, other in combinations(text.marks.values(), 2):
        found += matched_spans(one, other, overlap=overlap)
        same += matched_spans(one, other, typed=True, overlap=overlap)
        passages += len(one) + len(other)
        empty += not one and not other
    return found, same, passages, empty


def _f1(
    hits: FloatArray, passages: FloatArray, codes: IntArray, clusters: int, name: str, *, seed: int, replicates: int
) -> Finding:
    if not len(hits):
        return Finding(None, "no text was marked by two raters")
    if not passages.sum():
        return Finding(None, "no rater marked anything, so there is nothing to match")
    sums = np.stack([np.bincount(codes, 2 * hits, clusters), np.bincount(codes, passages, clusters)], axis=1)
    name, n, share = f"matched F1, {name}", int(passages.sum()), float(2 * hits.sum() / passages.sum())
    if share in (0.0, 1.0):  # resampling would claim certainty
        used = int(np.count_nonzero(sums[:, 1]))
        few = wilson(share * used, used)
        return Finding(Estimate(share, few.low, few.high, n, f"{name}, Wilson on {used} texts that do not differ"))

    def statistic(weights: FloatArray) -> FloatArray:
        totals = weights @ sums
        with np.errstate(invalid="ignore", divide="ignore"):
            f1: FloatArray = totals[:, :1] / totals[:, 1:]
        return f1

    return _measured(statistic, clusters, n, name, seed, replicates)


def _alpha(
    texts: Sequence[MarkedText], codes: IntArray, clusters: int, *, typed: bool, seed: int, replicates: int
) -> Finding:
    if not texts:
        return Finding(None, "no text was marked by two raters")
    known: dict[Hashable, int] = {}
    counted = [_characters(text, known, typed) for text in texts]
    observed = np.bincount(codes, [one for one, _ in counted], clusters)
    margins = np.zeros((clusters, len(known)))
    for code, (_, counts) in zip(codes, counted, strict=True):
        margins[code, : len(counts)] += counts
    if np.count_nonzero(margins.sum(0)) < 2:
        why = "no rater marked anything, or all marked everything, so disagreement by chance cannot occur"
        return Finding(None, why)
    name, n = f"nominal alpha over characters{', by type' if typed else ''}", sum(text.length for text in texts)
    if not observed.any():
        share = margins.sum(0) / margins.sum()
        return Finding.of(lambda: without_disagreement(1 - float(share @ share), clusters, n, name))

    def statistic(weights: FloatArray) -> FloatArray:
        totals = weights @ margins
        size = totals.sum(1)
        expected = size**2 - (totals**2).sum(1)
        with np.errstate(invalid="ignore", divide="ignore"):
            alpha = 1 - (size - 1) * (weights @ observed) / np.where(expected > 1e-9, expected, np.nan)
        return np.asarray(alpha)[:, None]

    return _measured(statistic, clusters, n, name, seed, replicates)


def _characters(text: MarkedText, known: dict[Hashable, int], typed: bool) -> tuple[float, FloatArray]:
    """Observed disagreement of a text, and how often its raters gave each category of `known`, which grows."""
    said = np.stack([_categories(spans, text.length, known, typed) for spans in text.marks.values()])
    raters = len(said)
    counts = np.stack([(said == code).sum(0) for code in range(len(known))]).astype(np.float64)
    return float((raters**2 - (counts**2).sum(0)).sum() / (raters - 1)), counts.sum(1)


def _categories(spans: Sequence[Span], length: int, known: dict[Hashable, int], typed: bool) -> IntArray:
    """The category of each character `[length]`: the set of the types that cover it, or of True where types are one."""
    said = np.full(length, known.setdefault(frozenset(), len(known)), dtype=np.int64)
    borders = sorted({0, length, *(one.start for one in spans), *(one.end for one in spans)})
    for start, end in pairwise(borders):
        over = frozenset(one.type if typed else True for one in spans if one.start <= start and end <= one.end)
        if over:
            said[start:end] = known.setdefault(over, len(known))
    return said


def _measured(statistic: Any, clusters: int, n: int, name: str, seed: int, replicates: int) -> Finding:
    def estimate() -> Estimate:
        resampled = bootstrap(statistic, clusters, seed=seed, replicates=replicates, rows=clusters)
        low, high = resampled.bca()
        return Estimate(float(resampled.point[0]), low, high, n, f"{name}, {resampled.describe('BCa', n)}")

    return Finding.of(estimate)
