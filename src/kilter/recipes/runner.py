"""The runner: walks a recipe, each step keyed by the hash of what goes into it.

A step's key covers its kind and version, its settings, the seed and the keys of its inputs. Its folder is
`steps/KEY` in the workspace; a step whose folder holds `step.json` is done and is not done again, in this recipe or
any other. So a second run does nothing, a changed setting redoes only what depends on it, and a killed run goes on.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import KilterError
from kilter.recipes.memory import peak_memory, release_memory, reset_peak_memory
from kilter.recipes.recipe import Recipe, Step, read_recipe
from kilter.recipes.step import Context, Output
from kilter.record import Record, Workspace, environment
from kilter.training.loop import Progress, no_progress, write_json
from kilter.training.seeds import derive_seed

DONE = "step.json"


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
    progress: Progress = no_progress,
    on_step: OnStep | None = None,
) -> RunResult:
    """Walk a recipe and return where its results lie.

    Args:
        recipe: a recipe or its file.
        overrides: `step.setting=value`.
        workspace: folder of the record; ./workspace by default.

    Raises:
        KilterError: of the step that could not go on; steps before it are kept.
    """
    pairs = list(overrides)
    if not isinstance(recipe, Recipe):
        recipe = read_recipe(Path(recipe), pairs)
    tell = on_step or (lambda name, state: None)
    with Workspace.open(workspace) as opened:
        folder = opened.runs / recipe.name
        folder.mkdir(parents=True, exist_ok=True)
        about = {
            "name": recipe.name, "description": recipe.description, "seed": recipe.seed, "source": recipe.source,
            "overrides": pairs,
        }  # fmt: skip
        outputs: dict[str, Output] = {}
        for step in recipe.steps:
            outputs[step.name] = _walk(step, recipe, opened, outputs, about, progress, tell)
            release_memory()
        _publish(folder, outputs)
    return RunResult(folder, outputs)


def _publish(folder: Path, outputs: dict[str, Output]) -> None:
    """Put what people open into the run's folder: the report, each stage's metrics, and a link to each model.

    `steps.json` says where each step lies and what it took.
    """
    told = {
        name: {
            "folder": os.path.relpath(output.folder, folder), "seconds": output.result.get("wall_seconds"),
            "memory": output.result.get("memory"),
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


def _copy(source: Path, target: Path) -> None:
    if source.exists():
        partial = target.with_name(f".{target.name}.partial")
        shutil.copyfile(source, partial)
        partial.replace(target)


def _walk(
    step: Step, recipe: Recipe, workspace: Workspace, outputs: dict[str, Output], about: dict[str, Any],
    progress: Progress, tell: OnStep,
) -> Output:  # fmt: skip
    inputs = {name: outputs[source] for name, source in step.inputs.items()}
    seed = derive_seed(recipe.seed, step.name) % 2**31
    key = step_key(step, inputs, seed, about)
    folder = workspace.root.resolve() / "steps" / f"{step.name}-{key[:16]}"
    finished = _finished(folder, workspace.record)
    if finished is not None:
        tell(step.name, "cached")
        return Output(step.name, folder, finished["result"], key, finished["run"])
    tell(step.name, "running")
    folder.mkdir(parents=True, exist_ok=True)
    record = workspace.record
    config = {"kind": step.kind.name, "settings": step.settings.model_dump(mode="json"), "key": key}
    consumed = [one for output in inputs.values() for one in output.result.get("artifacts", {}).values()]
    run = record.start_run(f"{recipe.name}/{step.name}", config, seed=seed, inputs=consumed)
    context = Context(folder, inputs, record, seed, run, progress, about, dict(outputs))
    started = time.monotonic()
    reset_peak_memory()
    try:
        result = step.kind.run(step.settings, context)
    except (Exception, KeyboardInterrupt) as error:
        status = "interrupted" if isinstance(error, KeyboardInterrupt) else f"failed: {type(error).__name__}"
        with contextlib.suppress(KilterError):  # on a full disk this fails too; the step's own error says more
            record.finish_run(run, status=status, seconds=time.monotonic() - started)
        raise
    result.setdefault("seconds", time.monotonic() - started)
    result["wall_seconds"] = time.monotonic() - started
    result["memory"] = peak_memory()
    metrics = result.get("metrics")
    record.finish_run(
        run, outputs=list(result.get("artifacts", {}).values()), metrics=Path(metrics) if metrics else None,
        flops=result.get("flops"), seconds=result["seconds"], status="done",
    )  # fmt: skip
    write_json(
        folder / DONE, {"result": result, "run": run, "key": key, "config": config, "environment": environment()}
    )
    tell(step.name, "done")
    return Output(step.name, folder, result, key, run)


def step_key(step: Step, inputs: dict[str, Output], seed: int, about: dict[str, Any]) -> str:
    """SHA-256 of everything that decides what the step makes."""
    content = {
        "kind": step.kind.name,
        "version": step.kind.version,
        "settings": step.settings.model_dump(mode="json", exclude={"checkpoint_seconds"}),
        "seed": seed,
        "inputs": {name: output.key for name, output in sorted(inputs.items())},
        "files": step.kind.files(step.settings) if step.kind.files else {},
    }
    if step.kind.names_run:
        content["run"] = about
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _finished(folder: Path, record: Record) -> dict[str, Any] | None:
    """What a finished step wrote, unless the record has been exchanged under it."""
    file = folder / DONE
    if not file.exists():
        return None
    done: dict[str, Any] = json.loads(file.read_text())
    try:
        record.run(done["run"])
    except KilterError:
        return None
    return done
