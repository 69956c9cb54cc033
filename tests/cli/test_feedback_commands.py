"""The commands on a workspace with simulated raters."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from crowd import Floor, SimulatedRater, comparisons, with_use
from typer.testing import CliRunner, Result

from kilter.cli.feedback import app
from kilter.cli.main import execute
from kilter.errors import DataError, RecordError
from kilter.feedback.tasks import Task, TaskItem

RATERS = [
    SimulatedRater("careful", 0.95), SimulatedRater("usual", 0.8), SimulatedRater("first", 0.9, first=0.9),
    SimulatedRater("rushed", 0.5, seconds=2, skips=0.1),
]  # fmt: skip


class World:
    def __init__(self, root: Path) -> None:
        self.root = root

    def call(self, *arguments: str) -> Result:
        return CliRunner().invoke(app, [*arguments, "--workspace", str(self.root)])

    def printed(self, *arguments: str) -> str:
        result = self.call(*arguments)
        assert result.exception is None, result.exception
        return result.stdout

    def json(self, *arguments: str) -> Any:
        return json.loads(self.printed(*arguments, "--json"))

    def refusal(self, *arguments: str) -> BaseException:
        error = self.call(*arguments).exception
        assert error is not None
        return error


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    root = tmp_path_factory.mktemp("workspace")
    floor = Floor(root)
    pairs = Task(
        name="pairs", title="Pairs", questions=[{"type": "comparison", "name": "better", "tie": False}],  # type: ignore[list-item]
        overlap={"judges": 3}, checks={"gold": 0.3},  # type: ignore[arg-type]
    )  # fmt: skip
    floor.open_task(pairs, [*comparisons(24), *with_use(comparisons(12, 1), "gold")])
    floor.work(pairs, RATERS)
    several = Task(
        name="several", title="Several", overlap={"judges": 3},  # type: ignore[arg-type]
        questions=[  # type: ignore[arg-type]
            {"type": "ranking", "name": "order"}, {"type": "rating", "name": "good", "dimensions": ["clear", "true"]},
            {"type": "flaws", "name": "flaws", "notes": "none"}, {"type": "text", "name": "why", "required": False},
        ],
    )  # fmt: skip
    truth = {
        "order": [2.0, 1.0, 0.0], "good": {"clear": 3.0, "true": 5.0},
        "flaws": [{"response": 0, "start": 0, "end": 5, "type": "wrong"}],
    }  # fmt: skip
    texts = ("[red]bold words[/red] here", "words and words", "more of them")
    floor.open_task(several, [TaskItem((), texts, stratum=str(n), meta={"truth": truth}) for n in range(1)])
    items = [TaskItem(({"role": "user", "content": f"Q{n}"},), texts, meta={"truth": truth}) for n in range(8)]
    floor.desk.add_items(several, items)
    floor.work(several, RATERS[:3])
    floor.open_task(pairs.model_copy(update={"name": "untouched"}), comparisons(2))
    floor.close()
    return World(root)


def test_agreement(world: World) -> None:
    text = world.printed("agreement", "pairs", "--replicates", "200")
    assert text.startswith("Agreement in pairs: 4 SIMULATED raters, 24 items, 72 judgments of work")
    found = world.json("agreement", "pairs", "--replicates", "200")["aspects"][0]
    alpha = found["alpha"]
    assert f"{alpha['value']:.2f} ({alpha['low']:.2f} to {alpha['high']:.2f})" in text
    assert (found["level"], found["items"], alpha["n"]) == ("nominal", 24, 24)


def test_agreement_of_every_kind_of_question(world: World) -> None:
    text = world.printed("agreement", "several", "--level", "interval", "--replicates", "100")
    for words in ("good: clear", "interval", "Kendall's tau", "matched F1", "alpha over characters", "9 items"):
        assert words in text
    assert "- why: texts have no agreement to measure" in text
    found = world.json("agreement", "several", "--replicates", "100")
    assert found["rankings"]["order"]["items"] == 9
    assert "no two good ones" in found["refused"]["why"]


def test_raters(world: World) -> None:
    text = world.printed("raters", "pairs", "--replicates", "100")
    assert "4 SIMULATED raters" in text
    for one in RATERS:
        assert f"simulated/{one.name}" in text
    assert "To look at" in text
    assert "simulated/first prefers the first place" in text
    found = world.json("raters", "pairs", "--replicates", "100")
    rushed = next(one for one in found["raters"] if one["judge"] == "simulated/rushed")
    assert rushed["simulated"]
    assert rushed["skipped"]["value"] > 0
    assert f"{rushed['gold']['value']:.2f}" in text


def test_one_rater(world: World) -> None:
    text = world.printed("raters", "pairs", "simulated/careful", "--replicates", "100")
    for words in (
        "simulated/careful  SIMULATED  2027-01-15",
        "Confusion by Dawid-Skene, better",
        "says 0",
        "ability by GLAD",
    ):
        assert words in text
    assert "outcomes are too few; 20 are the least" in text
    assert len(world.json("raters", "pairs", "simulated/careful")["raters"]) == 1
    with pytest.raises(DataError, match=r"Nobody called 'simulated/carefull' .* did you mean 'simulated/careful'"):
        raise world.refusal("raters", "pairs", "simulated/carefull")


def test_aggregate(world: World) -> None:
    text = world.printed("aggregate", "pairs", "--limit", "5", "--replicates", "100")
    assert "better (5 of 24; --limit 0 shows all)" in text
    assert "Models by better: Bradley-Terry" in text
    assert "P(best)" in text
    assert "72 comparisons, 0 of them level" in text
    assert "Being shown first adds" in text
    found = world.json("aggregate", "pairs", "--replicates", "100")
    assert len(found["aspects"][0]["verdicts"]) == 24
    assert {one["name"] for one in found["sources"]["better"]["contestants"]} == {"sft", "ppo"}


def test_aggregate_of_every_kind_of_question(world: World) -> None:
    text = world.printed("aggregate", "several", "--replicates", "100")
    for words in ("order: rank", "mean grade", "0 over 1", "Passages that half of the raters marked", "0 to 5"):
        assert words in text
    assert "- strengths by order: Strengths are refused: no answer to 'order' compares two models" in text


def test_disagreements(world: World) -> None:
    text = world.printed("disagreements", "pairs", "--limit", "2")
    assert text.count("  item ") == 2
    assert "3 raters" in text
    assert "response 0  First answer to 0." in text
    assert "simulated/" in text
    found = world.json("disagreements", "several", "--question", "good")
    assert {one["question"] for one in found["disagreements"]} == {"good"}
    assert "truth" not in json.dumps(found)
    shown = world.printed("disagreements", "several", "--limit", "0")
    assert "[red]bold words[/red] here" in shown  # a response is text, not markup


def test_refusals_are_sentences(world: World, tmp_path: Path) -> None:
    for verb in ("agreement", "raters", "aggregate", "disagreements"):
        with pytest.raises(DataError, match="There is no task 'paris': did you mean 'pairs'"):
            raise world.refusal(verb, "paris")
        with pytest.raises(DataError, match="Nobody has judged an item of the task 'untouched' yet, so"):
            raise world.refusal(verb, "untouched")
        with pytest.raises(RecordError, match="no workspace at"):
            raise World(tmp_path / "none").refusal(verb, "pairs")
    with pytest.raises(DataError, match=r"no question 'beter'.*did you mean 'better'"):
        raise world.refusal("disagreements", "pairs", "--question", "beter")
    assert execute(["feedback", "agreement", "paris", "--workspace", str(world.root)]) == DataError.exit_code
    assert execute(["feedback", "agreement", "pairs", "--level", "ratio", "--workspace", str(world.root)]) == 2
