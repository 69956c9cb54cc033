"""`kilter sweep` and `--on`, through the program's own door, with steps that cost nothing."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

from kilter.cli.main import execute
from kilter.errors import TrainingStopped
from kilter.recipes import recipe as recipes
from kilter.recipes import runner
from kilter.recipes.step import Context, Kind
from kilter.settings import Settings


class Work(Settings):
    size: float = 2
    broken: float = 0


def work(settings: Work, context: Context) -> dict[str, Any]:
    if settings.broken == settings.size:
        raise TrainingStopped("It diverged.")
    one = {"value": settings.size, "low": settings.size - 1, "high": settings.size + 1, "n": 7, "method": "none"}
    (context.folder / "summary.json").write_text(json.dumps({"kl": one}))
    (context.folder / "report.html").write_text("<p>done</p>")
    return {"artifacts": {}}


@pytest.fixture(autouse=True)
def _recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(recipes, "kinds", lambda: {"work": Kind("work", Work, work, names_run=True)})
    monkeypatch.setattr(runner, "release_memory", lambda: None)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KILTER_WORKSPACE", raising=False)
    (tmp_path / "demo.yaml").write_text("steps: {work: {}}")


def test_a_sweep_prints_its_table_and_where_it_lies(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["sweep", "demo.yaml", "work.size=1,2", "seed=0,1", "--figures", "kl"]) == 0
    said = capsys.readouterr()
    *table, _, path = said.out.splitlines()
    assert table == [
        "| work.size | seed | kl |",
        "| --- | --- | --- |",
        "| 1 | 0 | 1 [0, 2], n = 7 |",
        "| 1 | 1 | 1 [0, 2], n = 7 |",
        "| 2 | 0 | 2 [1, 3], n = 7 |",
        "| 2 | 1 | 2 [1, 3], n = 7 |",
    ]
    assert (tmp_path / path.removeprefix("Table: ")).read_text().splitlines() == table
    assert "4 of 4: work.size=2 seed=1: done" in said.err


def test_a_failed_combination_has_its_exit_code_and_its_reason(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["sweep", "demo.yaml", "work.size=1,2", "work.broken=2"]) == 10
    said = capsys.readouterr()
    assert "| 2 | failed |" in said.out
    assert "2 of 2: work.size=2: It diverged." in said.err
    assert "1 of 2 combinations failed" in said.err
    assert "Traceback" not in said.err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["sweep", "demo.yaml"], 2, "STEP.SETTING"),
        (["sweep", "demo.yaml", "work.sizze=1,2"], 2, "did you mean 'size'"),
        (["sweep", "demo.yaml", "work.size=1,2", "--figures", "klx"], 2, "no figure 'klx'"),
        (["sweep", "demo.yaml", "work.size=1,2", "--on", "there"], 2, "Work cannot be done on 'there'"),
        (["run", "demo.yaml", "--on", "there"], 2, "Work cannot be done on 'there'"),
        (["run", "demo.yaml", "--on", "ray"], 9, "Ray is installed"),
    ],
)
def test_what_is_wrong_has_its_exit_code(
    words: list[str], code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "ray", None)
    assert execute(words) == code
    assert said in capsys.readouterr().err.replace("\n", " ")
