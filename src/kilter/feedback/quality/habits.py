"""What a rater tends to: the others' answers or not, higher or lower grades than theirs, the first place."""

from __future__ import annotations

from collections import Counter
from collections.abc import Hashable, Mapping, Sequence

import numpy as np

from kilter.feedback.quality.aspects import Aspect, Part
from kilter.feedback.tasks import BOTH_BAD, TIE, Task, side_of
from kilter.feedback.work import Result
from kilter.stats import Finding, bootstrap_mean, first_place_share

ALONE = Finding(None, "nobody else judged the same items")


def shares_with_others(aspects: Sequence[Aspect]) -> dict[str, list[tuple[str, float]]]:
    """By judge, for each item that others judged too, in the order of time: the share of their answers that are equal.

    Over all main aspects and parts of the item; a share of 0.5 may mean that half of the others agree, or all of them
    on half of it.
    """
    found: dict[str, dict[str, list[float]]] = {}
    times: dict[tuple[str, str], float] = {}
    for aspect in aspects:
        if aspect.main:
            counts = _counts(aspect)
            for one in aspect.said:
                others = counts[one.thing].total() - 1
                if others:
                    share = (counts[one.thing][one.value] - 1) / others
                    found.setdefault(one.judge, {}).setdefault(one.artifact, []).append(share)
                    times[one.judge, one.artifact] = one.submitted
    return {
        judge: [
            (item, sum(items[item]) / len(items[item])) for item in sorted(items, key=lambda one: times[judge, one])
        ]
        for judge, items in found.items()
    }


def gaps_to_others(aspect: Aspect) -> dict[str, list[tuple[str, float]]]:
    """By judge, for each grade: its item, and how far it is above the mean of the others' grades of the same thing."""
    gaps: dict[str, list[tuple[str, float]]] = {}
    sums: dict[tuple[str, Part], float] = {}
    counts = _counts(aspect)
    for one in aspect.said:
        sums[one.thing] = sums.get(one.thing, 0.0) + _grade(one.value)
    for one in aspect.said:
        others = counts[one.thing].total() - 1
        if others:
            mean = (sums[one.thing] - _grade(one.value)) / others
            gaps.setdefault(one.judge, []).append((one.artifact, _grade(one.value) - mean))
    return gaps


def leniency(gaps: Sequence[tuple[str, float]], *, seed: int, replicates: int) -> Finding:
    """Mean of one rater's gaps, in grades, with items resampled."""
    items, values = [item for item, _ in gaps], [gap for _, gap in gaps]
    if np.ptp(values) == 0:
        why = f"all {len(values)} grades are {values[0]:g} above the others', which tells no spread"
        return Finding(None, why)
    return Finding.of(lambda: bootstrap_mean(values, items, seed=seed, replicates=replicates))


def position_bias(task: Task, results: Sequence[Result], *, seed: int, replicates: int) -> Finding:
    """How often one rater preferred what stood first, over comparisons and the pairs of rankings; ties are left out."""
    if not any(question.type in ("comparison", "ranking") for question in task.questions):
        return Finding(None, "no question of this task puts responses side by side")
    if not task.blind:
        return Finding(None, "the sides are not dealt at random in this task (blind: false)")
    kinds = {question.name: question.type for question in task.questions}
    chosen: list[float] = []
    first: list[int] = []
    items: list[str] = []
    for one in results:
        shown = one.judgment.side_shown
        if kinds[one.question] in ("comparison", "ranking") and shown is not None:
            pairs = _by_place(shown, one.value)
            chosen += [float(won) for won, _ in pairs]
            first += [number for _, number in pairs]
            items += [one.artifact] * len(pairs)
    return Finding.of(lambda: first_place_share(chosen, first, items, seed=seed, replicates=replicates))


def _by_place(shown: Sequence[int], value: object) -> list[tuple[bool, int]]:
    """For each pair of places with a better one: whether it was the first, and which response stood there."""
    if isinstance(value, list):
        level = {number: at for at, group in enumerate(value) for number in _numbers(group)}
        return [
            (level[one] < level[other], one)
            for place, one in enumerate(shown)
            for other in shown[place + 1 :]
            if level[one] != level[other]
        ]
    side = side_of(value)
    return [] if side in (TIE, BOTH_BAD) else [(side == shown[0], shown[0])]


def _numbers(group: int | list[int]) -> list[int]:
    return group if isinstance(group, list) else [group]


def _counts(aspect: Aspect) -> Mapping[tuple[str, Part], Counter[Hashable]]:
    """How often each value was given, by thing."""
    counts: dict[tuple[str, Part], Counter[Hashable]] = {}
    for one in aspect.said:
        counts.setdefault(one.thing, Counter())[one.value] += 1
    return counts


def _grade(value: Hashable) -> float:
    return float(value)  # type: ignore[arg-type]  # of an aspect with a scale
