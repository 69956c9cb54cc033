"""What the judgments of people are worth: agreement, aggregation, raters, and items to decide anew.

From `Desk.results(task)`: work items only, gold items for accuracy, training and qualification never.
"""

from kilter.feedback.quality.aggregate import AspectAggregate, TaskAggregate, Verdict, task_aggregate
from kilter.feedback.quality.agreement import AspectAgreement, TaskAgreement, task_agreement
from kilter.feedback.quality.aspects import Aspect, aspects
from kilter.feedback.quality.basis import Basis
from kilter.feedback.quality.disagreements import Disagreement, TaskDisagreements, task_disagreements
from kilter.feedback.quality.disputes import TaskDisputes, task_disputes
from kilter.feedback.quality.own import OwnQuality, own_quality
from kilter.feedback.quality.pace import Pace
from kilter.feedback.quality.passages import Passage
from kilter.feedback.quality.rater import Change, Confusion, RaterQuality
from kilter.feedback.quality.raters import TaskRaters, task_raters
from kilter.feedback.quality.sources import SourceStrengths, source_strengths

__all__ = [
    "Aspect",
    "AspectAggregate",
    "AspectAgreement",
    "Basis",
    "Change",
    "Confusion",
    "Disagreement",
    "OwnQuality",
    "Pace",
    "Passage",
    "RaterQuality",
    "SourceStrengths",
    "TaskAggregate",
    "TaskAgreement",
    "TaskDisagreements",
    "TaskDisputes",
    "TaskRaters",
    "Verdict",
    "aspects",
    "own_quality",
    "source_strengths",
    "task_aggregate",
    "task_agreement",
    "task_disagreements",
    "task_disputes",
    "task_raters",
]
