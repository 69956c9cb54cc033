"""Progress of long work: one bar per stage with throughput and time left, plain lines where there is no terminal."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

_SHOWN = ("loss", "accuracy", "reward", "gold", "kl", "entropy", "length")


class StageProgress:
    """Shows stages as they come. A context manager."""

    def __init__(self) -> None:
        self._console = Console(stderr=True)
        self._bars = Progress(
            TextColumn("{task.description}"), BarColumn(bar_width=24), MofNCompleteColumn(), TimeElapsedColumn(),
            TextColumn("left"), TimeRemainingColumn(), TextColumn("[dim]{task.fields[note]}"), console=self._console,
        )  # fmt: skip
        self._tasks: dict[str, TaskID] = {}
        self._said = 0.0

    def __enter__(self) -> StageProgress:
        if self._console.is_terminal:
            self._bars.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._console.is_terminal:
            self._bars.stop()

    def step(self, name: str, state: str) -> None:
        """A recipe's step changed its state."""
        words = {"cached": "already done", "running": "...", "done": "done"}[state]
        if state != "running" or not self._console.is_terminal:
            self._console.print(f"{name}: {words}", highlight=False)

    def note(self, line: str) -> None:
        """Say a line, above the bars."""
        self._console.print(line, highlight=False, markup=False, soft_wrap=True)

    def progress(self, stage: str, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """A stage made a step; the form that trainers call."""
        note = "  ".join(f"{key} {metrics[key]:.3g}" for key in _SHOWN if key in metrics)
        if not self._console.is_terminal:
            if step == total or time.monotonic() - self._said > 10:
                self._said = time.monotonic()
                self._console.print(f"  {stage} {step}/{total}  {note}", highlight=False)
            return
        if stage not in self._tasks:
            self._tasks[stage] = self._bars.add_task(stage, total=total, note="")
        self._bars.update(self._tasks[stage], completed=step, total=total, note=note)
