"""What every training algorithm shares: steps that resume, metrics, checkpoints and progress.

    loop = Loop(folder, total, fingerprint, stateful, ...)
    for step in loop.steps():
        ...                      # forward, backward, optimizer
        loop.log({"loss": ...})

The loop knows nothing of losses. An algorithm's state is a mapping of names to objects with `state` and `load_state`
(dicts of tensors); what else it counts goes into `loop.counters` (JSON).
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from torch import Tensor

from kilter.models import processes
from kilter.models.flops import Compute
from kilter.training.checkpoint import Checkpoint, drop_checkpoint, load_checkpoint, save_checkpoint

METRICS = "metrics.jsonl"
RESULT = "result.json"


class Stateful(Protocol):
    """Something whose state is a dict of tensors."""

    def state(self) -> dict[str, Tensor]:
        """Its tensors by name."""

    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Take them back."""

    def like(self, key: str) -> Tensor:
        """A tensor of the same shape that lies where the one of this name belongs."""


Progress = Callable[[str, int, int, Mapping[str, float]], None]
"""Called as progress(stage, finished steps, total steps, newest metrics)."""


def no_progress(stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
    """Show nothing."""


@dataclass
class Loop:
    """The steps of one training run in one folder.

    Attributes:
        folder: where checkpoint, metrics and result lie.
        stage: name shown to the user.
        total: number of steps.
        fingerprint: hash of settings and data; a checkpoint of another one is refused.
        stateful: what a checkpoint holds.
        progress: told after every step.
        checkpoint_seconds: time between checkpoints; writing never takes more than about a twentieth of it.
        counters: JSON state of the algorithm, saved with the checkpoint.
        compute: operations and tokens so far.
        stopped: why the run ended before its last step; empty if it did not.
    """

    folder: Path
    stage: str
    total: int
    fingerprint: str
    stateful: Mapping[str, Stateful]
    progress: Progress = no_progress
    checkpoint_seconds: float = 15.0
    counters: dict[str, Any] = field(default_factory=dict)
    compute: Compute = field(default_factory=Compute)
    seconds: float = 0.0
    stopped: str = ""
    _rows: list[dict[str, float]] = field(default_factory=list)

    def steps(self) -> Iterator[int]:
        """Yield the numbers of the steps still to be done; after each, save what is due."""
        first = self._resume()
        self._write_metrics(first)
        saved, pause = time.monotonic(), self.checkpoint_seconds
        for step in range(first, self.total):
            began = time.monotonic()
            yield step
            self.seconds += time.monotonic() - began
            due = time.monotonic() - saved >= pause
            if processes.all_gather(due)[0] and step + 1 < self.total:
                before = time.monotonic()
                self._save(step + 1)
                saved = time.monotonic()
                pause = max(self.checkpoint_seconds, 20 * (saved - before))
        if first < self.total:
            self._save(self.total)

    def keep(self, step: int) -> None:
        """Write a checkpoint of the first `step` steps now; for a run that is about to end with an error."""
        self._save(step)

    def stop(self, reason: str) -> None:
        """Say that this step is the last one; the trainer leaves its steps, and the run counts as finished."""
        self.stopped = reason

    def log(self, metrics: Mapping[str, float], step: int) -> None:
        """Append one row to metrics.jsonl and tell the progress bar. Not-a-number values are left out."""
        row = {
            "step": float(step),
            **{key: float(value) for key, value in metrics.items() if math.isfinite(value)},
        }
        self._rows.append(row)
        if not processes.is_main():
            return
        with (self.folder / METRICS).open("a") as stream:
            stream.write(json.dumps(row) + "\n")
        self.progress(self.stage, step + 1, self.total, row)

    def finish(self, result: Mapping[str, Any]) -> dict[str, Any]:
        """Write result.json, the mark of a finished run, and drop the checkpoint that is no longer needed.

        Not-a-number values are left out.
        """
        flops, tokens = processes.totals(self.compute.flops, self.compute.tokens)
        whole = {
            **{key: value for key, value in result.items() if not isinstance(value, float) or math.isfinite(value)},
            "fingerprint": self.fingerprint,
            "steps": len(self._rows) if self.stopped else self.total,
            "flops": flops,
            "tokens": int(tokens),
            "seconds": self.seconds,
        }
        whole = processes.on_main(lambda: whole)
        write_json(self.folder / RESULT, whole)
        drop_checkpoint(self.folder)
        return whole

    @property
    def rows(self) -> list[dict[str, float]]:
        """All metrics so far, those from before a resume included."""
        return self._rows

    def _resume(self) -> int:
        self.folder.mkdir(parents=True, exist_ok=True)
        checkpoint = load_checkpoint(self.folder, self.fingerprint, self._like)
        if checkpoint is None:
            self._rows = []
            return 0
        for name, part in self.stateful.items():
            part.load_state(checkpoint.part(name))
        saved = checkpoint.counters
        self.counters.update(saved["counters"])
        self.seconds = saved["seconds"]
        if processes.is_main():  # what all have done; the others count from here on
            self.compute.flops, self.compute.tokens = saved["flops"], saved["tokens"]
        self._rows = [row for row in read_metrics(self.folder / METRICS) if row["step"] < checkpoint.step]
        return checkpoint.step

    def _write_metrics(self, first: int) -> None:
        """Forget rows of steps that will be done again; the others can never be made again, so all or nothing."""
        lines = "".join(json.dumps(row) + "\n" for row in self._rows if row["step"] < first)
        replace_file(self.folder / METRICS, lines)

    def _like(self, key: str) -> Tensor:
        name, _, rest = key.partition("/")
        return self.stateful[name].like(rest)

    def _save(self, step: int) -> None:
        flops, tokens = processes.totals(self.compute.flops, self.compute.tokens)
        tensors = {
            f"{name}/{key}": value.detach()
            for name, part in self.stateful.items()
            for key, value in part.state().items()
        }
        counters = {"counters": self.counters, "flops": flops, "tokens": int(tokens), "seconds": self.seconds}
        save_checkpoint(self.folder, Checkpoint(step, tensors, counters), self.fingerprint)


def finished_result(folder: Path, fingerprint: str) -> dict[str, Any] | None:
    """The result of a finished run with this fingerprint, or None."""
    file = folder / RESULT
    if not file.exists():
        return None
    result: dict[str, Any] = json.loads(file.read_text())
    return result if result.get("fingerprint") == fingerprint else None


def read_metrics(file: Path) -> list[dict[str, float]]:
    """Rows of a metrics file; a last line cut off by a kill is left out."""
    if not file.exists():
        return []
    rows = []
    for line in file.read_text().splitlines():
        try:
            rows.append(json.loads(line))
        except ValueError:
            break
    return rows


def write_json(file: Path, value: Any) -> None:
    """Write JSON atomically."""
    replace_file(file, json.dumps(value, indent=2, sort_keys=True, allow_nan=False) + "\n")


def replace_file(file: Path, text: str) -> None:
    """Write a text atomically; of several processes only the main one does."""
    if not processes.is_main():
        return
    temporary = file.with_name(f".{file.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.replace(file)
