"""What raters may see of themselves: the same numbers, without telling which items were checks.

Gold items look like work. A page whose counts grew with work alone would betray them one by one, so here they are work
too; and accuracy on them covers whole blocks of items, so that no change of it can be laid to a single one.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from kilter.errors import DataError
from kilter.feedback.quality.aspects import of_use
from kilter.feedback.quality.gold import gold_scores
from kilter.feedback.quality.pace import Pace
from kilter.feedback.quality.rater import Change
from kilter.feedback.quality.raters import REPLICATES, task_raters
from kilter.feedback.tasks import Task
from kilter.feedback.work import Aside, Result
from kilter.stats import Estimate, Finding, rate

BLOCK = 50
"""Accuracy is told of the checks among so many items, or twice, three times as many."""

FEWEST_CHECKS = 10
FEWEST_SHARED = 20
"""Fewer items that others judged too, and a number that is compared with theirs would tell single answers of theirs."""


@dataclass(frozen=True)
class OwnQuality:
    """One rater, for themselves; fields as in `RaterQuality`, counts and times over work and checks alike.

    Attributes:
        gold: share of the checks among the first 50, 100, ... items that were answered right.
    """

    judge: str
    items: int
    judgments: int
    first: float
    last: float
    pace: Pace
    gold: Finding
    others: Finding
    leniency: dict[str, Finding]
    position: Finding
    others_change: Change
    time_change: Change
    skipped: Estimate
    flagged: Estimate

    def as_dict(self) -> dict[str, Any]:
        """As JSON; whether answers were quick is for researchers."""
        found = ("gold", "others", "position", "others_change", "time_change", "skipped", "flagged")
        pace = self.pace.as_dict()
        return {
            **{name: getattr(self, name) for name in ("judge", "items", "judgments", "first", "last")},
            "pace": {name: pace[name] for name in ("seconds", "quartiles", "per_hour")},
            **{name: getattr(self, name).as_dict() for name in found},
            "leniency": {name: one.as_dict() for name, one in self.leniency.items()},
        }


def own_quality(
    task: Task,
    results: Sequence[Result],
    asides: Sequence[Aside],
    judge: str,
    *,
    seed: int = 0,
    replicates: int = REPLICATES,
) -> OwnQuality:
    """What the rater of this name may see of themselves.

    Raises:
        DataError: they have judged nothing yet.
    """
    judged = [_as_work(one) for one in results if one.item.use in ("work", "gold")]
    if not any(one.judge == judge for one in judged):
        raise DataError("You have judged nothing in this task yet; your numbers are here once you have.")
    left = [_as_work(one) for one in asides if one.item.use in ("work", "gold")]
    (found,) = task_raters(task, judged, left, only=judge, seed=seed, replicates=replicates, refits=0).raters
    shared = found.others.estimate
    alone = shared is not None and shared.n < FEWEST_SHARED
    few = Finding(None, f"shown once others have judged {FEWEST_SHARED} of your items")
    return OwnQuality(
        judge, found.items, found.judgments, found.first, found.last, found.pace,
        _accuracy(task, [one for one in results if one.judge == judge], seed, replicates),
        few if alone else found.others, dict.fromkeys(found.leniency, few) if alone else found.leniency, found.position,
        found.others_change, found.time_change, found.skipped, found.flagged,
    )  # fmt: skip


def _accuracy(task: Task, own: Sequence[Result], seed: int, replicates: int) -> Finding:
    """Accuracy on the gold items of the whole blocks that a rater has behind them."""
    order = list(dict.fromkeys(one.artifact for one in sorted(own, key=_when) if one.item.use in ("work", "gold")))
    told = set(order[: len(order) // BLOCK * BLOCK])
    scores = [score for item, score in gold_scores(task, of_use(own, "gold")) if item in told]
    if len(scores) < FEWEST_CHECKS:
        return Finding(None, f"shown after every {BLOCK} items, once {FEWEST_CHECKS} checks are among them")
    return Finding.of(lambda: rate(scores, seed=seed, replicates=replicates))


def _when(one: Result) -> float:
    return one.submitted


One = TypeVar("One", Result, Aside)


def _as_work(one: One) -> One:
    return replace(one, item=replace(one.item, use="work"))
