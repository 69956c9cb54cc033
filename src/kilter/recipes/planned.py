"""One step of a run: what decides its content, whether it is done already, and its run on the record.

A step's key covers its kind and version, its settings, the seed and the keys of its inputs. Its folder is
`steps/KEY` in the workspace; a step whose folder holds `step.json` is done and is not done again, in this recipe or
any other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kilter.errors import KilterError
from kilter.recipes.memory import peak_memory, reset_peak_memory
from kilter.recipes.parts import Retry
from kilter.recipes.recipe import Recipe, Step
from kilter.recipes.step import Context, Output
from kilter.record import Record, environment
from kilter.settings import Settings
from kilter.training.loop import write_json
from kilter.training.seeds import derive_seed

DONE = "step.json"


@dataclass(frozen=True)
class Planned:
    """A step that is to be done, unless it is done already.

    Attributes:
        step: of the recipe.
        inputs: the outputs it reads, by the names its kind knows them by.
        seed: its own, derived from the recipe's and its name.
        key: SHA-256 of everything that decides what it makes.
        folder: its own, `steps/NAME-KEY`.
        about: name, description, source and overrides, as the step is told them.
    """

    step: Step
    inputs: dict[str, Output]
    seed: int
    key: str
    folder: Path
    about: dict[str, Any]

    @property
    def config(self) -> dict[str, Any]:
        """What its run on the record says of it."""
        return {
            "kind": self.step.kind.name, "settings": self.step.settings.model_dump(mode="json"), "key": self.key,
        }  # fmt: skip

    def finished(self, record: Record) -> Output | None:
        """Its output, if it is done and the record has not been exchanged under it."""
        file = self.folder / DONE
        if not file.exists():
            return None
        done: dict[str, Any] = json.loads(file.read_text())
        try:
            record.run(done["run"])
        except KilterError:
            return None
        return Output(self.step.name, self.folder, done["result"], self.key, done["run"])

    def begin(self, record: Record) -> str:
        """Make its folder and put on the record that it starts; returns the run's id."""
        self.folder.mkdir(parents=True, exist_ok=True)
        used = [one for output in self.inputs.values() for one in output.result.get("artifacts", {}).values()]
        return record.start_run(f"{self.about['name']}/{self.step.name}", self.config, seed=self.seed, inputs=used)

    def fail(self, record: Record, run: str, error: BaseException, seconds: float) -> None:
        """Put on the record that it ended badly."""
        status = f"failed: {type(error).__name__}" if isinstance(error, Exception) else "interrupted"
        with contextlib.suppress(KilterError):  # on a full disk this fails too; the step's own error says more
            record.finish_run(run, status=status, seconds=seconds)

    def finish(self, record: Record, run: str, result: dict[str, Any], retries: Sequence[Retry] = ()) -> Output:
        """Put on the record what it made, and write `step.json`.

        Parts whose workers were lost become an artifact "retries" among the run's outputs.
        """
        outputs = list(result.get("artifacts", {}).values())
        if retries:
            result["retries"] = [asdict(one) for one in retries]
            outputs.append(record.add_artifact("retries", result["retries"]))
        metrics = result.get("metrics")
        record.finish_run(
            run, outputs=outputs, metrics=Path(metrics) if metrics else None, flops=result.get("flops"),
            seconds=result["seconds"], status="done",
        )  # fmt: skip
        done = {"result": result, "run": run, "key": self.key, "config": self.config, "environment": environment()}
        write_json(self.folder / DONE, done)
        return Output(self.step.name, self.folder, result, self.key, run)


def config_of(output: Output) -> dict[str, Any]:
    """Kind and settings of a finished step; empty where its folder does not say."""
    file = output.folder / DONE
    config: dict[str, Any] = json.loads(file.read_text())["config"] if file.exists() else {}
    return config


def kind_of(output: Output) -> str:
    """The kind of a finished step; its name where its folder does not say."""
    kind: str = config_of(output).get("kind", output.name)
    return kind


def plan_step(step: Step, recipe: Recipe, root: Path, outputs: Mapping[str, Output], about: dict[str, Any]) -> Planned:
    """Work out a step's key from the outputs of the steps before it.

    Only a step that shows the run's own name and overrides is told them: what any other makes must not depend on which
    of several runs that share it came first.
    """
    inputs = {name: outputs[source] for name, source in step.inputs.items()}
    seed = derive_seed(recipe.seed, step.name) % 2**31
    key = step_key(step, inputs, seed, about)
    folder = root.resolve() / "steps" / f"{step.name}-{key[:16]}"
    return Planned(step, inputs, seed, key, folder, about if step.kind.names_run else {**about, "name": recipe.name})


def step_key(step: Step, inputs: Mapping[str, Output], seed: int, about: dict[str, Any]) -> str:
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


def do_step(run: Callable[[Any, Context], dict[str, Any]], settings: Settings, context: Context) -> dict[str, Any]:
    """Run a step; its result, with the seconds and the memory it took."""
    started = time.monotonic()
    reset_peak_memory()
    result = run(settings, context)
    result.setdefault("seconds", time.monotonic() - started)
    result["wall_seconds"] = time.monotonic() - started
    result["memory"] = peak_memory()
    return result
