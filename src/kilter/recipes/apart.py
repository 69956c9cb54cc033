"""Many runs at once, each step done by whichever worker is free; this process alone writes the record.

A worker gets a step as plain data, works in the step's folder, which it must see under the same path, and returns its
result with the rows for the record. Steps that runs have in common are done once.
"""

from __future__ import annotations

import platform
import time
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from importlib import import_module
from pathlib import Path
from typing import Any

from kilter.errors import WorkerError
from kilter.recipes.grid import Combination
from kilter.recipes.held import release_model
from kilter.recipes.memory import release_memory
from kilter.recipes.parts import Part, Retry, Tell, Workers
from kilter.recipes.planned import Planned, do_step, plan_step
from kilter.recipes.runner import RunResult, about_run, publish
from kilter.recipes.step import Context, Output
from kilter.record import DetachedRecord, Workspace
from kilter.training.loop import no_progress

Outcome = tuple[Combination, RunResult | Exception]


def step_part(planned: Planned, run: str, outputs: Mapping[str, Output], blobs: Path, name: str) -> Part:
    """A step as plain data; `name` is what people are told."""
    kind, settings = planned.step.kind, planned.step.settings
    return Part(
        name,
        {
            "function": [kind.run.__module__, kind.run.__name__],
            "settings": [[type(settings).__module__, type(settings).__name__], settings.model_dump(mode="json")],
            "folder": str(planned.folder), "seed": planned.seed, "run": run, "about": planned.about,
            "inputs": {key: _plain(one) for key, one in planned.inputs.items()},
            "outputs": {key: _plain(one) for key, one in outputs.items()}, "blobs": str(blobs.resolve()),
        },
    )  # fmt: skip


def do_step_part(data: Mapping[str, Any]) -> dict[str, Any]:
    """The job: do a step; its result, and what it adds to the record."""
    folder = Path(data["folder"])
    if not folder.is_dir():
        raise WorkerError(
            f"The node {platform.node()} does not see {folder}. A sweep's steps write there: put the workspace on a "
            "disk that every node has under the same path."
        )
    kind, values = data["settings"]
    inputs, outputs = ({key: _output(one) for key, one in data[name].items()} for name in ("inputs", "outputs"))
    record = DetachedRecord(Path(data["blobs"]))
    context = Context(folder, inputs, record, data["seed"], data["run"], no_progress, data["about"], outputs)
    try:
        result = do_step(_named(*data["function"]), _named(*kind).model_validate(values), context)
    finally:
        release_model()
        release_memory()
    return {"result": result, "additions": record.additions}


def _named(module: str, name: str) -> Any:
    return getattr(import_module(module), name)


def _plain(output: Output) -> dict[str, Any]:
    return {**asdict(output), "folder": str(output.folder)}


def _output(data: Mapping[str, Any]) -> Output:
    return Output(**{**data, "folder": Path(data["folder"])})


@dataclass
class _Walk:
    """A combination on its way: the outputs of the steps that are done."""

    combination: Combination
    outputs: dict[str, Output] = field(default_factory=dict)


@dataclass
class _Sent:
    """A step that a worker has, and the combinations that wait for it."""

    planned: Planned
    run: str
    name: str
    started: float
    waiting: list[_Walk]


def walk_apart(
    combinations: Sequence[Combination], workspace: Workspace, workers: Workers, tell: Tell
) -> Iterator[Outcome]:
    """Walk all combinations; yields each as it ends, with its result or the error that ended it."""
    going, walks = deque(_Walk(one) for one in combinations), _Walks(workspace, workers, tell)
    try:
        while going or walks.sent:
            while going:
                walk = going.popleft()
                if walks.advance(walk):
                    yield walk.combination, publish(workspace.runs / walk.combination.name, walk.outputs)
            if walks.sent:
                freed, error = walks.take()
                if error is None:
                    going.extend(freed)
                else:
                    yield from ((walk.combination, error) for walk in freed)
    finally:
        walks.stop()


class _Walks:
    """Which steps are at which workers."""

    def __init__(self, workspace: Workspace, workers: Workers, tell: Tell) -> None:
        self.sent: dict[str, _Sent] = {}
        self._workspace, self._workers, self._tell = workspace, workers, tell
        self._keys: list[str] = []  # by the number under which a step was submitted
        self._retries: list[Retry] = []

    def advance(self, walk: _Walk) -> bool:
        """Go on until a step must be waited for; whether all are done."""
        one, record = walk.combination, self._workspace.record
        about = about_run(one.recipe, one.overrides, one.name)
        for step in one.recipe.steps[len(walk.outputs) :]:
            planned = plan_step(step, one.recipe, self._workspace.root, walk.outputs, about)
            if planned.key in self.sent:
                self.sent[planned.key].waiting.append(walk)
                return False
            finished = planned.finished(record)
            if finished is None:
                self._send(planned, walk)
                return False
            walk.outputs[step.name] = finished
        return True

    def _send(self, planned: Planned, walk: _Walk) -> None:
        name = f"{planned.step.name} of {walk.combination.label}"
        run = planned.begin(self._workspace.record)
        part = step_part(planned, run, walk.outputs, self._workspace.record.blobs.root, name)
        self.sent[planned.key] = _Sent(planned, run, name, time.monotonic(), [walk])
        self._keys.append(planned.key)
        self._workers.submit(len(self._keys) - 1, do_step_part, part)

    def take(self) -> tuple[list[_Walk], Exception | None]:
        """Wait for any step; those who waited for it, and what went wrong with it."""
        done = self._workers.next()
        sent, record = self.sent.pop(self._keys[done.number]), self._workspace.record
        self._retries += self._workers.take_retries()
        if done.error is not None:
            sent.planned.fail(record, sent.run, done.error, time.monotonic() - sent.started)
            return sent.waiting, done.error
        record.take(done.result["additions"])
        own = [one for one in self._retries if one.part == sent.name]
        output = sent.planned.finish(record, sent.run, done.result["result"], own)
        for walk in sent.waiting:
            walk.outputs[output.name] = output
        self._tell(f"{sent.name} done")
        return sent.waiting, None

    def stop(self) -> None:
        """Give up what is at the workers, and say so on the record."""
        self._workers.cancel()
        while self.sent:
            _, sent = self.sent.popitem()
            sent.planned.fail(self._workspace.record, sent.run, KeyboardInterrupt(), time.monotonic() - sent.started)
