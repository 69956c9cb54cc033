"""`kilter feedback agreement | raters | aggregate | disagreements`: what judgments are worth."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from kilter.cli.workspace import DatabaseOption, WorkspaceOption
from kilter.errors import DataError
from kilter.settings import nearest

if TYPE_CHECKING:
    from kilter.feedback.tasks import Task
    from kilter.feedback.work import Desk

TaskArgument = Annotated[str, typer.Argument(metavar="TASK", help="Name of the task, as on its page.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON for machines.")]
SeedOption = Annotated[int, typer.Option(help="Seed of the bootstrap.")]


def agreement(
    task: TaskArgument,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    level: Annotated[
        Literal["nominal", "ordinal", "interval"] | None,
        typer.Option(help="Level of alpha for grades, strengths and steps. \\[ordinal]"),
    ] = None,
    replicates: Annotated[int, typer.Option(min=20, help="Bootstrap replicates.")] = 2000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """How far raters agree, question by question: Krippendorff's alpha, AC1, raw agreement.

    Rankings have Kendall's tau beside, marked passages alpha over characters and matched F1.

    Work items only; items are resampled whole. What the data leave undefined is refused with the reason.
    """
    from kilter.cli import quality_tables
    from kilter.feedback.quality import task_agreement

    with _opened(workspace, database, task) as (desk, found):
        result = task_agreement(found, desk.results(task), level=level, seed=seed, replicates=replicates)
    if as_json:
        _print_json(result.as_dict())
    else:
        quality_tables.show_agreement(result)


def raters(
    task: TaskArgument,
    rater: Annotated[
        str | None, typer.Argument(metavar="[RATER]", help="Name of one rater on the record, for all of their numbers.")
    ] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    replicates: Annotated[int, typer.Option(min=20, help="Bootstrap replicates of each number.")] = 500,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Who judged how: pace, accuracy on gold items, agreement with the others, habits, change over time.

    With RATER also the confusion matrix by Dawid and Skene's model, the ability by GLAD, and all intervals.

    Notes say what to look at; they are no verdict on a person.
    """
    from kilter.cli import quality_tables
    from kilter.feedback.quality import task_raters

    with _opened(workspace, database, task) as (desk, found):
        result = task_raters(found, desk.results(task), desk.asides(task), only=rater, seed=seed, replicates=replicates)
        if rater is not None and not result.raters:
            names = {one.judge for one in desk.results(task) if one.item.use == "work"}
            raise DataError(f"Nobody called '{rater}' judged a work item of '{task}': {nearest(rater, names)}")
    if as_json:
        _print_json(result.as_dict())
    elif rater is not None:
        quality_tables.show_rater(result, result.raters[0])
    else:
        quality_tables.show_raters(result)


def aggregate(
    task: TaskArgument,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    limit: Annotated[int, typer.Option(min=0, help="Most items to show of each question; 0: all.")] = 20,
    replicates: Annotated[int, typer.Option(min=20, help="Bootstrap replicates.")] = 2000,
    seed: SeedOption = 0,
    as_json: JsonOption = False,
) -> None:
    """One answer per item: majority, probabilities by Dawid-Skene and GLAD, mean grades, agreed passages.

    And how strong the models are that wrote the responses, where the items' meta names them in the responses' order:
    {"models": ["sft", "ppo"]}.
    """
    from kilter.cli import quality_tables
    from kilter.feedback.quality import task_aggregate

    with _opened(workspace, database, task) as (desk, found):
        result = task_aggregate(found, desk.results(task), desk.adjudications(task), seed=seed, replicates=replicates)
    if as_json:
        _print_json(result.as_dict())
    else:
        quality_tables.show_aggregate(result, limit or None)


def disagreements(
    task: TaskArgument,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    question: Annotated[str | None, typer.Option(metavar="NAME", help="Of this question alone.")] = None,
    limit: Annotated[int, typer.Option(min=0, help="Most items to show; 0: all.")] = 10,
    as_json: JsonOption = False,
) -> None:
    """The items on which raters differ most, with each answer, to decide them anew.

    Deciding is done on the page Disagreements of 'kilter feedback serve'; what is decided comes last here.
    """
    from kilter.cli import quality_tables
    from kilter.feedback.quality import task_disagreements

    with _opened(workspace, database, task) as (desk, found):
        said, decided = desk.results(task), desk.adjudications(task)
        result = task_disagreements(found, said, decided, question=question, limit=limit or None)
    if as_json:
        _print_json(result.as_dict())
    else:
        quality_tables.show_disagreements(result)


@contextmanager
def _opened(workspace: Path | None, database: str | None, task: str) -> Iterator[tuple[Desk, Task]]:
    from kilter.feedback.work import Desk
    from kilter.record import Workspace

    with Workspace.open(workspace, database, create=False) as opened:
        desk = Desk(opened.record)
        yield desk, desk.task(task)


def _print_json(tree: dict[str, Any]) -> None:
    typer.echo(json.dumps(tree, indent=2, ensure_ascii=False, allow_nan=False))
