"""What raters get first after `kilter feedback prioritize`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import torch
from crowd import Floor, SimulatedRater, comparisons
from typer.testing import CliRunner

from kilter.cli.feedback import app
from kilter.errors import DataError, KilterError, ModelError, SettingsError
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Rater
from kilter.models import LanguageModel
from kilter.models.scalar import ScalarModel

CREW = [SimulatedRater("good", 0.9), SimulatedRater("usual", 0.8), SimulatedRater("quick", 0.7)]
NEW = Rater("new", "people/new")


def task_of(name: str, kind: str = "comparison", judges: int = 4, **more: object) -> Task:
    question = {"type": kind, "name": "better", **more}
    return Task(name=name, title="Pairs", questions=[question], overlap={"judges": judges}, order="given")  # type: ignore[list-item, arg-type]


class World:
    def __init__(self, root: Path) -> None:
        self.root = root
        self.floor = Floor(root)
        self.desk = self.floor.desk

    def run(self, *words: str) -> str:
        done = CliRunner().invoke(app, ["prioritize", *words, "--workspace", str(self.root)])
        if done.exception is not None:
            raise done.exception
        return done.stdout

    def order(self, task: Task, rater: Rater = NEW) -> list[TaskItem]:
        """The items as they are handed out to somebody new."""
        return [one.content for one in self.desk.next(task, rater, 1000)]


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path / "ws")
    yield made
    made.floor.close()


@pytest.fixture
def reward(tiny_lm: Callable[..., LanguageModel], tmp_path: Path) -> Path:
    """A saved reward model without an adapter, whose opinions are random but firm."""
    model = ScalarModel.create(tiny_lm(), None)
    model.head.data = 5 * torch.randn(model.head.shape, generator=torch.Generator().manual_seed(1))
    model.save(tmp_path / "rm" / "model")
    return tmp_path / "rm" / "model"


def test_what_raters_dispute_comes_first(world: World) -> None:
    task = task_of("pairs", tie=False)
    world.floor.open_task(task, comparisons(60))
    world.floor.work(task, CREW)
    told = world.run("pairs", "--by", "disagreement")
    assert "judged  60 items by 3 SIMULATED raters, 180 judgments" in told
    answers: dict[str, list[object]] = {}
    for one in world.desk.results("pairs"):
        answers.setdefault(one.item.prompt[0]["content"], []).append(one.value)
    split = [len(set(answers[one.prompt[0]["content"]])) > 1 for one in world.order(task)]
    assert 5 < sum(split) < 40
    assert all(split[:5])
    assert not any(split[-15:])


def test_what_the_reward_model_cannot_tell_comes_first(world: World, reward: Path) -> None:
    same = TaskItem(({"role": "user", "content": "Which?"},), ("The same reply.", "The same reply."))
    textless = TaskItem((), ("No prompt.", "None here."))
    task = task_of("pairs")
    world.floor.open_task(task, [*comparisons(20), textless, same])
    assert world.order(task, Rater("early", "people/early"))[-1] == same
    told = world.run("pairs", "--by", str(reward))
    assert "left out  1 items without a prompt" in told
    assert "order  21 items of 'pairs'" in told
    assert ": 1.00 to " in told
    assert "; 1 others follow as they were" in told
    assert "1.00  Which?" in told
    ordered = world.order(task)
    assert ordered[0] == same
    assert ordered[-1] == textless
    assert len(ordered) == 22


def test_an_items_own_priority_still_counts_and_again_changes_nothing(world: World, reward: Path) -> None:
    task = task_of("pairs")
    urgent = TaskItem(({"role": "user", "content": "Urgent"},), ("One.", "Quite another one."), priority=5.0)
    world.floor.open_task(task, [*comparisons(5), urgent])
    assert world.run("pairs", "--by", str(reward)) == world.run("pairs", "--by", str(reward))
    assert world.order(task)[0] == urgent


def test_items_that_have_all_their_judgments_are_left_alone(world: World) -> None:
    task = task_of("done", judges=3, tie=False)
    world.floor.open_task(task, comparisons(12))
    world.floor.work(task, CREW)
    with pytest.raises(DataError, match="Every item of the task 'done' has all the judgments"):
        world.run("done", "--by", "disagreement")
    world.desk.add_items(task, comparisons(2, seed=9))
    with pytest.raises(DataError, match=r"None of the 2 items .* has an order yet"):
        world.run("done", "--by", "disagreement")


def test_refusals_are_sentences(world: World, reward: Path, tmp_path: Path) -> None:
    def refused(kind: type[KilterError], match: str, *words: str) -> None:
        with pytest.raises(kind, match=match):
            world.run(*words)

    pairs = task_of("pairs")
    world.floor.open_task(pairs, comparisons(3))
    label = task_of("kinds", "label", labels=["x", "y"])
    world.floor.open_task(label, [TaskItem(({"role": "user", "content": "a"},), ("b",))])
    refused(DataError, "There is no task 'pears': did you mean 'pairs'", "pears", "--by", "disagreement")
    refused(DataError, "asks for label; a reward model's margin", "kinds", "--by", str(reward))
    refused(DataError, "Nobody has judged an item", "pairs", "--by", "disagreement")
    refused(SettingsError, "is no folder. Write --by disagreement", "pairs", "--by", "disagrement")
    refused(ModelError, "holds no reward model.*train one", "pairs", "--by", str(tmp_path))
    refused(ModelError, "did you mean .*model?", "pairs", "--by", str(reward.parent))
    world.desk.set_open("pairs", False)
    refused(DataError, "The task 'pairs' is closed", "pairs", "--by", str(reward))
