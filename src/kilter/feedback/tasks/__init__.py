"""What people are asked: tasks of questions about items, from one YAML file."""

from kilter.feedback.tasks.help import MOST_CLAIMS, NO_HELP, Help, HelpClaim, Verdict
from kilter.feedback.tasks.items import TaskItem, Use, read_item, read_items
from kilter.feedback.tasks.known import known_met, met, side_of
from kilter.feedback.tasks.placed import placed
from kilter.feedback.tasks.questions import BOTH_BAD, TIE, Answer, FlawsQuestion, Question, Shown, read_answers
from kilter.feedback.tasks.task import Checks, Overlap, Task, read_task

__all__ = [
    "BOTH_BAD",
    "MOST_CLAIMS",
    "NO_HELP",
    "TIE",
    "Answer",
    "Checks",
    "FlawsQuestion",
    "Help",
    "HelpClaim",
    "Overlap",
    "Question",
    "Shown",
    "Task",
    "TaskItem",
    "Use",
    "Verdict",
    "known_met",
    "met",
    "placed",
    "read_answers",
    "read_item",
    "read_items",
    "read_task",
    "side_of",
]
