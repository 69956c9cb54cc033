"""Solutions in steps as a process reward model learns them: cases of the reasoning testbed, and of PRM800K."""

from __future__ import annotations

from collections.abc import Sequence

from kilter.errors import DataError
from kilter.feedback import StepLabels
from kilter.testbeds import Case


def step_labels(cases: Sequence[Case]) -> list[StepLabels]:
    """The steps of each case with their labels: 1 for a right one, 0 for the wrong one that ends it.

    A step that is right and brings nothing forward counts as right, as where Lightman et al. rank solutions (arXiv
    2305.20050). What follows the first wrong step, or one without a label, has none and is left out; and so is a case
    that begins so.

    Raises:
        DataError: no case has a labeled step.
    """
    labeled = [one for case in cases if (one := _labeled(case)).steps]
    if not labeled:
        raise DataError("No step of the cases has a label, so there is nothing to learn from.")
    return labeled


def case_prompt(case: Case) -> str:
    """What a solver of the case is asked, and what its steps are judged after."""
    return f"{case.source}\n{case.task}"


def _labeled(case: Case) -> StepLabels:
    ratings = _ratings(case)
    count = next((number for number, rating in enumerate(ratings) if rating is None), len(ratings))
    steps = [case.response[start:end] for start, end in case.units[:count]]
    labels = [float(rating >= 0) for rating in ratings[:count] if rating is not None]
    return StepLabels([{"role": "user", "content": case_prompt(case)}], tuple(steps), tuple(labels), case.structure)


def _ratings(case: Case) -> list[int | None]:
    """PRM800K's rating of each step: as it is in the case, or by its flaws."""
    known = case.hidden.get("ratings")
    if known is not None and len(known) == len(case.units):
        return list(known)
    first = min((unit for flaw in case.flaws for unit in case.units_of(flaw)), default=len(case.units))
    return [1 if unit < first else -1 if unit == first else None for unit in range(len(case.units))]
