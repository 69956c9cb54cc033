"""Helping a judge who knows less than what is judged, and measuring what the help is worth.

Assistance is shown in arms (none, critiques, placebo, misleading, oracle); raters, simulated or real, mark what they
think is wrong; findings hold that against the planted truth.
"""

from kilter.oversight.assistance import ARMS, NOTHING, Arm, Assistance, Claim, misleading, oracle, placebos
from kilter.oversight.effects import ArmEffect, Reliance, effects, found_by, reliance
from kilter.oversight.experiment import Outcome, help_by_arm, simulate
from kilter.oversight.findings import Findings, Mark, compare
from kilter.oversight.people import cases_by_artifact, outcomes_of, task_of_study
from kilter.oversight.plan import Trial, latin_square
from kilter.oversight.program_critic import ProgramCritic
from kilter.oversight.simulated_rater import RaterSettings, Review, review

__all__ = [
    "ARMS",
    "NOTHING",
    "Arm",
    "ArmEffect",
    "Assistance",
    "Claim",
    "Findings",
    "Mark",
    "Outcome",
    "ProgramCritic",
    "RaterSettings",
    "Reliance",
    "Review",
    "Trial",
    "cases_by_artifact",
    "compare",
    "effects",
    "found_by",
    "help_by_arm",
    "latin_square",
    "misleading",
    "oracle",
    "outcomes_of",
    "placebos",
    "reliance",
    "review",
    "simulate",
    "task_of_study",
]
