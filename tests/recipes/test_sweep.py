"""Sweeps in this process, with steps that cost nothing; on a cluster they are tested in test_on_ray.py."""

from __future__ import annotations

import csv
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cheap_steps
import pytest

import kilter
from kilter.errors import DataError, SettingsError, StorageError
from kilter.recipes import recipe as recipes
from kilter.recipes import run_sweep, runner
from kilter.recipes.sweep_table import SweepRow
from kilter.record import Workspace


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipes, "kinds", lambda: cheap_steps.KINDS)
    monkeypatch.setattr(runner, "release_memory", lambda: None)
    file = tmp_path / "demo.yaml"
    file.write_text(cheap_steps.RECIPE)
    return file


def attempts(workspace: Path) -> int:
    """How often the step `scaled` was run."""
    return sum(file.read_text().count("\n") for file in workspace.glob("steps/scaled-*/attempts"))


def test_the_table_has_each_combinations_figures(demo: Path, tmp_path: Path) -> None:
    told: list[tuple[str, int, int]] = []
    result = run_sweep(
        demo, ["scaled.factor=1,2", "numbers.count=3,4"], workspace=tmp_path / "w",
        on_row=lambda row, ended, total: told.append((row.combination.label, ended, total)),
    )  # fmt: skip
    assert result.failed == []
    assert told[-1] == ("scaled.factor=2 numbers.count=4", 4, 4)
    assert [row.figures["mean"]["value"] for row in result.rows] == [
        2,
        3,
        4,
        6,
    ]  # factor times the mean of 0, 2, 4, ...
    assert result.markdown().splitlines() == [
        "| scaled.factor | numbers.count | mean | most |",
        "| --- | --- | --- | --- |",
        "| 1 | 3 | 2 [0, 4], n = 3 | 4 [0, 4], n = 3 |",
        "| 1 | 4 | 3 [0, 6], n = 4 | 6 [0, 6], n = 4 |",
        "| 2 | 3 | 4 [0, 8], n = 3 | 8 [0, 8], n = 3 |",
        "| 2 | 4 | 6 [0, 12], n = 4 | 12 [0, 12], n = 4 |",
    ]
    assert (result.folder / "table.md").read_text() == result.markdown()
    lines = list(csv.DictReader((result.folder / "table.csv").open()))
    assert len(lines) == 8
    assert lines[2] | {"run": ""} == {
        "run": "", "scaled.factor": "1", "numbers.count": "4", "status": "done", "figure": "mean", "value": "3.0",
        "low": "0.0", "high": "6.0", "n": "4", "method": "mean",
    }  # fmt: skip
    whole = json.loads((result.folder / "table.json").read_text())
    assert [one["settings"]["scaled.factor"] for one in whole] == ["1", "1", "2", "2"]
    for row in result.rows:  # each in a run folder of its own
        assert (tmp_path / "w" / "runs" / row.combination.name / "report.html").read_text() == row.combination.name


def test_what_combinations_share_is_done_once_and_seeds_are_a_setting(demo: Path, tmp_path: Path) -> None:
    run_sweep(demo, ["scaled.factor=1,2", "seed=0,1"], workspace=tmp_path / "w")
    with Workspace.open(tmp_path / "w", create=False) as workspace:
        runs = [one.name for one in workspace.record.runs()]
    assert runs.count("demo/numbers") == 2  # once for each seed
    assert runs.count("demo/scaled") == 4


def test_a_second_sweep_repeats_nothing_and_a_larger_one_does_what_is_new(demo: Path, tmp_path: Path) -> None:
    first = run_sweep(demo, ["scaled.factor=1,2"], workspace=tmp_path / "w")
    assert attempts(tmp_path / "w") == 2
    assert run_sweep(demo, ["scaled.factor=1,2"], workspace=tmp_path / "w").rows == first.rows
    assert attempts(tmp_path / "w") == 2
    assert len(run_sweep(demo, ["scaled.factor=1,2,3"], workspace=tmp_path / "w").rows) == 3
    assert attempts(tmp_path / "w") == 3


def test_a_failed_combination_is_told_and_the_others_go_on(demo: Path, tmp_path: Path) -> None:
    result = run_sweep(demo, ["scaled.factor=1,2,3", "scaled.broken=2"], workspace=tmp_path / "w")
    assert [row.status for row in result.rows] == ["done", "failed", "done"]
    assert result.rows[1].error == "That factor breaks it."
    assert "| 2 | failed | failed |" in result.markdown()
    whole = json.loads((result.folder / "table.json").read_text())
    assert whole[1]["error"] == "That factor breaks it."
    again = run_sweep(demo, ["scaled.factor=1,2,3", "scaled.broken=2"], workspace=tmp_path / "w")
    assert again.failed == result.failed
    assert attempts(tmp_path / "w") == 4  # what failed was tried again


def test_a_full_disk_ends_the_sweep(demo: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*arguments: Any) -> None:
        raise StorageError("The disk is full.")

    monkeypatch.setattr(cheap_steps, "fan_out", full)
    with pytest.raises(StorageError):
        run_sweep(demo, ["scaled.factor=1,2"], workspace=tmp_path / "w")


def test_figures_are_chosen_by_name(demo: Path, tmp_path: Path) -> None:
    result = run_sweep(demo, ["scaled.factor=1,2"], figures=["most"], workspace=tmp_path / "w")
    assert result.markdown().splitlines()[0] == "| scaled.factor | most |"
    assert "mean" in (result.folder / "table.csv").read_text()  # the files for programs have all of them
    with pytest.raises(SettingsError, match=r"no figure 'mosst': did you mean 'most'"):
        run_sweep(demo, ["scaled.factor=1,2"], figures=["mosst"], workspace=tmp_path / "w")


def test_a_recipe_without_figures_says_so(demo: Path, tmp_path: Path) -> None:
    demo.write_text("name: demo\nsteps: {numbers: {}}")
    with pytest.raises(DataError, match="no step that writes figures"):
        run_sweep(demo, ["numbers.count=1,2"], workspace=tmp_path / "w")


DYING = """
import os, signal
import cheap_steps
from kilter.recipes import recipe, run_sweep
import sys

recipe.kinds = lambda: cheap_steps.KINDS

def on_row(row, ended, total):
    if ended == 2:
        os.kill(os.getpid(), signal.SIGKILL)

run_sweep(sys.argv[1], ["scaled.factor=1,2,3"], workspace=sys.argv[2], on_row=on_row)
"""


def test_a_killed_sweep_goes_on_and_its_table_has_the_same_figures(demo: Path, tmp_path: Path) -> None:
    paths = [str(Path(__file__).parent), str(Path(kilter.__file__).parents[1])]
    killed = subprocess.run(
        [sys.executable, "-c", DYING, str(demo), str(tmp_path / "w")], capture_output=True, check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )  # fmt: skip
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    assert attempts(tmp_path / "w") == 2
    result = run_sweep(demo, ["scaled.factor=1,2,3"], workspace=tmp_path / "w")
    assert attempts(tmp_path / "w") == 3
    whole = run_sweep(demo, ["scaled.factor=1,2,3"], workspace=tmp_path / "other")
    assert [row.figures for row in result.rows] == [row.figures for row in whole.rows]
    assert isinstance(result.rows[0], SweepRow)
    with Workspace.open(tmp_path / "w", create=False) as workspace:
        assert workspace.record.verify().ok
