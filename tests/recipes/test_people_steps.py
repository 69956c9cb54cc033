"""The steps that ask people and those that learn from what they said, on a tiny model and without a server."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import count
from pathlib import Path
from typing import Any

import pytest
import yaml
from desk_pages import by_length, judged_by, left, longest
from pydantic import ValidationError
from speaking_model import make_speaking_model

from kilter.errors import DataError, SettingsError
from kilter.recipes import RunResult, run_recipe
from kilter.recipes.rows import COMPARISONS, HELDOUT, read_comparisons, read_dicts
from kilter.recipes.steps.compare import CompareStep
from kilter.record import Workspace

LORA = {"first_layer": 0, "rank": 2, "alpha": 4}
DATA = {"use": "instructions", "demonstrations": 1, "comparisons": 24, "prompts": 8, "test": 14}
PEOPLE = {"use": "compare", "inputs": {"policy": "model"}, "judge": "people", "max_new_tokens": 16, "temperature": 1.0}
Walk = Callable[..., RunResult]


@pytest.fixture(scope="module")
def speaking(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_speaking_model(tmp_path_factory.mktemp("speaking"))


@pytest.fixture
def walk(speaking: Path, tmp_path: Path) -> Walk:
    """walk(step name=settings, ..., **options of run_recipe): model and data come first."""

    def run(steps: dict[str, Any], **options: Any) -> RunResult:
        recipe = tmp_path / "demo.yaml"
        recipe.write_text(
            yaml.safe_dump({"steps": {"model": {"name": str(speaking)}, "data": DATA, **steps}}, sort_keys=False)
        )
        return run_recipe(recipe, workspace=tmp_path / "w", **options)

    return run


def test_two_responses_are_compared_and_equal_ones_not_shown(walk: Walk) -> None:
    step = {**PEOPLE, "samples": 2, "items": 12, "overlap": 0, "heldout": 0.25}
    result = walk({"comparisons": step}, pages=judged_by({"ann": longest}))
    output = result.outputs["comparisons"]
    learn, aside = (read_comparisons(output.folder / file) for file in (COMPARISONS, HELDOUT))
    assert (len(learn), len(aside)) == (9, 3)
    for row in [*learn, *aside]:
        texts = [one.text for one in row.responses]
        assert texts[0].strip() != texts[1].strip()
        (pair,) = row.pairs
        assert len(texts[pair[0]]) >= len(texts[pair[1]])
    assert output.result["judges"] == {"people/ann": {"principal": "human", "judgments": 12}}
    assert not output.result["simulated"]
    with Workspace.open(result.folder.parent.parent, create=False) as workspace:
        judgments = workspace.record.judgments()
        assert {one.principal for one in judgments} == {"human"}
        assert {tuple(one.side_shown or ()) for one in judgments} == {(0, 1), (1, 0)}
        for name, rows in (("comparisons", learn), ("heldout", aside)):
            body = workspace.record.json(output.result["artifacts"][name])
            assert body["comparisons"] == [row.target for row in rows]
        assert workspace.record.verify().ok


def test_three_are_ranked_with_ties_by_three_raters_on_the_overlap(walk: Walk) -> None:
    raters = {"ann": by_length, "bob": by_length, "cat": lambda one: [0, 1, 2]}
    step = {**PEOPLE, "samples": 3, "overlap": 1, "heldout": 0, "items": 8}
    output = walk({"comparisons": step}, pages=judged_by(raters)).outputs["comparisons"]
    rows = read_comparisons(output.folder / COMPARISONS)
    assert len(rows) == 8
    assert all(len(row.pairs) + len(row.ties) == 3 * 3 for row in rows)
    assert output.result["judgments"] == 24
    labels = [one["triple"] for one in read_dicts(output.folder / "labels.jsonl")]
    assert {value for _, _, value in labels} <= {0, 0.5, 1}
    assert {name for name, _, _ in labels} == {"people/ann", "people/bob", "people/cat"}
    assert "heldout" not in output.result["artifacts"]


def test_of_two_that_are_both_bad_neither_is_preferred(walk: Walk) -> None:
    turns = count()
    some_bad = judged_by({"ann": lambda one: "both bad" if next(turns) % 3 == 0 else longest(one)})
    step = {**PEOPLE, "samples": 2, "items": 12, "overlap": 0, "heldout": 0}
    output = walk({"comparisons": step}, pages=some_bad).outputs["comparisons"]
    rows = read_comparisons(output.folder / COMPARISONS)
    assert sorted((len(row.pairs), len(row.ties)) for row in rows) == [(0, 1)] * 4 + [(1, 0)] * 8


def test_until_agreement_goes_on_early(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilter.recipes.verdicts.LEAST_SHARED", 4)
    step = {**PEOPLE, "samples": 2, "items": 12, "overlap": 1, "until_agreement": 0.3}
    pages = judged_by({"ann": longest, "bob": longest, "cat": longest}, most=8)
    result = walk({"comparisons": step}, pages=pages).outputs["comparisons"].result
    assert (result["judgments"], result["asked"], result["rows"] + result["heldout"]) == (24, 12, 8)


def test_what_is_shown_is_sampled_once(walk: Walk, monkeypatch: pytest.MonkeyPatch) -> None:
    step = {**PEOPLE, "samples": 2, "items": 4, "overlap": 0}

    class Stop(Exception):
        pass

    def stop(record: Any, name: str) -> Any:
        judged_by({"ann": longest})(record, name).__enter__()
        raise Stop

    with pytest.raises(Stop):
        walk({"comparisons": step}, pages=stop)
    monkeypatch.setattr("kilter.recipes.steps.compare._sample", None)  # calling it again would fail
    result = walk({"comparisons": step}).outputs["comparisons"].result
    assert result["judgments"] == 4


def test_too_few_different_responses_are_told_of(walk: Walk) -> None:
    told: list[str] = []
    step = {**PEOPLE, "samples": 2, "items": 30, "overlap": 0}
    result = walk({"comparisons": step}, pages=judged_by({"ann": left}), tell=told.append)
    count = result.outputs["comparisons"].result["asked"]
    assert count < 30
    assert told == [f"Only {count} of the 30 comparisons can be had: too few prompts, or equal responses."]


def test_responses_that_never_differ_are_refused(walk: Walk) -> None:
    with pytest.raises(DataError, match=r"nothing to compare.*temperature"):
        walk({"comparisons": {**PEOPLE, "temperature": 1e-4, "samples": 2}})


def test_simulated_raters_may_compare_a_few_too(walk: Walk) -> None:
    output = walk({"comparisons": {**PEOPLE, "judge": "simulated", "items": 6, "heldout": 0}}).outputs["comparisons"]
    assert output.result["rows"] == 6
    assert output.result["simulated"]
    assert {one["principal"] for one in output.result["judges"].values()} == {"simulated"}


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"guidelines": "Be kind."}, "judge: people"),
        ({"until_agreement": 0.3}, "judge: people"),
        ({"judge": "people", "until_agreement": 0.5, "overlap": 0}, "needs an overlap"),
    ],
)
def test_settings_that_would_have_no_effect_are_errors(values: dict[str, Any], said: str) -> None:
    with pytest.raises(ValidationError, match=said):
        CompareStep.model_validate(values)


def trained(**more: Any) -> dict[str, Any]:
    """Comparisons by simulated raters, and what learns from them."""
    compared = {**PEOPLE, "judge": "simulated", "samples": 3, "heldout": 0.25}
    return {"comparisons": compared, **more}


def test_dpo_and_kto_learn_from_comparisons(walk: Walk) -> None:
    policy = {"inputs": {"policy": "model"}, "lora": LORA, "lr": 0.01, "batch_size": 6}
    outputs = walk(trained(dpo=policy, kto=policy)).outputs
    assert 0 <= outputs["dpo"].result["heldout_accuracy"] <= 1
    for name in ("dpo", "kto"):
        assert outputs[name].result["flops"] > 0
        with Workspace.open(outputs[name].folder.parent.parent, create=False) as workspace:
            shaping = workspace.record.judgments_that_shaped(outputs[name].result["artifacts"]["model"])
        learned = {row.target for row in read_comparisons(outputs["comparisons"].folder / COMPARISONS)}
        assert {one.judgment.target for one in shaping} == learned


def test_grpo_follows_a_reward_model_and_is_watched_by_gold(walk: Walk) -> None:
    reward = {"inputs": {"policy": "model"}, "lora": LORA, "lr": 0.003, "batch_size": 6}
    grpo = {
        "inputs": {"policy": "model"}, "lora": LORA, "steps": 2, "prompts": 4, "samples": 4, "max_new_tokens": 16,
        "max_kl": 1000,
    }  # fmt: skip
    output = walk(trained(reward=reward, grpo=grpo)).outputs["grpo"]
    lines = read_dicts(Path(output.result["metrics"]))
    assert len(lines) == 2
    assert all(0 <= line["gold"] <= 1 for line in lines)


CHECK = {"inputs": {"policy": "dpo", "before": "model"}, "max_new_tokens": 16, "temperature": 1.0, "prompts": 14}
DPO = {"inputs": {"policy": "model"}, "lora": LORA, "lr": 0.05, "batch_size": 6, "epochs": 2.0}


def test_a_check_by_two_people_and_its_report(walk: Walk) -> None:
    steps = {**trained(dpo=DPO), "check": {**CHECK, "raters_per_item": 2}, "report": {"inputs": {"policy": "dpo"}}}
    result = walk(steps, pages=judged_by({"ann": longest, "bob": left}), tell=lambda line: None)
    check = result.outputs["check"].result
    summary = json.loads((result.folder / "summary.json").read_text())
    assert check["before"] == "model"
    assert check["judges"].keys() == {"people/ann", "people/bob"}
    assert summary["people_win_rate"]["n"] == 28
    assert check["wins"] + check["ties"] + check["losses"] == 2 * check["judged"]
    page = result.report.read_text()
    assert "The raters of this run are simulated" in page  # of the comparisons
    assert "Win rate by people" in page
    assert "Before (model)" in page


def test_a_check_in_which_all_is_bad_is_level(walk: Walk) -> None:
    result = walk({**trained(dpo=DPO), "check": CHECK}, pages=judged_by({"ann": lambda one: "both bad"}))
    check = result.outputs["check"].result
    assert (check["wins"], check["losses"]) == (0, 0)
    assert check["ties"] == check["judged"] > 0


def test_a_check_of_a_model_against_itself_asks_nobody_and_is_refused(walk: Walk) -> None:
    check = {**CHECK, "inputs": {"policy": "sft", "before": "sft"}}
    steps = {"sft": {"lora": LORA}, "check": check}
    output = walk(steps, pages=None).outputs["check"]
    assert output.result["figures"] == {}
    assert "to 14 both models wrote the same" in output.result["refused"]["people_win_rate"]
    assert output.result["artifacts"] == {}


def test_a_check_needs_something_to_compare_with(speaking: Path, tmp_path: Path) -> None:
    recipe = tmp_path / "demo.yaml"
    steps = {"start": {"use": "model", "name": str(speaking)}, "data": DATA, "check": {"inputs": {"policy": "start"}}}
    recipe.write_text(yaml.safe_dump({"steps": steps}, sort_keys=False))
    with pytest.raises(SettingsError, match=r"before: STEP"):
        run_recipe(recipe, workspace=tmp_path / "w")


def test_a_report_needs_figures_and_leaves_no_step_out(walk: Walk) -> None:
    with pytest.raises(SettingsError, match="evaluate or check"):
        walk({**trained(dpo=DPO), "report": {"inputs": {"policy": "dpo"}}})
    steps = {
        "labels": trained()["comparisons"], "dpo": {**DPO, "inputs": {"policy": "model", "comparisons": "labels"}},
        "check": CHECK, "report": {"inputs": {"policy": "dpo"}},
    }  # fmt: skip
    with pytest.raises(SettingsError, match=r"leave out the step labels.*comparisons: labels"):
        walk(steps, pages=judged_by({"ann": longest}))
