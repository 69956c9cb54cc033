"""Labels of single steps: a solution in steps, and whether people found each of them right."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.feedback.messages import Message, as_messages, require_prompt
from kilter.feedback.readings import Readings, Skip, collect, column, wrong_columns
from kilter.feedback.rows import Rows, read_rows

STEPS = ("steps", "completions")


@dataclass(frozen=True)
class StepLabels:
    """A prompt, the steps of one solution, and how right each is: 1 or 0, or a share between them."""

    prompt: list[Message]
    steps: tuple[str, ...]
    labels: tuple[float, ...]
    where: str = ""


class StepLabelData(Readings[StepLabels]):
    """Labeled steps as read from one source, with what was left out."""

    def contents(self) -> str:
        """How many solutions and steps."""
        return f"{len(self):,} solutions of {sum(len(one.steps) for one in self):,} steps"


def read_step_labels(
    path_or_name: str | Path, *, split: str | None = None, columns: Mapping[str, str] | None = None
) -> StepLabelData:
    """Read `prompt`, `steps` (or `completions`) and `labels`, one per step: true, false or a number from 0 to 1.

    Raises:
        DataError: the source is missing, empty or malformed, has other columns, or has nothing to learn from.
    """
    source = read_rows(path_or_name, split).renamed(columns)
    kept, skipped = collect(source, step_label_reader(source))
    return StepLabelData(kept, source.source, source.sha256, skipped)


def step_label_reader(source: Rows) -> Callable[[dict[str, Any], str], StepLabels]:
    """What reads one row of a source with the columns of `read_step_labels`; raises `WrongColumns` for others."""
    found = set(source.columns())
    name = next((one for one in STEPS if one in found), None)
    if name is None or not {"prompt", "labels"} <= found:
        raise wrong_columns(source, "prompt, steps (or completions) and labels", "steps")

    def read(row: dict[str, Any], where: str) -> StepLabels:
        prompt = as_messages(column(row, "prompt", where), where)
        require_prompt(prompt)
        steps, labels = column(row, name, where), column(row, "labels", where)
        if not isinstance(steps, list) or not all(isinstance(one, str) for one in steps):
            raise DataError(f"{where}: '{name}' must be a list of texts, not {steps!r:.60}.")
        right = isinstance(labels, list) and all(
            isinstance(one, bool | int | float) and 0 <= one <= 1 for one in labels
        )
        if not right or len(labels) != len(steps):
            raise DataError(
                f"{where}: 'labels' must hold true, false or a number from 0 to 1 for each of the {len(steps)} steps, "
                f"not {labels!r:.60}."
            )
        kept = [(step.strip(), float(label)) for step, label in zip(steps, labels, strict=True) if step.strip()]
        if not kept:
            raise Skip("no steps")
        return StepLabels(prompt, tuple(step for step, _ in kept), tuple(label for _, label in kept), where)

    return read
