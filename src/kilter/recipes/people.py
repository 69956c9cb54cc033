"""Waiting for people: a step puts up a task, the pages are opened, and the recipe goes on when enough is judged.

Whoever stops the program loses nothing: the task is on the record, and the same command waits for what is left, days
later too.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from kilter.errors import DataError, SettingsError
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Desk, Result
from kilter.recipes.step import Context
from kilter.record import DetachedRecord

LOOK_SECONDS = 1.0

Enough = Callable[[Sequence[Result]], bool]
"""Whether what was judged so far will do; asked after every judgment."""


def ask_people(
    context: Context, task: Task, items: Sequence[TaskItem], what: str, enough: Enough | None = None
) -> list[Result]:
    """Have people judge `items`; what they said, once all of it is judged, it is enough, or the task was closed.

    An item that as many raters skipped as still are to judge it is waited for no longer: else a lone rater who skips
    would wait for ever. The task is closed at the end, so that nobody judges for nothing.

    Args:
        task: its name must be the step's own, see `task_name`. One that is there already stays as it was first put up:
            a newer Kilter may word it otherwise, and judgments under changed questions must not be mixed.
        items: the same every time, or the new ones are asked, too.
        what: what they are asked, for the progress bar.
        enough: ends the wait early.

    Raises:
        DataError: nothing was judged: the task was closed, or all of it was skipped or flagged.
        SettingsError: this is a step of a sweep on a cluster, which has no record to keep judgments on.
    """
    if isinstance(context.record, DetachedRecord):
        raise SettingsError(
            "People cannot be asked by a step that a cluster's worker does. Run the recipe once with 'kilter run': "
            "what they judge there is kept, and the sweep takes it over."
        )
    desk = Desk(context.record)
    if task.name not in {one.name for one, _ in desk.tasks()}:
        task.check_items(list(items), f"the step {context.folder.name}")
        desk.add_task(task, context.seed)
    desk.add_items(task, items)
    if not _is_done(desk, task):
        with _opened(context, task):
            _wait(desk, task, context, what, enough)
    desk.set_open(task.name, False)
    said = _said(desk, task)
    if not said:
        raise DataError(
            f"Nothing of the task {task.name} was judged: it was closed, or every item was skipped or flagged. Open it "
            "again on its page ('kilter feedback serve') and run the same command, or look at what the items are like."
        )
    return said


def task_name(context: Context) -> str:
    """A name for a step's task that a run of the step with other content does not share, and every other run does."""
    plain = "".join(letter if letter.isascii() and letter.isalnum() else "-" for letter in context.folder.name.lower())
    return plain[-60:].strip("-")


def guidelines(name: str) -> str:
    """Kilter's own guidelines for a kind of step, Markdown."""
    return (Path(__file__).parent / "guidelines" / f"{name}.md").read_text("utf-8")


def _opened(context: Context, task: Task) -> AbstractContextManager[None]:
    """The pages; where this program has none, somebody must serve the workspace, and is told so."""
    raters = max(task.overlap.judges, task.overlap.sample_judges if task.overlap.sample else 1)
    if raters > 1:
        context.tell(f"Some of it is for {raters} people: invite the others on the page People.")
    if context.pages is not None:
        return context.pages(context.record, task.name)
    workspace = context.folder.parent.parent
    context.tell(f"Waiting for people to judge. Let them in with: kilter feedback serve --workspace {workspace}")
    return nullcontext()


def _wait(desk: Desk, task: Task, context: Context, what: str, enough: Enough | None) -> None:
    seen = -1
    while True:
        found = desk.progress(task.name)
        if found.judgments != seen:  # a line for every look would fill a log in days of waiting
            seen = found.judgments
            context.progress(what, found.judgments, found.wanted, {})
            if enough is not None and enough(_work(desk.results(task.name))):
                return
        if _is_done(desk, task):
            return
        time.sleep(LOOK_SECONDS)


def _is_done(desk: Desk, task: Task) -> bool:
    """Whether nothing is left to judge, or nothing more is handed out."""
    found = desk.progress(task.name)
    return found.complete + found.given_up >= found.items or not desk.is_open(task.name)


def _said(desk: Desk, task: Task) -> list[Result]:
    """What counts: decisions of researchers in place of what they decided between."""
    return _work(desk.answers(task.name))


def _work(results: Sequence[Result]) -> list[Result]:
    return [one for one in results if one.item.use == "work"]
