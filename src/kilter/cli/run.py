"""`kilter run RECIPE`: a whole loop with one command; `kilter sweep RECIPE`: one for every combination of settings."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from kilter.cli.workspace import DatabaseOption, WorkspaceOption

On = Annotated[
    str,
    typer.Option(
        help="Where independent work is done: here, ray (the Ray cluster of this machine), HOST:PORT or ray://HOST:PORT."
    ),
]


def run(
    recipe: Annotated[Path, typer.Argument(help="The recipe's YAML file.", metavar="RECIPE")],
    settings: Annotated[
        list[str] | None,
        typer.Argument(help="Settings to change, as step.setting=value.", metavar="STEP.SETTING=VALUE"),
    ] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    on: On = "here",
) -> None:
    """Walk a recipe, a whole loop in one YAML file, and write its report.

    A second run does nothing; a changed setting redoes only what depends on it; a killed run goes on. On a cluster it
    samples, judges and evaluates in parts; the rows are the same.
    """
    from kilter.cli.progress import StageProgress
    from kilter.recipes import read_recipe, run_recipe

    plan = read_recipe(recipe, settings or [])
    with StageProgress() as shown:
        result = run_recipe(
            plan, settings or [], workspace=workspace, database=database, on=on, progress=shown.progress,
            on_step=shown.step, tell=shown.note,
        )  # fmt: skip
    typer.echo(f"Report: {result.report}")


def sweep(
    recipe: Annotated[Path, typer.Argument(help="The recipe's YAML file.", metavar="RECIPE")],
    settings: Annotated[
        list[str],
        typer.Argument(help="Settings with their values; seed=0,1,2 too.", metavar="STEP.SETTING=A,B,C"),
    ],
    figures: Annotated[
        str, typer.Option(help="Figures of summary.json to show, between commas; the usual ones by default.")
    ] = "",
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    on: On = "here",
) -> None:
    """Walk a recipe once per combination of settings, and write a table of its figures with their intervals.

    What combinations have in common is done once; a stopped sweep goes on, and one with more values does what is new.
    A combination that fails is told of at the end, and the others go on.
    """
    from kilter.cli.progress import StageProgress
    from kilter.errors import SweepError
    from kilter.recipes import SweepRow, run_sweep

    with StageProgress() as shown:

        def on_row(row: SweepRow, ended: int, total: int) -> None:
            shown.note(f"{ended} of {total}: {row.combination.label}: {row.error or 'done'}")

        wanted = [name.strip() for name in figures.split(",") if name.strip()]
        result = run_sweep(
            recipe, settings, figures=wanted, workspace=workspace, database=database, on=on, progress=shown.progress,
            on_row=on_row, tell=shown.note,
        )  # fmt: skip
    typer.echo(result.markdown())
    typer.echo(f"Table: {result.folder / 'table.md'}")
    if result.failed:
        told = "; ".join(f"{row.combination.label}: {row.error}" for row in result.failed)
        raise SweepError(
            f"{len(result.failed)} of {len(result.rows)} combinations failed; the others are in the table, and "
            f"the same command tries again only what failed. {told}"
        )
