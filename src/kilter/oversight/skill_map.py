"""Where help helps and where it harms: simulated raters of every skill and trust, with the study's own help."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kilter.oversight.assistance import NOTHING, Arm, Assistance
from kilter.oversight.experiment import Outcome, simulate
from kilter.oversight.plan import latin_square
from kilter.oversight.sight import View
from kilter.oversight.simulated_rater import RaterSettings
from kilter.stats import Estimate, paired_difference
from kilter.testbeds import Case

SKILLS = (0.1, 0.3, 0.5, 0.7, 0.9)
TRUSTS = (0.0, 0.25, 0.5, 0.75, 1.0)
RATERS = 6


@dataclass(frozen=True)
class Cell:
    """Raters of one skill and trust.

    Attributes:
        skill: chance to see a flaw in a passage that is looked at.
        trust: chance to follow a claim without checking it.
        gain: F1 of the marks with help less F1 without; items resampled.
    """

    skill: float
    trust: float
    gain: Estimate

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        return {"skill": self.skill, "trust": self.trust, "gain": self.gain.as_dict()}


def skill_map(
    cases: Sequence[Case], help_: Sequence[Assistance], work: RaterSettings, seed: int = 0, view: View = "expert"
) -> list[Cell]:
    """Every skill with every trust; everything else as in `work`.

    F1 counts a flaw that was missed and a right passage that was marked alike, so that help which only makes raters
    mark more is no gain. A case counts with the mean over its raters; one without flaws and marks has an F1 of 1.
    """
    trials = latin_square(2 * RATERS, len(cases), ("none", "critiques"), seed=seed)
    shown: dict[Arm, list[Assistance]] = {"none": [NOTHING] * len(cases), "critiques": list(help_)}
    cells = []
    for skill in SKILLS:
        for trust in TRUSTS:
            pool = [work.model_copy(update={"sees": skill, "sees_type": {}, "trust": trust})] * (2 * RATERS)
            outcomes = simulate(cases, shown, trials, pool, seed, view)
            without, with_help = (_by_case(outcomes, arm, len(cases)) for arm in ("none", "critiques"))
            cells.append(Cell(skill, trust, paired_difference(without, with_help, seed=seed)))
    return cells


def _by_case(outcomes: Sequence[Outcome], arm: str, cases: int) -> list[float]:
    sums, counts = [0.0] * cases, [0] * cases
    for one in outcomes:
        if one.trial.arm == arm:
            sums[one.trial.item] += f1(one)
            counts[one.trial.item] += 1
    return [total / count for total, count in zip(sums, counts, strict=True)]


def f1(one: Outcome) -> float:
    """Of the marks after help: 2 x found / (planted + marked)."""
    planted, marked = len(one.case.flaws), len(one.review.marks)
    return 2 * one.found.found / (planted + marked) if planted + marked else 1.0
