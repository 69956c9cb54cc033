from __future__ import annotations

import json
import os
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import RecordError, TrainingStopped
from kilter.recipes import RunResult, run_recipe, runner
from kilter.recipes import recipe as recipes
from kilter.recipes.step import Context, Kind, file_hashes
from kilter.record import Workspace
from kilter.settings import Settings

RECIPE = """
name: demo
description: Words, counted.
steps:
  read: {file: FILE}
  long: {use: measure, inputs: {words: read}, least: 3}
  short: {use: measure, inputs: {words: read}, least: 1}
  train: {inputs: {data: long}}
  report: {inputs: {one: train, other: short}}
"""


class Read(Settings):
    file: str


class Measure(Settings):
    least: int = 1


class Train(Settings):
    lr: float = 0.1
    checkpoint_seconds: float = 15.0


class Report(Settings):
    title: str = "Report"


@dataclass
class World:
    """A workspace and a recipe of cheap kinds; `ran` names the steps that did their work."""

    root: Path
    ran: list[str] = field(default_factory=list)
    seeds: dict[str, int] = field(default_factory=dict)
    broken: BaseException | None = None

    @property
    def words(self) -> Path:
        return self.root / "words.txt"

    @property
    def recipe(self) -> Path:
        return self.root / "demo.yaml"

    def run(self, *pairs: str, **options: Any) -> RunResult:
        self.ran.clear()
        return run_recipe(self.recipe, pairs, workspace=options.pop("workspace", self.root / "workspace"), **options)

    def kinds(self) -> dict[str, Kind]:
        return {kind.name: kind for kind in (
            Kind("read", Read, self.read, files=lambda settings: file_hashes(settings.file)),
            Kind("measure", Measure, self.measure, inputs=("words",)),
            Kind("train", Train, self.train, inputs=("data",)),
            Kind("report", Report, self.report, inputs=("one", "other"), names_run=True),
        )}  # fmt: skip

    def read(self, settings: Read, context: Context) -> dict[str, Any]:
        self._note(context)
        words = Path(settings.file).read_text().split()
        return {"words": words, "artifacts": {"words": context.record.add_artifact("words", words)}}

    def measure(self, settings: Measure, context: Context) -> dict[str, Any]:
        self._note(context)
        words = context.input("words").result
        kept = [word for word in words["words"] if len(word) >= settings.least]
        parents = list(words["artifacts"].values())
        return {"kept": kept, "artifacts": {"kept": context.record.add_artifact("kept", kept, parents=parents)}}

    def train(self, settings: Train, context: Context) -> dict[str, Any]:
        self._note(context)
        attempts = context.folder / "attempts"
        attempts.write_text(attempts.read_text() + "x" if attempts.exists() else "x")
        if self.broken is not None:
            raise self.broken
        (context.folder / "model").mkdir()
        (context.folder / "model" / "weights").write_text(f"{settings.lr} {context.input('data').result['kept']}")
        (context.folder / "metrics.jsonl").write_text('{"step": 0}\n')
        artifact = context.record.add_folder("model", context.folder / "model")
        context.progress("train", 1, 1, {"loss": 0.5})
        return {
            "artifacts": {"model": artifact}, "model": str(context.folder / "model"), "flops": 12.0,
            "metrics": str(context.folder / "metrics.jsonl"), "attempts": len(attempts.read_text()),
        }  # fmt: skip

    def report(self, settings: Report, context: Context) -> dict[str, Any]:
        self._note(context)
        title = f"{settings.title} {context.recipe['name']} {context.recipe['overrides']}"
        (context.folder / "report.html").write_text(title)
        (context.folder / "summary.json").write_text("{}")
        return {"artifacts": {}}

    def _note(self, context: Context) -> None:
        name = context.folder.name.rsplit("-", 1)[0]
        self.ran.append(name)
        self.seeds[name] = context.seed

    def statuses(self) -> list[tuple[str, str]]:
        with Workspace.open(self.root / "workspace", create=False) as workspace:
            return sorted((one.name, one.status) for one in workspace.record.runs())


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(tmp_path)
    known = made.kinds()
    monkeypatch.setattr(recipes, "kinds", lambda: known)
    monkeypatch.setattr(runner, "release_memory", lambda: None)  # half a second of garbage collection a step
    made.words.write_text("a bee sees eggs")
    made.recipe.write_text(RECIPE.replace("FILE", str(made.words)))
    return made


ALL = ["read", "long", "short", "train", "report"]


def test_every_step_runs_once_and_a_second_run_does_nothing(world: World) -> None:
    told: list[tuple[str, str]] = []
    first = world.run(on_step=lambda *state: told.append(state))
    assert world.ran == ALL
    assert told == [(name, state) for name in ALL for state in ("running", "done")]
    assert first.outputs["long"].result["kept"] == ["bee", "sees", "eggs"]
    told.clear()
    second = world.run(on_step=lambda *state: told.append(state))
    assert world.ran == []
    assert told == [(name, "cached") for name in ALL]
    assert second == first


@pytest.mark.parametrize(
    ("pair", "redone"),
    [
        ("train.lr=0.2", ["train", "report"]),
        ("short.least=2", ["short", "report"]),
        ("long.least=4", ["long", "train", "report"]),
        ("report.title=News", ["report"]),
        ("name=other", ["report"]),
        ("train.checkpoint_seconds=1", ["report"]),  # changes nothing but how to reproduce it
        ("seed=1", ALL),
        ("train.lr=0.1", ["report"]),  # said, but not changed
    ],
)
def test_only_what_depends_on_a_change_is_redone(world: World, pair: str, redone: list[str]) -> None:
    world.run()
    world.run(pair)
    assert world.ran == redone
    world.run(pair)
    assert world.ran == []
    world.run()
    assert world.ran == []  # the former results are still there


