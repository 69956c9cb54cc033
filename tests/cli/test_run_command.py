"""`kilter run`, through the program's own door, with cheap steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from postgresql_server import Server

from kilter.cli.main import INTERRUPTED, execute
from kilter.cli.progress import StageProgress
from kilter.errors import DataError, KilterError, RecordError, TrainingStopped
from kilter.recipes import recipe as recipes
from kilter.recipes.step import Context, Kind
from kilter.settings import Settings


class Work(Settings):
    steps: int = 2
    broken: str = ""


def work(settings: Work, context: Context) -> dict[str, Any]:
    for step in range(settings.steps):
        context.progress("work", step + 1, settings.steps, {"loss": 1 / (step + 1), "secret": 3.0})
    failures: dict[str, BaseException] = {
        "stop": TrainingStopped("It diverged. Lower lr."), "key": KeyboardInterrupt(), "fault": ValueError("odd")
    }  # fmt: skip
    if settings.broken:
        raise failures[settings.broken]
    (context.folder / "report.html").write_text("<p>done</p>")
    return {"artifacts": {}}


@pytest.fixture
def recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipes, "kinds", lambda: {"work": Kind("work", Work, work)})
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("KILTER_WORKSPACE", raising=False)
    file = tmp_path / "demo.yaml"
    file.write_text("steps: {work: {}}")
    return file


def test_a_run_prints_where_its_report_lies(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "demo.yaml"]) == 0
    said = capsys.readouterr()
    assert said.out == "Report: workspace/runs/demo/report.html\n"
    assert "work: done" in said.err
    assert "work 2/2  loss 0.5" in said.err
    assert "secret" not in said.err
    assert execute(["run", "demo.yaml"]) == 0
    assert "work: already done" in capsys.readouterr().err


def test_a_workspace_of_ones_own(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "demo.yaml", "name=other", "--workspace", "mine"]) == 0
    assert capsys.readouterr().out == "Report: mine/runs/other/report.html\n"
    assert (recipe.parent / "mine" / "runs" / "other" / "report.html").read_text() == "<p>done</p>"
    assert not (recipe.parent / "workspace").exists()


def test_rows_in_postgresql(recipe: Path, postgresql_server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    address = postgresql_server.schema()
    for state in ("done", "already done"):
        assert execute(["run", "demo.yaml", "--database", address]) == 0
        assert f"work: {state}" in capsys.readouterr().err
    assert execute(["sweep", "demo.yaml", "work.steps=1,2", "--database", address]) == DataError.exit_code
    assert "no step that writes figures" in capsys.readouterr().err
    assert not (recipe.parent / "workspace" / "kilter.db").exists()
    assert execute(["run", "demo.yaml"]) == RecordError.exit_code
    assert "name the database with --database" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["dem.yaml"], 2, "There is no recipe dem.yaml; did you mean 'demo.yaml'?"),
        (["demo.yaml", "wrk.steps=3"], 2, "'wrk' is no step of demo.yaml: did you mean 'work'?"),
        (["demo.yaml", "work.stepps=3"], 2, "did you mean 'steps'?"),
        (["demo.yaml", "work.steps=many"], 2, "'steps'"),
        (["demo.yaml", "work.steps"], 2, "not of the form key=value"),
        (["demo.yaml", "--workspce", "x"], 2, "--workspace"),
        ([], 2, "RECIPE"),
        (["demo.yaml", "work.broken=stop"], TrainingStopped.exit_code, "It diverged. Lower lr."),
        (["demo.yaml", "work.broken=key"], INTERRUPTED, "the same command goes on from there"),
        (["demo.yaml", "work.broken=fault"], 1, "This is a fault in Kilter"),
    ],
)
def test_what_is_wrong_has_its_exit_code(
    recipe: Path, words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["run", *words]) == code
    printed = capsys.readouterr()
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert "Report:" not in printed.out


def test_a_recipe_that_is_wrong_leaves_no_workspace(recipe: Path) -> None:
    assert execute(["run", "demo.yaml", "work.stepps=3"]) == 2
    assert not (recipe.parent / "workspace").exists()


def test_a_workspace_that_is_a_file(recipe: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["run", "demo.yaml", "--workspace", "demo.yaml"]) == 6
    assert "demo.yaml" in capsys.readouterr().err


def test_a_shipped_recipe_without_its_model_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    shipped = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"
    assert execute(["run", str(shipped), "model.name=nowhere"]) == 4
    assert "There is no model 'nowhere'" in capsys.readouterr().err
    assert issubclass(TrainingStopped, KilterError)


def test_progress_on_a_terminal_has_a_bar_per_stage(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("FORCE_COLOR", "1")
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with StageProgress() as shown:
        shown.step("sft", "running")
        shown.progress("sft", 1, 2, {"loss": 2.0})
        shown.progress("sft", 2, 2, {"loss": 1.0})
        shown.progress("reward", 1, 1, {"accuracy": 0.75})
        shown.step("sft", "done")
    said = capsys.readouterr().err
    assert "2/2" in said
    assert "accuracy 0.75" in said
    assert "sft: done" in said
