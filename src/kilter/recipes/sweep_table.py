"""The table of a sweep: one row per combination, its figures with their intervals, as CSV, JSON and Markdown."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kilter.errors import SettingsError
from kilter.files import write_atomically
from kilter.recipes.grid import Combination
from kilter.settings import nearest

USUAL = ("gold_win_rate", "proxy_win_rate", "reward_model_accuracy", "kl")
"""Figures shown where none are chosen, as far as the recipe has them."""


@dataclass(frozen=True)
class SweepRow:
    """What became of one combination: its figures as in `summary.json`, or why it failed."""

    combination: Combination
    figures: dict[str, dict[str, Any]] = field(default_factory=dict)
    error: str | None = None

    @property
    def status(self) -> str:
        """done or failed."""
        return "done" if self.error is None else "failed"


def chosen_figures(wanted: Sequence[str], rows: Sequence[SweepRow]) -> list[str]:
    """The figures to show: those asked for, else the usual ones, else all.

    Raises:
        SettingsError: a figure is asked for that the finished combinations do not have.
    """
    known = list(dict.fromkeys(name for row in rows for name in row.figures))
    for name in wanted if known else ():
        if name not in known:
            raise SettingsError(f"The recipe gives no figure '{name}': {nearest(name, known)}")
    return list(wanted) or [name for name in USUAL if name in known] or known


def markdown(rows: Sequence[SweepRow], figures: Sequence[str]) -> str:
    """A table for people: value [low, high], n."""
    settings = list(rows[0].combination.values) if rows else []
    head = [*settings, *figures]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        empty = "failed" if row.error is not None else ""
        cells = [_cell(row.figures[name]) if name in row.figures else empty for name in figures]
        lines.append([*row.combination.values.values(), *cells])
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def write_table(folder: Path, rows: Sequence[SweepRow], figures: Sequence[str]) -> None:
    """Write table.md with the chosen figures, table.csv and table.json with all of them, atomically."""
    write_atomically(folder / "table.md", markdown(rows, figures))
    write_atomically(folder / "table.csv", _csv(rows))
    told = [
        {
            "run": row.combination.name, "settings": row.combination.values, "overrides": row.combination.overrides,
            "seed": row.combination.recipe.seed, "status": row.status, "error": row.error, "figures": row.figures,
        }
        for row in rows
    ]  # fmt: skip
    write_atomically(folder / "table.json", json.dumps(told, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def _csv(rows: Sequence[SweepRow]) -> str:
    """One line per combination and figure, which is the form that other programs read without reshaping."""
    stream = io.StringIO()
    settings = list(rows[0].combination.values) if rows else []
    writer = csv.writer(stream, lineterminator="\n")
    writer.writerow(["run", *settings, "status", "figure", "value", "low", "high", "n", "method"])
    for row in rows:
        own = [row.combination.name, *row.combination.values.values(), row.status]
        for name, one in row.figures.items():
            writer.writerow([*own, name, *(one[key] for key in ("value", "low", "high", "n", "method"))])
        if not row.figures:
            writer.writerow([*own, *[""] * 6])
    return stream.getvalue()


def _cell(one: dict[str, Any]) -> str:
    return f"{one['value']:.3g} [{one['low']:.3g}, {one['high']:.3g}], n = {one['n']}"
