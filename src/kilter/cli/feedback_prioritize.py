"""`kilter feedback prioritize`: which items people are asked about first."""

from __future__ import annotations

import statistics
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilter.cli.workspace import DatabaseOption, WorkspaceOption
from kilter.errors import DataError, SettingsError

if TYPE_CHECKING:
    from kilter.feedback.tasks import Task, TaskItem
    from kilter.feedback.work import Desk

DISAGREEMENT = "disagreement"
FIRST, TEXT = 3, 80
"""Items shown, and characters of each."""


def prioritize(
    task: Annotated[str, typer.Argument(metavar="TASK", help="Name of the task, as on its page.")],
    by: Annotated[
        str,
        typer.Option(
            "--by", metavar="disagreement|FOLDER",
            help="What raters differ on, or what the reward model in this folder is unsure of.",
        ),
    ],
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
) -> None:  # fmt: skip
    """Ask people first about what is uncertain or in dispute.

    By disagreement: the entropy of who is right by Dawid and Skene's model, given what raters said so far;
    where that model is refused, how far raters are apart.

    By a reward model: how close it scores the responses, 1 - |2p - 1| with p its probability that one beats the other.

    The value is added to the priority that the item came with. Run it again when there are more judgments or a better
    model; raters who are at work get the new order with their next items.
    """
    from kilter.feedback.work import Desk
    from kilter.record import Workspace

    folder = _folder(by)
    with Workspace.open(workspace, database, create=False) as opened:
        desk = Desk(opened.record)
        asked = desk.task(task)
        waiting = _waiting(desk, asked)
        scores = _disputes(desk, asked) if folder is None else _uncertainties(asked, waiting, folder)
        ordered = {key: scores[key] for key in waiting if key in scores}
        if not ordered:
            raise DataError(
                f"None of the {len(waiting)} items of '{task}' that wait for raters has an order yet: what is in "
                f"dispute has all the judgments that it is for. 'kilter feedback disagreements {task}' shows it."
            )
        desk.prioritize(task, {key: waiting[key].priority + scores.get(key, 0.0) for key in waiting})
        _say(asked, by, waiting, ordered)


def _folder(by: str) -> Path | None:
    """The reward model's folder; None for disagreement."""
    if by == DISAGREEMENT:
        return None
    if not Path(by).is_dir():
        raise SettingsError(f"--by {by} is no folder. Write --by {DISAGREEMENT}, or name the folder of a reward model.")
    return Path(by)


def _waiting(desk: Desk, task: Task) -> dict[str, TaskItem]:
    """The items whose order matters; raises `DataError` where none does."""
    if not desk.is_open(task.name):
        raise DataError(
            f"The task '{task.name}' is closed and hands out nothing, so no item comes first. Open it on its page, "
            "then set the order."
        )
    waiting = desk.waiting(task.name)
    if not waiting:
        raise DataError(f"Every item of the task '{task.name}' has all the judgments that it is for; none is left.")
    return waiting


def _disputes(desk: Desk, task: Task) -> Mapping[str, float]:
    from kilter.feedback.quality import task_disputes

    found = task_disputes(task, desk.results(task.name))
    typer.echo(f"judged  {found.basis.items:,} items by {found.basis.who}, {found.basis.judgments:,} judgments")
    for title, reason in found.by_distance.items():
        typer.echo(f"note  '{title}' by how far answers are apart: {reason}")
    return found.scores


def _uncertainties(task: Task, waiting: Mapping[str, TaskItem], folder: Path) -> Mapping[str, float]:
    """How unsure the reward model is, by artifact, of items with a prompt and several responses."""
    kinds = {one.type for one in task.questions}
    if not kinds & {"comparison", "ranking"}:
        raise DataError(
            f"The task '{task.name}' asks for {' and '.join(sorted(kinds))}; a reward model's margin says which of "
            f"several responses is better, for comparisons and rankings. Use --by {DISAGREEMENT}."
        )
    from kilter.cli.progress import StageProgress
    from kilter.models import Item
    from kilter.models.ensemble import open_reward_model
    from kilter.training import preference_uncertainty

    fit = {key: one for key, one in waiting.items() if one.prompt}
    if len(fit) < len(waiting):
        typer.echo(f"left out  {len(waiting) - len(fit):,} items without a prompt, which no reward model has seen")
    model = open_reward_model(folder)
    lm = model.lm
    items = [Item(lm.encode_prompt(one.prompt), [*map(lm.encode_response, one.responses)]) for one in fit.values()]
    with StageProgress() as shown:
        scores = preference_uncertainty(model, items, progress=shown.progress)
    return dict(zip(fit, scores, strict=True))


def _say(task: Task, by: str, waiting: Mapping[str, TaskItem], ordered: Mapping[str, float]) -> None:
    values = sorted(ordered.values(), reverse=True)
    rest = len(waiting) - len(values)
    typer.echo(
        f"order  {len(values):,} items of '{task.name}' by {by}: {values[0]:.2f} to {values[-1]:.2f}, median "
        f"{statistics.median(values):.2f} (1: nobody can tell; 0: sure)"
        + (f"; {rest:,} others follow as they were" if rest else "")
    )
    for key in sorted(ordered, key=lambda key: -ordered[key])[:FIRST]:
        texts = waiting[key].prompt[-1]["content"] if waiting[key].prompt else waiting[key].body()
        typer.echo(f"first  {key[:8]}  {ordered[key]:.2f}  {' '.join(str(texts).split())[:TEXT]}")
