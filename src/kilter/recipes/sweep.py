"""A sweep: one recipe run once per combination of settings, all in one workspace.

Steps that combinations have in common are done once, because each step is kept under the hash of what decides it; for
the same reason a sweep that was stopped goes on, and one with more values only does what is new.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError, KilterError, StorageError
from kilter.recipes.apart import Outcome, walk_apart
from kilter.recipes.grid import Grid, read_grid
from kilter.recipes.parts import HERE, Tell, Workers, open_workers, say_nothing
from kilter.recipes.runner import RunResult, walk_recipe
from kilter.recipes.sweep_table import SweepRow, chosen_figures, markdown, write_table
from kilter.record import Workspace
from kilter.training.loop import Progress, no_progress

OnRow = Callable[[SweepRow, int, int], None]
"""Called with a combination that has ended, how many have, and how many there are."""


@dataclass(frozen=True)
class SweepResult:
    """A sweep: the folder of its tables, and its combinations in order."""

    folder: Path
    rows: tuple[SweepRow, ...]
    figures: tuple[str, ...]

    @property
    def failed(self) -> list[SweepRow]:
        """The combinations that failed."""
        return [row for row in self.rows if row.error is not None]

    def markdown(self) -> str:
        """The table for people."""
        return markdown(self.rows, self.figures)


def run_sweep(
    recipe: str | Path,
    settings: Iterable[str],
    *,
    figures: Sequence[str] = (),
    workspace: Path | str | None = None,
    database: str | None = None,
    on: str = HERE,
    progress: Progress = no_progress,
    on_row: OnRow | None = None,
    tell: Tell = say_nothing,
) -> SweepResult:
    """Run a recipe for every combination of `settings`, and gather the figures of their reports.

    A combination that fails is told of and kept as failed; the others go on. The tables, `runs/NAME-sweep-HASH/table`
    with .md, .csv and .json, are written anew whenever a combination ends.

    Args:
        recipe: its file.
        settings: `step.setting=a,b,c`; see `read_grid`.
        figures: what to show, by the names of summary.json; see `chosen_figures`.
        workspace: folder of the record; ./workspace by default.
        database: address of the PostgreSQL database with the record's rows; a file in that folder by default.
        on: "here": one combination after another. On a Ray cluster: as many steps at once as it has room for; every
            node must see the workspace under the same path.
        progress: told how far a stage is; of work on a cluster it hears nothing.
        on_row: told of every combination that has ended.
        tell: told of steps that are done on a cluster, and of lost workers.

    Raises:
        SettingsError: the sweep or a combination cannot be as it is written; nothing was run.
        DataError: the recipe has no step that writes figures.
        StorageError: the disk is full; what was finished is kept.
    """
    grid = read_grid(Path(recipe), settings)
    rows: dict[str, SweepRow] = {}
    with open_workers(on, tell) as workers, Workspace.open(workspace, database) as opened:
        folder = opened.runs / grid.name
        with contextlib.closing(_outcomes(grid, opened, on, workers, progress, tell)) as outcomes:
            for combination, outcome in outcomes:
                row = SweepRow(combination, *_figures_or_error(outcome))
                rows[combination.name] = row
                ordered = [rows[one.name] for one in grid.combinations if one.name in rows]
                shown = chosen_figures(figures, ordered)
                write_table(folder, ordered, shown)
                if on_row is not None:
                    on_row(row, len(rows), len(grid.combinations))
    return SweepResult(folder, tuple(ordered), tuple(shown))


def _outcomes(
    grid: Grid, workspace: Workspace, on: str, workers: Workers, progress: Progress, tell: Tell
) -> Generator[Outcome, None, None]:
    if on != HERE:
        yield from walk_apart(grid.combinations, workspace, workers, tell)
        return
    for one in grid.combinations:
        try:
            yield one, walk_recipe(one.recipe, one.overrides, workspace, one.name, progress=progress)
        except StorageError:
            raise  # the next one would fail in the same way
        except Exception as error:
            yield one, error


def _figures_or_error(outcome: RunResult | Exception) -> tuple[dict[str, dict[str, Any]], str | None]:
    if isinstance(outcome, KilterError):
        return {}, str(outcome)
    if isinstance(outcome, Exception):
        return {}, " ".join([f"{type(outcome).__name__}: {outcome}", *getattr(outcome, "__notes__", [])])
    file = outcome.folder / "summary.json"
    if not file.exists():
        raise DataError(
            "The recipe has no step that writes figures (summary.json), so a sweep of it has nothing to compare; add a "
            "step 'report'."
        )
    figures: dict[str, dict[str, Any]] = json.loads(file.read_text(encoding="utf-8"))
    return figures, None
