"""The runner: walks a recipe, each step keyed by the hash of what goes into it (`planned.py`).

So a second run does nothing, a changed setting redoes only what depends on it, and a killed run goes on.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.recipes.held import release_model
from kilter.recipes.memory import release_memory
from kilter.recipes.parts import HERE, Here, Tell, Workers, open_workers, say_nothing
from kilter.recipes.planned import Planned, do_step, plan_step
from kilter.recipes.recipe import Recipe, read_recipe
from kilter.recipes.step import Context, Output, Pages
from kilter.record import Record, Workspace
from kilter.training.loop import Progress, no_progress, write_json


@dataclass(frozen=True)
class RunResult:
    """A finished recipe: its folder in `runs/`, and every step's output by name."""

    folder: Path
    outputs: dict[str, Output]

    @property
    def report(self) -> Path:
        """The page to open."""
        return self.folder / "report.html"


OnStep = Callable[[str, str], None]
"""Called as (step name, "cached" | "running" | "done")."""


def run_recipe(
    recipe: Recipe | str | Path,
    overrides: Iterable[str] = (),
    *,
    workspace: Path | str | None = None,
    database: str | None = None,
    on: str = HERE,
    progress: Progress = no_progress,
    on_step: OnStep | None = None,
    tell: Tell = say_nothing,
    pages: Pages | None = None,
) -> RunResult:
    """Walk a recipe and return where its results lie.

    Args:
        recipe: a recipe or its file.
        overrides: `step.setting=value`.
        workspace: folder of the record; ./workspace by default.
        database: address of the PostgreSQL database with the record's rows; a file in that folder by default.
        on: where sampling, judging and evaluation are done: "here", or on a Ray cluster (see `open_workers`). It
            changes nothing in what they make, so what was made elsewhere counts as done.
        tell: told of parts whose worker was lost.
        pages: opens the pages on which people judge, where a step asks for them.

    Raises:
        KilterError: of the step that could not go on; steps before it are kept.
    """
    pairs = list(overrides)
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(Path(recipe), pairs)
    with open_workers(on, tell) as workers, Workspace.open(workspace, database) as opened:
        return walk_recipe(recipe, pairs, opened, recipe.name, workers, progress, on_step, pages)


def walk_recipe(
    recipe: Recipe, overrides: list[str], workspace: Workspace, name: str, workers: Workers | None = None,
    progress: Progress = no_progress, on_step: OnStep | None = None, pages: Pages | None = None,
) -> RunResult:  # fmt: skip
    """Walk a recipe in an open workspace; what people open goes into `runs/NAME`."""
    outputs: dict[str, Output] = {}
    about = about_run(recipe, overrides, name)
    for step in recipe.steps:
        planned = plan_step(step, recipe, workspace.root, outputs, about)
        tell = on_step or (lambda name, state: None)
        outputs[step.name] = _walk(planned, workspace.record, outputs, progress, tell, workers or Here(), pages)
    return publish(workspace.runs / name, outputs)


def about_run(recipe: Recipe, overrides: list[str], name: str) -> dict[str, Any]:
    """What a run says of itself, for the report."""
    return {
        "name": name, "description": recipe.description, "seed": recipe.seed, "source": recipe.source,
        "overrides": overrides,
    }  # fmt: skip


def publish(folder: Path, outputs: dict[str, Output]) -> RunResult:
    """Put what people open into the run's folder: the report, each stage's metrics, and a link to each model.

    `steps.json` says where each step lies and what it took.
    """
    folder.mkdir(parents=True, exist_ok=True)
    told = {
        name: {
            "folder": os.path.relpath(output.folder, folder), "seconds": output.result.get("wall_seconds"),
            "memory": output.result.get("memory"), "retries": len(output.result.get("retries", ())),
        }
        for name, output in outputs.items()
    }  # fmt: skip
    write_json(folder / "steps.json", told)
    for name, output in outputs.items():
        for file in ("report.html", "summary.json"):
            _copy(output.folder / file, folder / file)
        if "metrics" in output.result:
            _copy(Path(output.result["metrics"]), folder / f"{name}_metrics.jsonl")
            link = folder / name
            link.unlink(missing_ok=True)
            link.symlink_to(os.path.relpath(output.result["model"], folder), target_is_directory=True)
    return RunResult(folder, outputs)


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def _walk(
    planned: Planned, record: Record, outputs: dict[str, Output], progress: Progress, tell: OnStep, workers: Workers,
    pages: Pages | None,
) -> Output:  # fmt: skip
    name = planned.step.name
    finished = planned.finished(record)
    if finished is not None:
        tell(name, "cached")
        return finished
    tell(name, "running")
    run = planned.begin(record)
    context = Context(
        planned.folder, planned.inputs, record, planned.seed, run, progress, planned.about, dict(outputs), workers,
        pages,
    )  # fmt: skip
    started = time.monotonic()
    try:
        result = do_step(planned.step.kind.run, planned.step.settings, context)
    except (Exception, KeyboardInterrupt) as error:
        planned.fail(record, run, error, time.monotonic() - started)
        raise
    finally:
        release_model()
    output = planned.finish(record, run, result, workers.take_retries())
    release_memory()
    tell(name, "done")
    return output
