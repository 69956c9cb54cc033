"""What to look at in a rater's numbers, in words.

A note is written where an interval leaves out what would be expected and the difference is large enough to matter. One
interval in twenty leaves it out by chance: a note is a reason to look at the answers, not a verdict on a person.
"""

from __future__ import annotations

from collections.abc import Iterator

from kilter.feedback.quality.rater import Change, RaterQuality
from kilter.stats import Estimate, Finding

LARGE_BIAS, LARGE_LENIENCY, MANY_QUICK, MANY_SKIPPED, MUCH_FASTER = 0.1, 0.5, 0.1, 0.2, 0.7


def notes(rater: RaterQuality, others: Finding, gold: Finding) -> tuple[str, ...]:
    """The notes on one rater; `others` and `gold` are the same shares for all raters together."""
    return (*_accuracy(rater, others, gold), *_habits(rater), *_changes(rater))


def _accuracy(rater: RaterQuality, others: Finding, gold: Finding) -> Iterator[str]:
    for own, all_, what in (
        (rater.gold.estimate, gold.estimate, "is right about fewer gold items than the raters together"),
        (rater.others.estimate, others.estimate, "agrees less with the others than they with one another"),
    ):
        if own and all_ and own.high < all_.low:
            yield f"{what}: {_shown(own)} against {all_.value:.2f}"
    for one in rater.confusion:
        if one.accuracy.high < 1.1 / len(one.values):
            yield f"answers no better than a guess by Dawid-Skene: {_shown(one.accuracy)} of {len(one.values)} values"
    for title, ability in rater.ability.items():
        if ability.high < 0:
            yield f"says the opposite of the others on {title}: ability {_shown(ability)}"


def _habits(rater: RaterQuality) -> Iterator[str]:
    place = rater.position.estimate
    if place and not place.low <= 0.5 <= place.high and abs(place.value - 0.5) >= LARGE_BIAS:
        yield f"prefers the {'first' if place.value > 0.5 else 'second'} place: first {_shown(place)}"
    for title, found in rater.leniency.items():
        gap = found.estimate
        if gap and not gap.low <= 0 <= gap.high and abs(gap.value) >= LARGE_LENIENCY:
            yield f"grades {'higher' if gap.value > 0 else 'lower'} than the others on {title}: {_shown(gap)}"
    quick = rater.pace.quick.estimate
    if quick and quick.low > MANY_QUICK:
        yield f"answers quickly: {_shown(quick)} of the items in less than {rater.pace.quick_below:.1f} s"
    if rater.skipped.low > MANY_SKIPPED:
        yield f"skips much: {_shown(rater.skipped)} of the items seen"


def _changes(rater: RaterQuality) -> Iterator[str]:
    for change, what in (
        (rater.gold_change, "is right about fewer gold items"),
        (rater.others_change, "agrees less with the others"),
    ):
        if (found := _of(change)) and found.high < 0 and change.drift:
            yield f"{what} than at first: {change.drift.first:.2f}, then {change.drift.second:.2f} ({_shown(found)})"
    change = rater.time_change
    if (found := _of(change)) and found.high < MUCH_FASTER and change.drift:
        yield f"became much faster: {change.drift.first:.1f} s, then {change.drift.second:.1f} s ({_shown(found)})"


def _of(change: Change) -> Estimate | None:
    return change.drift.change if change.drift else None


def _shown(one: Estimate) -> str:
    return f"{one.value:.2f} ({one.low:.2f} to {one.high:.2f}, n {one.n})"
