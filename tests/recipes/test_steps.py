"""Both shipped recipes from end to end, on a tiny model that speaks words, and killed in the middle."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from speaking_model import make_speaking_model

from kilter.cli.main import execute
from kilter.errors import DataError
from kilter.recipes import RunResult, run_recipe
from kilter.recipes.rows import COMPARISONS, HELDOUT, read_comparisons, read_dicts
from kilter.record import Workspace

RECIPES = Path(__file__).parents[2] / "recipes"
LORA = "lora={first_layer: 0, rank: 2, alpha: 4}"
TRAINING = [
    *(f"{step}.{LORA}" for step in ("sft", "reward", "ppo")),
    "sft.lr=0.01", "reward.lr=0.003", "reward.layers=null", "reward.batch_size=6",
    "ppo.steps=2", "ppo.prompts=4", "ppo.samples=4", "ppo.max_new_tokens=24", "ppo.ptx_tokens=32", "ppo.max_kl=1000",
    "evaluate.max_new_tokens=24", "report.pairs=3",
]  # fmt: skip
QUICKSTART = [
    *TRAINING, "data.demonstrations=32", "data.comparisons=24", "data.prompts=8", "data.test=14",
    "comparisons.samples=3", "comparisons.max_new_tokens=24", "comparisons.heldout=0.5", "comparisons.overlap=1",
]  # fmt: skip
HUMAN = [*TRAINING, "data.heldout=24", "data.demonstrations=24", "data.test=8"]
DYING = """
import os, signal
from kilter.cli import main
from kilter.training.loop import Loop

log = Loop.log
def log_or_die(self, metrics, step):
    if self.stage == "ppo" and step == 1:
        os.kill(os.getpid(), signal.SIGKILL)
    log(self, metrics, step)

Loop.log = log_or_die
main()
"""
"""`kilter run`, killed at the end of PPO's second step: weights have moved, nothing of it is written."""
SHARED_NAMES = {
    "kl", "reward_model_accuracy", "shorter_is_better_accuracy", "reward_before", "reward_sft", "reward_after",
    "reward_change", "length_before", "length_after", "length_change", "finished_before", "finished_after",
    "perplexity_before", "perplexity_sft", "perplexity_after", "perplexity_change", "multiple_choice_before",
    "multiple_choice_after", "multiple_choice_change", "reward_model_ece", "reward_model_brier",
}  # fmt: skip
GOLD_NAMES = {
    "gold_win_rate", "gold_win_rate_vs_sft", "gold_score_before", "gold_score_sft", "gold_score_after",
    "gold_score_change", "simulated_win_rate",
}  # fmt: skip


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speaking_model(tmp_path_factory.mktemp("speaking"))


@dataclass
class Walked:
    """A finished run with what a test wants to look at."""

    workspace: Path
    result: RunResult
    states: list[tuple[str, str]] = field(default_factory=list)

    @property
    def summary(self) -> dict[str, Any]:
        return json.loads((self.result.folder / "summary.json").read_text())

    @property
    def page(self) -> str:
        return self.result.report.read_text()


def walk(recipe: str, pairs: list[str], workspace: Path) -> Walked:
    states: list[tuple[str, str]] = []
    result = run_recipe(
        RECIPES / recipe, pairs, workspace=workspace, on_step=lambda name, state: states.append((name, state))
    )
    return Walked(workspace, result, states)


