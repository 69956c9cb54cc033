"""A small task with items, for the tests of the people side."""

from __future__ import annotations

from typing import Any

from kilter.feedback.tasks import Task, TaskItem, read_item
from kilter.feedback.work import Assignment, Desk, Rater, Submission

STARTED = "2026-11-23T10:00:00Z"


def make_task(**settings: Any) -> Task:
    """A task of one comparison, unless told otherwise."""
    values = {"name": "t", "title": "T", "questions": [{"type": "comparison", "name": "better"}]}
    return Task.model_validate({**values, **settings})


def make_items(count: int, start: int = 0, **columns: Any) -> list[TaskItem]:
    """Comparisons of two responses, numbered from `start`; "good" is the first."""
    return [
        read_item({"prompt": f"prompt {n}", "responses": [f"good {n}", f"bad {n}"], **columns}, f"item {n}")
        for n in range(start, start + count)
    ]


def rater(number: int | str) -> Rater:
    """A person by number."""
    return Rater(f"{number:0>32}", f"people/{number}")


def send(desk: Desk, task: Task, who: Rater, one: Assignment, answer: Any = 0, key: str = "") -> str:
    """Submit an answer to a task's first question; the state it got."""
    answers = {task.questions[0].name: answer}
    return desk.submit(task, who, one.id, Submission(key or f"key-{one.id}", answers, STARTED, {})).state


def place_of(one: Assignment, number: int) -> int:
    """Where on screen a response stands."""
    return one.sides.index(number)
