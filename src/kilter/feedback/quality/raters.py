"""The raters of a task, each against all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from kilter.feedback.quality.aspects import Aspect, aspects, of_use
from kilter.feedback.quality.basis import Basis, basis, require_work
from kilter.feedback.quality.gold import gold_scores
from kilter.feedback.quality.habits import ALONE, gaps_to_others, leniency, position_bias, shares_with_others
from kilter.feedback.quality.models import Fits
from kilter.feedback.quality.notes import notes
from kilter.feedback.quality.pace import pace, quick_below, seconds_per_item
from kilter.feedback.quality.rater import Change, Confusion, RaterQuality
from kilter.feedback.tasks import Task
from kilter.feedback.work import Aside, Result
from kilter.stats import (
    Estimate,
    Finding,
    confusion_intervals,
    drift_of_rate,
    drift_of_time,
    rate,
    wilson,
)
from kilter.stats.bootstrap import FloatArray

REPLICATES = 500
"""Bootstrap replicates of each number of each rater: there are many of both."""

REFITS = 100
"""Bootstrap replicates of Dawid and Skene's model."""

NO_GOLD = Finding(None, "no gold item was judged")


@dataclass(frozen=True)
class TaskRaters:
    """All raters of a task, those with most items first.

    Attributes:
        others: how often the raters of an item give the same answer: what a rater's own share is compared with.
        gold: accuracy of all raters together.
        models_refused: why Dawid-Skene or GLAD say nothing, by model and aspect.
    """

    basis: Basis
    raters: tuple[RaterQuality, ...]
    others: Finding
    gold: Finding
    models_refused: dict[str, str]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {
            "basis": self.basis.as_dict(),
            "others": self.others.as_dict(),
            "gold": self.gold.as_dict(),
            "models_refused": self.models_refused,
            "raters": [one.as_dict() for one in self.raters],
        }

    def rater(self, judge: str) -> RaterQuality | None:
        """The one of this name."""
        return next((one for one in self.raters if one.judge == judge), None)


def task_raters(
    task: Task,
    results: Sequence[Result],
    asides: Sequence[Aside] = (),
    *,
    only: str | None = None,
    seed: int = 0,
    replicates: int = REPLICATES,
    refits: int = REFITS,
) -> TaskRaters:
    """Every rater of a task, from its work items; accuracy from its gold items.

    `only` measures one rater, against all; who has judged no work item is not among them. `refits` 0 leaves the
    models of who is right out, which take longest. Raises `DataError` where nothing was judged yet.
    """
    work = require_work(task, results)
    crowd = _Crowd(task, work, of_use(results, "gold"), asides, seed, replicates)
    confusion, ability, refused = _models(crowd.aspects, seed, refits)
    shares = [(share, item) for own in crowd.shares.values() for item, share in own]
    others = _rate(shares, ALONE, crowd)
    gold = _rate([(score, item) for own in crowd.gold.values() for item, score in own], NO_GOLD, crowd)
    found = []
    for judge in crowd.order:
        if only in (None, judge):
            rater = replace(crowd.rater(judge), confusion=confusion.get(judge, ()), ability=ability.get(judge, {}))
            found.append(replace(rater, notes=notes(rater, others, gold)))
    return TaskRaters(basis(task, results), tuple(found), others, gold, refused)


