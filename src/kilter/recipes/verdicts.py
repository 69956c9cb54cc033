"""What judges said of comparisons, as what training and statistics read: which beat which, which were as good."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from kilter.feedback.tasks import BOTH_BAD, TIE
from kilter.stats import Ratings, krippendorff_alpha

LEVEL = (TIE, BOTH_BAD)
"""Values of a comparison in which neither is the better one."""
LEAST_SHARED = 20
"""Comparisons that two raters must have judged before their agreement may end a wait: a few that agree prove little,
and resampling a few gives an interval that is too narrow."""


@dataclass(frozen=True)
class Verdict:
    """One judgment of a comparison.

    Attributes:
        item: number of the comparison.
        judge, principal: as on the record.
        judgment: its id on the record.
        order: for pairs a < b of responses, (a, b, the better one); None for a tie.
    """

    item: int
    judge: str
    principal: str
    judgment: str
    order: tuple[tuple[int, int, int | None], ...]

    @property
    def pairs(self) -> list[tuple[int, int]]:
        """(better, worse) of each pair that was decided."""
        return [(better, b if better == a else a) for a, b, better in self.order if better is not None]

    @property
    def ties(self) -> list[tuple[int, int]]:
        """The pairs that were not."""
        return [(a, b) for a, b, better in self.order if better is None]

    @property
    def triples(self) -> list[tuple[str, str, float]]:
        """(judge, pair, value) of each pair: 1 where its first response is better, 0 where the second, 0.5 a tie."""
        return [
            (self.judge, f"{self.item}:{a}:{b}", 0.5 if better is None else int(a == better))
            for a, b, better in self.order
        ]


def order_of(value: Any) -> tuple[tuple[int, int, int | None], ...]:
    """The order in a judgment's value: of two the better one's number or of `LEVEL`, of more a ranking, ties nested."""
    if not isinstance(value, list | tuple):
        return ((0, 1, None if value in LEVEL else value),)
    groups = [group if isinstance(group, list | tuple) else [group] for group in value]
    place = {number: rank for rank, group in enumerate(groups) for number in group}
    numbers = sorted(place)
    return tuple(
        (a, b, None if place[a] == place[b] else a if place[a] < place[b] else b)
        for a in numbers
        for b in numbers
        if a < b
    )


def judges_of(judged: Iterable[tuple[str, str]]) -> dict[str, dict[str, Any]]:
    """Who stands behind each judge, and how much they judged, from (judge, principal) of each judgment."""
    judges: dict[str, dict[str, Any]] = {}
    for judge, principal in judged:
        judges.setdefault(judge, {"principal": principal, "judgments": 0})["judgments"] += 1
    return dict(sorted(judges.items()))


def agree(verdicts: Sequence[Verdict], least: float) -> bool:
    """Whether the lower end of the 95 % interval of Krippendorff's alpha is at least this.

    Of a ranking the first pair counts: pairs of one ranking are not independent, and the interval resamples items.
    """
    triples = [triple for one in verdicts for triple in one.triples if triple[1].endswith(":0:1")]
    raters: dict[str, int] = {}
    for _, pair, _ in triples:
        raters[pair] = raters.get(pair, 0) + 1
    if sum(count > 1 for count in raters.values()) < LEAST_SHARED:
        return False
    alpha = krippendorff_alpha(Ratings.from_triples(triples), "interval").estimate
    return alpha is not None and alpha.low >= least
