"""Whoever can judge: programs, reward models, prompted models and simulated raters, behind one protocol.

A judge is given comparisons and gives opinions; `to_judgments` turns them into rows of the record. Importing
this room loads no model library.
"""

from __future__ import annotations

from kilter.judges.gold import ProgramJudge
from kilter.judges.prompted import PromptedJudge
from kilter.judges.protocol import BETTER, Candidate, Comparison, Judge, Opinion, to_judgments
from kilter.judges.simulated import Label, SimulatedRater, label_with_pool, labels_to_judgments, rater_pool

__all__ = [
    "BETTER",
    "Candidate",
    "Comparison",
    "Judge",
    "Label",
    "Opinion",
    "ProgramJudge",
    "PromptedJudge",
    "SimulatedRater",
    "label_with_pool",
    "labels_to_judgments",
    "rater_pool",
    "to_judgments",
]