class _Crowd:
    """What is computed once for all raters, and each rater from it."""

    def __init__(
        self, task: Task, work: Sequence[Result], gold: Sequence[Result], asides: Sequence[Aside], seed: int,
        replicates: int,
    ) -> None:  # fmt: skip
        self.task = task
        self.options = {"seed": seed, "replicates": replicates}
        self.work = _by_judge(work)
        self.gold = {judge: gold_scores(task, own) for judge, own in _by_judge(gold).items()}
        self.asides = asides
        self.aspects = aspects(task, work)
        self.shares = shares_with_others(self.aspects)
        graded = [one for one in self.aspects if one.scale is not None and one.compared and one.main]
        self.gaps = {one.title: gaps_to_others(one) for one in graded}
        self.times = {judge: seconds_per_item(own) for judge, own in self.work.items()}
        self.quick_below = quick_below(self.times)
        items = {judge: len({one.artifact for one in own}) for judge, own in self.work.items()}
        self.order = sorted(self.work, key=lambda judge: (-items[judge], judge))

    def rater(self, judge: str) -> RaterQuality:
        """One rater, without what the models say."""
        own, gold, shares = self.work[judge], self.gold.get(judge, []), self.shares.get(judge, [])
        scores, seconds = [score for _, score in gold], self.times[judge]
        return RaterQuality(
            judge=judge,
            simulated=own[0].judgment.principal == "simulated",
            items=len({one.artifact for one in own}),
            judgments=len(own),
            gold_items=len(gold),
            first=min(one.submitted for one in own),
            last=max(one.submitted for one in own),
            pace=pace(seconds, self.quick_below, **self.options),
            gold=_rate([(score, item) for item, score in gold], NO_GOLD, self),
            others=_rate([(share, item) for item, share in shares], ALONE, self),
            leniency={
                title: leniency(gaps[judge], **self.options) for title, gaps in self.gaps.items() if judge in gaps
            },
            position=position_bias(self.task, own, **self.options),
            gold_change=Change.of(lambda: drift_of_rate(scores, **self.options)),
            others_change=Change.of(lambda: drift_of_rate([share for _, share in shares], **self.options)),
            time_change=Change.of(lambda: drift_of_time(seconds, **self.options)),
            skipped=self._set_aside(judge, "skipped"),
            flagged=self._set_aside(judge, "flagged"),
            confusion=(),
            ability={},
        )

    def _set_aside(self, judge: str, state: str) -> Estimate:
        """Share of the work items that a rater saw and skipped, or flagged."""
        left = [one.state for one in self.asides if one.judge == judge and one.item.use == "work"]
        seen = len({one.artifact for one in self.work[judge]}) + len(left)
        return wilson(left.count(state), seen)  # type: ignore[arg-type]  # a state


def _by_judge(results: Sequence[Result]) -> dict[str, list[Result]]:
    found: dict[str, list[Result]] = {}
    for one in results:
        found.setdefault(one.judge, []).append(one)
    return found


def _rate(shares: Sequence[tuple[float, str]], missing: Finding, crowd: _Crowd) -> Finding:
    """Mean share with items resampled, or `missing` without any."""
    if not shares:
        return missing
    return Finding.of(lambda: rate([share for share, _ in shares], [item for _, item in shares], **crowd.options))


def _models(
    found: Sequence[Aspect], seed: int, refits: int
) -> tuple[dict[str, tuple[Confusion, ...]], dict[str, dict[str, Estimate]], dict[str, str]]:
    """Confusion matrices and abilities by judge, and why a model is missing, by model and aspect."""
    confusion: dict[str, tuple[Confusion, ...]] = {}
    ability: dict[str, dict[str, Estimate]] = {}
    refused: dict[str, str] = {}
    for fits in (Fits(one) for one in found if one.main and refits):
        title, ratings = fits.aspect.title, fits.ratings
        if fits.dawid_skene_refused:
            refused[f"Dawid-Skene of {title}"] = fits.dawid_skene_refused
        else:
            for judge, one in _confusion(fits, seed, refits).items():
                confusion[judge] = (*confusion.get(judge, ()), one)
        if fits.glad is None:
            refused[f"GLAD of {title}"] = str(fits.glad_refused)
            continue
        for rater, estimate in zip(ratings.raters, fits.glad.ability, strict=True):
            ability.setdefault(str(rater), {})[title] = estimate
    return confusion, ability, refused


def _confusion(fits: Fits, seed: int, refits: int) -> dict[str, Confusion]:
    fit = fits.dawid_skene
    assert fit is not None  # the caller has looked
    aspect = fits.aspect
    clusters = aspect.clusters(fits.ratings)
    sure = confusion_intervals(fits.ratings, fit, clusters, seed=seed, replicates=refits)
    return {
        str(judge): Confusion(
            aspect.question, aspect.name, fit.categories, _rows(fit.confusion[row]), _rows(sure.low[row]),
            _rows(sure.high[row]), tuple(sure.seen[row].tolist()), sure.accuracy[row],
        )
        for row, judge in enumerate(fits.ratings.raters)
    }  # fmt: skip


def _rows(table: FloatArray) -> tuple[tuple[float, ...], ...]:
    return tuple(tuple(row.tolist()) for row in table)
