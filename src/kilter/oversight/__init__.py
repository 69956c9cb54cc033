"""Helping a judge who knows less than what is judged, and measuring what the help is worth.

Assistance is shown in arms (none, critiques, placebo, misleading, oracle); raters, simulated, prompted or people, mark
what they think is wrong; findings hold that against the planted truth. A `Study` is the whole experiment as one file.
"""

from kilter.oversight.assistance import ARMS, NOTHING, Arm, Assistance, Claim, misleading, oracle, placebos
from kilter.oversight.conduct import Conducted, conduct, done_so_far
from kilter.oversight.effects import ArmEffect, Reliance, effects, found_by, reliance
from kilter.oversight.experiment import Outcome, help_by_arm, simulate
from kilter.oversight.findings import Findings, Mark, compare
from kilter.oversight.page import write_page
from kilter.oversight.people import cases_by_artifact, outcomes_of, task_of_study
from kilter.oversight.plan import Trial, latin_square
from kilter.oversight.program_critic import ProgramCritic
from kilter.oversight.prompted import PromptedCritic, PromptedRater
from kilter.oversight.results import Results, results_of
from kilter.oversight.simulated_rater import RaterSettings, Review, review
from kilter.oversight.skill_map import Cell, skill_map
from kilter.oversight.study import Study, read_study

__all__ = [
    "ARMS",
    "NOTHING",
    "Arm",
    "ArmEffect",
    "Assistance",
    "Cell",
    "Claim",
    "Conducted",
    "Findings",
    "Mark",
    "Outcome",
    "ProgramCritic",
    "PromptedCritic",
    "PromptedRater",
    "RaterSettings",
    "Reliance",
    "Results",
    "Review",
    "Study",
    "Trial",
    "cases_by_artifact",
    "compare",
    "conduct",
    "done_so_far",
    "effects",
    "found_by",
    "help_by_arm",
    "latin_square",
    "misleading",
    "oracle",
    "outcomes_of",
    "placebos",
    "read_study",
    "reliance",
    "results_of",
    "review",
    "simulate",
    "skill_map",
    "task_of_study",
    "write_page",
]
