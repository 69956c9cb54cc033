"""The work of people: handing out items, taking judgments, never more and never fewer than asked for."""

from kilter.feedback.work.asides import Aside
from kilter.feedback.work.decisions import Dealt, deal
from kilter.feedback.work.desk import Desk, Progress, Stamp
from kilter.feedback.work.flags import Flag, Ruling
from kilter.feedback.work.queue import Assignment
from kilter.feedback.work.rater import Rater
from kilter.feedback.work.results import Result
from kilter.feedback.work.second_look import SecondLook
from kilter.feedback.work.standing import Standing
from kilter.feedback.work.submission import Outcome, Submission
from kilter.feedback.work.trials import HelpTrial

__all__ = [
    "Aside",
    "Assignment",
    "Dealt",
    "Desk",
    "Flag",
    "HelpTrial",
    "Outcome",
    "Progress",
    "Rater",
    "Result",
    "Ruling",
    "SecondLook",
    "Stamp",
    "Standing",
    "Submission",
    "deal",
]
