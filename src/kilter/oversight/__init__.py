"""Helping a judge who knows less than what is judged, and measuring what the help is worth.

Assistance is shown in arms (none, critiques, placebo, misleading, oracle); raters, simulated or real, mark what they
think is wrong; findings hold that against the planted truth.
"""

from kilter.oversight.assistance import ARMS, NOTHING, Arm, Assistance, Claim, misleading, oracle, placebos
from kilter.oversight.findings import Findings, Mark, compare
from kilter.oversight.program_critic import ProgramCritic
from kilter.oversight.simulated_rater import RaterSettings, Review, review

__all__ = [
    "ARMS",
    "NOTHING",
    "Arm",
    "Assistance",
    "Claim",
    "Findings",
    "Mark",
    "ProgramCritic",
    "RaterSettings",
    "Review",
    "compare",
    "misleading",
    "oracle",
    "placebos",
    "review",
]
