"""The work of people: handing out items, taking judgments, never more and never fewer than asked for."""

from kilter.feedback.work.desk import Desk, Progress, Rater
from kilter.feedback.work.queue import Assignment
from kilter.feedback.work.results import Result
from kilter.feedback.work.standing import Standing
from kilter.feedback.work.submission import Outcome, Submission

__all__ = ["Assignment", "Desk", "Outcome", "Progress", "Rater", "Result", "Standing", "Submission"]
