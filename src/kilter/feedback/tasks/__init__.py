"""What people are asked: tasks of questions about items, from one YAML file."""

from kilter.feedback.tasks.items import TaskItem, Use, read_item, read_items
from kilter.feedback.tasks.placed import placed
from kilter.feedback.tasks.questions import BOTH_BAD, TIE, Answer, Question, Shown, read_answers
from kilter.feedback.tasks.task import Checks, Overlap, Task, read_task

__all__ = [
    "BOTH_BAD",
    "TIE",
    "Answer",
    "Checks",
    "Overlap",
    "Question",
    "Shown",
    "Task",
    "TaskItem",
    "Use",
    "placed",
    "read_answers",
    "read_item",
    "read_items",
    "read_task",
]
