"""An experiment on help: cases with planted flaws, critiques of them, raters, and what each arm found."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from kilter.oversight.assistance import NOTHING, Arm, Assistance, misleading, oracle, placebos
from kilter.oversight.findings import Findings, compare
from kilter.oversight.plan import Trial
from kilter.oversight.sight import View
from kilter.oversight.simulated_rater import RaterSettings, Review, review
from kilter.testbeds import Case


@dataclass(frozen=True)
class Outcome:
    """One trial as it went.

    Attributes:
        alone, found: the marks before and after help, held against the truth.
        help: what was shown.
    """

    trial: Trial
    case: Case
    help: Assistance
    review: Review
    alone: Findings
    found: Findings


@dataclass(frozen=True)
class Unread:
    """A trial whose answer could not be read, however often it was asked for; it counts for nothing but itself.

    Attributes:
        said: the last answer.
    """

    trial: Trial
    said: str


def help_by_arm(
    cases: Sequence[Case], critiques: Sequence[Assistance], arms: Sequence[Arm], seed: int
) -> dict[Arm, list[Assistance]]:
    """What each arm shows with each case.

    Args:
        critiques: of each case, as a critic made them.
    """
    made: dict[Arm, list[Assistance]] = {}
    for arm in arms:
        if arm == "none":
            made[arm] = [NOTHING] * len(cases)
        elif arm == "critiques":
            made[arm] = list(critiques)
        elif arm == "placebo":
            made[arm] = placebos(critiques, seed)
        elif arm == "misleading":
            made[arm] = [misleading(case, seed) for case in cases]
        else:
            made[arm] = [oracle(case) for case in cases]
    return made


def simulate(
    cases: Sequence[Case], shown: Mapping[Arm, Sequence[Assistance]], trials: Sequence[Trial],
    raters: Sequence[RaterSettings], seed: int = 0, view: View = "expert",
) -> list[Outcome]:  # fmt: skip
    """Let simulated raters do every trial; the same seed gives the same outcomes, in whatever order.

    A rater's own chances in a trial do not depend on the arm, so that arms differ by the help alone.
    """
    last = Counter(trial.rater for trial in trials)
    outcomes = []
    for trial in trials:
        case, help_ = cases[trial.item], shown[trial.arm][trial.item]
        rng = random.Random(f"{seed}/{trial.rater}/{trial.item}")
        tired = trial.place / max(last[trial.rater] - 1, 1)
        said = review(raters[trial.rater], case, help_, rng, tired, view)
        outcomes.append(Outcome(trial, case, help_, said, compare(case, said.alone), compare(case, said.marks)))
    return outcomes