def test_a_changed_input_file_is_read_anew(world: World) -> None:
    world.run()
    world.words.write_text("ox")
    result = world.run()
    assert world.ran == ALL
    assert result.outputs["short"].result["kept"] == ["ox"]


def test_steps_have_seeds_of_their_own(world: World) -> None:
    world.run()
    first = dict(world.seeds)
    assert len(set(first.values())) == len(ALL)
    world.run("seed=1")
    assert not set(first.values()) & set(world.seeds.values())


def test_a_new_version_of_the_code_does_not_take_old_results(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    world.run()
    known = world.kinds()
    known["train"] = Kind("train", Train, world.train, inputs=("data",), version=2)
    monkeypatch.setattr(recipes, "kinds", lambda: known)
    world.run()
    assert world.ran == ["train", "report"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (TrainingStopped("it diverged"), "failed: TrainingStopped"),
        (KeyboardInterrupt(), "interrupted"),
        (OSError(28, "No space left on device"), "failed: OSError"),
        (ValueError("a fault"), "failed: ValueError"),
    ],
)
def test_a_step_that_ends_badly_keeps_the_earlier_ones_and_says_so(
    world: World, error: BaseException, status: str
) -> None:
    world.broken = error
    with pytest.raises(type(error)):
        world.run()
    done = [("demo/long", "done"), ("demo/read", "done"), ("demo/short", "done")]
    assert world.statuses() == [*done, ("demo/train", status)]
    assert not (world.root / "workspace" / "runs" / "demo" / "report.html").exists()
    world.broken = None
    result = world.run()
    assert world.ran == ["train", "report"]
    assert result.outputs["train"].result["attempts"] == 2  # it found its folder as it was
    assert world.statuses() == sorted([*done, ("demo/report", "done"), ("demo/train", "done"), ("demo/train", status)])


def test_a_step_killed_before_it_was_done_is_done_again(world: World) -> None:
    first = world.run()
    folder = first.outputs["short"].folder
    (folder / "step.json").unlink()
    world.run()
    assert world.ran == ["short"]


def test_results_whose_record_was_thrown_away_are_made_again(world: World) -> None:
    first = world.run()
    for file in (world.root / "workspace").glob("kilter.db*"):
        file.unlink()
    with pytest.raises(RecordError, match="remove blobs/ as well"):
        world.run()
    shutil.rmtree(world.root / "workspace" / "blobs")
    (first.outputs["train"].folder / "model" / "weights").unlink()
    (first.outputs["train"].folder / "model").rmdir()
    world.run()
    assert world.ran == ALL


def test_the_record_knows_what_each_run_took_and_made(world: World) -> None:
    outputs = world.run().outputs
    with Workspace.open(world.root / "workspace", create=False) as workspace:
        runs = {one.name: one for one in workspace.record.runs()}
        train = runs["demo/train"]
        assert train.inputs == (outputs["long"].result["artifacts"]["kept"],)
        assert train.outputs == (outputs["train"].result["artifacts"]["model"],)
        assert train.flops == 12.0
        assert train.seconds is not None
        assert train.config["settings"] == {"lr": 0.1, "checkpoint_seconds": 15.0}
        assert train.config["key"] == outputs["train"].key
        assert train.seed == world.seeds["train"]
        assert train.metrics is not None
        assert json.loads(workspace.record.body(train.metrics)) == {"step": 0}
        assert workspace.record.verify().ok


def test_people_find_report_metrics_and_models_in_the_run_folder(world: World) -> None:
    folder = world.run().folder
    assert folder == world.root / "workspace" / "runs" / "demo"
    assert (folder / "report.html").read_text() == "Report demo []"
    assert (folder / "summary.json").read_text() == "{}"
    assert (folder / "train_metrics.jsonl").read_text() == '{"step": 0}\n'
    assert (folder / "train").is_symlink()
    assert not Path(os.readlink(folder / "train")).is_absolute()
    assert (folder / "train" / "weights").read_text().startswith("0.1")
    world.run("train.lr=0.2")
    assert (folder / "train" / "weights").read_text().startswith("0.2")
    assert (folder / "report.html").read_text() == "Report demo ['train.lr=0.2']"


def test_two_names_share_their_steps(world: World) -> None:
    world.run()
    other = world.run("name=other")
    assert other.folder.name == "other"
    assert (other.folder / "report.html").read_text() == "Report other ['name=other']"
    assert (other.folder.parent / "demo" / "report.html").read_text() == "Report demo []"


def test_a_workspace_named_relatively_is_found_from_elsewhere(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(world.root)
    world.run(workspace="workspace")
    (world.root / "below").mkdir()
    monkeypatch.chdir(world.root / "below")
    result = world.run(workspace="../workspace")
    assert world.ran == []
    assert Path(result.outputs["train"].result["model"], "weights").exists()
    assert (result.folder / "train" / "weights").exists()


def test_progress_of_a_step_reaches_the_caller(world: World) -> None:
    seen: list[Any] = []
    world.run(progress=lambda *news: seen.append(news))
    assert seen == [("train", 1, 1, {"loss": 0.5})]