@pytest.fixture(scope="module")
def quickstart(speaking: Path, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    pairs = [f"model.name={speaking}", *QUICKSTART]
    return walk("quickstart.yaml", pairs, tmp_path_factory.mktemp("quickstart"))


def dialogues(file: Path, count: int) -> Path:
    """hh-rlhf dialogues whose chosen side is mostly the shorter one."""
    rng = random.Random(0)
    words = ["rain", "bees", "eggs", "moon", "bread", "water", "salt", "rivers"]
    with file.open("w") as stream:
        for number in range(count):
            asked = f"\n\nHuman: Tell me about {rng.choice(words)} and number {number}.\n\nAssistant: "
            answers = [" ".join(rng.choices(words, k=length)).capitalize() + "." for length in (3, 9)]
            if number % 4 == 0:
                answers.reverse()
            row = {"chosen": asked + answers[0], "rejected": asked + answers[1]}
            stream.write(json.dumps(row) + "\n")
    return file


@pytest.fixture(scope="module")
def human(speaking: Path, tmp_path_factory: pytest.TempPathFactory) -> Walked:
    root = tmp_path_factory.mktemp("human")
    data = dialogues(root / "comparisons.jsonl", 60)
    pairs = [f"model.name={speaking}", f"data.path={data}", *HUMAN]
    return walk("human_preferences.yaml", pairs, root / "workspace")


def test_the_quickstart_names_every_figure(quickstart: Walked) -> None:
    summary = quickstart.summary
    assert summary.keys() >= SHARED_NAMES | GOLD_NAMES
    for name, one in summary.items():
        assert one.keys() >= {"value", "low", "high", "n"}, name
        assert one["low"] <= one["value"] <= one["high"], name
    assert summary["gold_win_rate"]["n"] == summary["kl"]["n"] == 14
    assert summary["finished_before"]["value"] > 0.2  # else nothing but the score without EOS was tested


def test_the_quickstart_has_a_page_that_says_simulated(quickstart: Walked) -> None:
    page = quickstart.page
    assert "The raters of this run are simulated" in page
    assert "Gold win rate" in page
    assert "kilter run" in page
    assert "model.name=" in page  # how to reproduce it


def test_figures_are_evidence_on_a_record_that_verifies(quickstart: Walked) -> None:
    with Workspace.open(quickstart.workspace, create=False) as workspace:
        evidence = {one.metric: one for one in workspace.record.evidence()}
        assert evidence.keys() == quickstart.summary.keys()
        for name, one in quickstart.summary.items():
            assert (evidence[name].value, evidence[name].n) == (one["value"], one["n"])
        assert {one.status for one in workspace.record.runs()} == {"done"}
    assert execute(["record", "verify", "--workspace", str(quickstart.workspace)]) == 0


def test_the_final_model_descends_from_every_simulated_judgment_it_learned_from(quickstart: Walked) -> None:
    outputs = quickstart.result.outputs
    with Workspace.open(quickstart.workspace, create=False) as workspace:
        record = workspace.record
        shaped = {one.judgment.id for one in record.judgments_that_shaped(outputs["ppo"].result["artifacts"]["model"])}
        judgments = {one.id: one for one in record.judgments()}
        learned = {row.target for row in read_comparisons(outputs["comparisons"].folder / COMPARISONS)}
        aside = {row.target for row in read_comparisons(outputs["comparisons"].folder / HELDOUT)}
    assert shaped == {key for key, one in judgments.items() if one.target in learned}
    assert {judgments[key].principal for key in shaped} == {"simulated"}
    assert not learned & aside
    assert len(learned) == len(aside) == 12
    assert all(one.started is None for one in judgments.values())


def test_what_people_open_lies_in_the_run_folder(quickstart: Walked) -> None:
    from kilter.models import load

    folder = quickstart.result.folder
    assert folder == quickstart.workspace / "runs" / "quickstart"
    for stage in ("sft", "reward", "ppo"):
        assert (folder / stage).resolve() == Path(quickstart.result.outputs[stage].result["model"]).resolve()
        assert (folder / f"{stage}_metrics.jsonl").read_text().count("\n") > 0
    assert load(folder / "ppo").adapters.active is not None


def test_rollouts_are_scored_by_gold_and_agree_with_the_trainer(quickstart: Walked) -> None:
    rows = read_dicts(quickstart.result.folder / "ppo_metrics.jsonl")
    assert [row["step"] for row in rows] == [0, 1]
    assert all(0 <= row["gold"] <= 1 for row in rows)
    assert all(abs(row["agreement"] - 1) < 0.01 for row in rows)


def test_test_prompts_are_never_trained_on(quickstart: Walked) -> None:
    folder = quickstart.result.outputs["data"].folder
    tested = {row["instruction"]["topic"] for row in read_dicts(folder / "test.jsonl")}
    for name in ("prompts.jsonl", "comparison_prompts.jsonl"):
        assert not tested & {row["instruction"]["topic"] for row in read_dicts(folder / name)}


def test_a_second_run_does_nothing_and_a_report_setting_redoes_the_report(quickstart: Walked, speaking: Path) -> None:
    pairs = [f"model.name={speaking}", *QUICKSTART]
    again = walk("quickstart.yaml", pairs, quickstart.workspace)
    assert {state for _, state in again.states} == {"cached"}
    fewer = walk("quickstart.yaml", [*pairs, "report.pairs=1"], quickstart.workspace)
    assert [name for name, state in fewer.states if state != "cached"] == ["report", "report"]
    assert fewer.summary == quickstart.summary


def test_killed_in_ppo_it_ends_with_the_same_weights(quickstart: Walked, speaking: Path, tmp_path: Path) -> None:
    pairs = [f"model.name={speaking}", *QUICKSTART]
    words = ["run", str(RECIPES / "quickstart.yaml"), *pairs, "ppo.checkpoint_seconds=0", "--workspace", str(tmp_path)]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    killed = subprocess.run([sys.executable, "-c", DYING, *words], env=environment, capture_output=True, check=False)
    assert killed.returncode == -signal.SIGKILL, killed.stderr.decode()
    (broken,) = (tmp_path / "steps").glob("ppo-*")
    assert len(read_dicts(broken / "train" / "metrics.jsonl")) == 1
    assert (broken / "train" / "checkpoint.safetensors").exists()
    assert not (broken / "step.json").exists()
    went_on = walk("quickstart.yaml", pairs, tmp_path)
    assert ("reward", "cached") in went_on.states
    assert ("ppo", "running") in went_on.states
    for stage in ("sft", "reward", "ppo"):
        one, other = (Path(each.result.outputs[stage].result["model"]) for each in (quickstart, went_on))
        names = sorted(file.name for file in one.iterdir())
        assert names == sorted(file.name for file in other.iterdir())
        for name in names:
            assert (one / name).read_bytes() == (other / name).read_bytes(), f"{stage}/{name}"
    assert went_on.summary == quickstart.summary
    with Workspace.open(tmp_path, create=False) as workspace:
        states = {one.name: one.status for one in workspace.record.runs() if one.status != "done"}
        assert states == {"quickstart/ppo": "running"}  # of the process that could not say how it ended
        assert workspace.record.verify().ok


def test_human_comparisons_walk_to_a_report_without_gold(human: Walked) -> None:
    summary, page = human.summary, human.page
    assert summary.keys() >= SHARED_NAMES | {"proxy_win_rate"}
    assert not GOLD_NAMES & summary.keys()
    assert summary["reward_model_accuracy"]["n"] == 24
    assert "There is no gold judge" in page
    assert "raters of this run are simulated" not in page


def test_the_length_baseline_is_that_of_the_file(human: Walked) -> None:
    aside = read_comparisons(human.result.outputs["data"].folder / HELDOUT)
    shorter = [len(row.responses[b].text) < len(row.responses[w].text) for row in aside for b, w in row.pairs]
    assert human.summary["shorter_is_better_accuracy"]["value"] == pytest.approx(sum(shorter) / len(shorter))


def test_held_out_human_judgments_shaped_no_model(human: Walked) -> None:
    outputs = human.result.outputs
    aside = {row.target for row in read_comparisons(outputs["data"].folder / HELDOUT)}
    with Workspace.open(human.workspace, create=False) as workspace:
        shaping = workspace.record.judgments_that_shaped(outputs["ppo"].result["artifacts"]["model"])
        assert workspace.record.verify().ok
    assert {one.judgment.principal for one in shaping} == {"human"}
    assert len(shaping) == 36
    assert not {one.judgment.target for one in shaping} & aside


def test_new_rows_in_the_file_are_read(human: Walked, speaking: Path, tmp_path: Path) -> None:
    data = dialogues(tmp_path / "comparisons.jsonl", 8)
    short = _first_steps("human_preferences.yaml", tmp_path, 2)
    pairs = [f"model.name={speaking}", f"data.path={data}", "data.heldout=2"]
    first = run_recipe(short, pairs, workspace=tmp_path / "w").outputs["data"]
    assert run_recipe(short, pairs, workspace=tmp_path / "w").outputs["data"].key == first.key
    dialogues(data, 12)
    assert run_recipe(short, pairs, workspace=tmp_path / "w").outputs["data"].result["rows"] == 10


def test_too_few_comparisons_to_hold_out_says_what_to_write(speaking: Path, tmp_path: Path) -> None:
    data = dialogues(tmp_path / "comparisons.jsonl", 10)
    short = _first_steps("human_preferences.yaml", tmp_path, 2)
    with pytest.raises(DataError, match=r"10 usable comparisons, but 10 are.*data\.heldout=2"):
        run_recipe(short, [f"model.name={speaking}", f"data.path={data}", "data.heldout=10"], workspace=tmp_path / "w")


def _first_steps(recipe: str, folder: Path, count: int) -> Path:
    """The shipped recipe, cut off after some steps."""
    import yaml

    tree = yaml.safe_load((RECIPES / recipe).read_text())
    tree["steps"] = dict(list(tree["steps"].items())[:count])
    file = folder / recipe
    file.write_text(yaml.safe_dump(tree, sort_keys=False))
    return file


def test_a_model_folder_with_other_weights_is_another_model(speaking: Path, tmp_path: Path) -> None:
    import shutil

    folder = tmp_path / "model"
    shutil.copytree(speaking, folder)
    short = _first_steps("quickstart.yaml", tmp_path, 1)
    keys = []
    for text in ("one", "two"):
        (folder / "notes.txt").write_text(text)
        weights = folder / "model.safetensors"
        if text == "two":
            from safetensors.torch import load_file, save_file

            save_file({name: 2 * tensor for name, tensor in load_file(weights).items()}, weights, {"format": "pt"})
        outputs = run_recipe(short, [f"model.name={folder}"], workspace=tmp_path / "w").outputs
        keys.append((outputs["model"].key, outputs["model"].result["artifacts"]["model"]))
    assert keys[0][0] != keys[1][0]
    assert keys[0][1] != keys[1][1]
