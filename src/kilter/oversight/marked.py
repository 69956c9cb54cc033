"""What raters marked in a study, as cases that a critic learns from: their judgment in the place of a planted truth."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from kilter.errors import DataError
from kilter.oversight.assistance import Arm
from kilter.oversight.experiment import Outcome
from kilter.testbeds import Case, Flaw

UNNAMED = "problem"


def marked_cases(cases: Sequence[Case], outcomes: Sequence[Outcome], arms: Sequence[Arm], share: float) -> list[Case]:
    """The cases that were judged in some arms, with what raters marked after help and without what was planted.

    A passage is a flaw where at least `share` of the case's raters marked it; its type is the one that most of them
    named. What the response should have been nobody said: so only one without a flaw has a correct response. `hidden`
    holds how many raters there were, and the share of them that marked each passage.

    Args:
        outcomes: of these cases, one for each trial.
        share: above 0; 0.5 is the majority.

    Raises:
        DataError: no case was judged in these arms.
    """
    said: dict[int, list[Outcome]] = {}
    for one in outcomes:
        if one.trial.arm in arms:
            said.setdefault(one.trial.item, []).append(one)
    if not said:
        raise DataError(f"Nothing was judged in the arms {', '.join(arms)} yet, so there are no marks to learn from.")
    return [_marked(cases[item], said[item], share) for item in sorted(said)]


def _marked(case: Case, said: Sequence[Outcome], share: float) -> Case:
    types: list[Counter[str]] = [Counter() for _ in case.units]
    for one in said:
        for unit, (start, end) in enumerate(case.units):
            mark = next((mark for mark in one.review.marks if mark.start < end and start < mark.end), None)
            if mark is not None:
                types[unit][mark.type or UNNAMED] += 1
    shares = [found.total() / len(said) for found in types]
    flaws = tuple(
        _flaw(unit, found, len(said))
        for unit, found, part in zip(case.units, types, shares, strict=True)
        if found and part >= share
    )
    return replace(
        case, flaws=flaws, correct="" if flaws else case.response, hidden={"raters": len(said), "marked": shares}
    )


def _flaw(unit: tuple[int, int], found: Counter[str], raters: int) -> Flaw:
    kind = found.most_common(1)[0][0]
    note = f"{found.total()} of {raters} raters marked this as {kind.replace('_', ' ')}."
    return Flaw(*unit, kind, "major", note)
