"""Waiting for people: a step puts up a task, the pages are opened, and the recipe goes on when enough is judged.

Whoever stops the program loses nothing: the task is on the record, and the same command waits for what is left, days
later too.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from contextlib import nullcontext

from kilter.errors import DataError
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Desk, Result
from kilter.recipes.step import Context

LOOK_SECONDS = 1.0


def ask_people(context: Context, task: Task, items: Sequence[TaskItem], what: str) -> list[Result]:
    """Have people judge `items`, and return what they said when all of it is judged.

    Args:
        task: its name must be the step's own, see `task_name`.
        what: what they are asked, for the progress bar.

    Raises:
        DataError: the task was closed before enough was judged.
    """
    desk = Desk(context.record)
    desk.add_task(task, context.seed)
    desk.add_items(task, items)
    if not desk.progress(task.name).done:
        opened = nullcontext() if context.pages is None else context.pages(context.record)
        with opened:
            _wait(desk, task, context, what)
    return desk.results(task.name)


def task_name(context: Context, name: str) -> str:
    """A name for a step's task that another run of the step with other content does not share."""
    recipe = "".join(letter if letter.isalnum() else "-" for letter in str(context.recipe["name"]).lower())
    return f"{recipe[:30].strip('-') or 'recipe'}-{name}-{context.folder.name[-8:]}"


def _wait(desk: Desk, task: Task, context: Context, what: str) -> None:
    while True:
        found = desk.progress(task.name)
        context.progress(what, found.judgments, found.wanted, {})
        if found.done:
            return
        if not desk.is_open(task.name):
            raise DataError(
                f"The task {task.name} was closed after {found.judgments} of {found.wanted} judgments, so the recipe "
                "cannot go on. Open it again on its page, or ask for fewer items in the recipe."
            )
        time.sleep(LOOK_SECONDS)
