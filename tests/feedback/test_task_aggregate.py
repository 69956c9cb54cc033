from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from crowd import SimulatedRater, comparisons, on_paper

from kilter.errors import DataError
from kilter.feedback.quality import source_strengths, task_aggregate
from kilter.feedback.tasks import Task, TaskItem
from kilter.stats import wilson

CROWD = [SimulatedRater(f"r{n}", p) for n, p in enumerate([0.95, 0.92, 0.6, 0.58, 0.55])]


def task_of(*questions: dict[str, Any]) -> Task:
    return Task(name="t", title="T", questions=questions)  # type: ignore[arg-type]


def item(number: int, truth: dict[str, Any], responses: int = 1, **extra: Any) -> TaskItem:
    texts = tuple(f"Reply {k} " + "word " * 30 for k in range(responses))
    meta = {"truth": truth} | extra.pop("meta", {})
    return TaskItem(({"role": "user", "content": f"Q{number}"},), texts, meta=meta, **extra)


def test_posteriors_know_more_than_the_majority():
    task = task_of({"type": "comparison", "name": "better", "tie": False})
    work = comparisons(300)
    (better,) = task_aggregate(task, on_paper(task, work, CROWD), replicates=50).aspects
    truth = {f"{number:064x}": one.meta["truth"]["better"] for number, one in enumerate(work)}
    right = {
        "majority": np.mean([one.majority == truth[one.artifact] for one in better.verdicts]),
        "dawid_skene": np.mean([one.dawid_skene[truth[one.artifact]] > 0.5 for one in better.verdicts]),  # type: ignore[index]
        "glad": np.mean([one.glad[truth[one.artifact]] > 0.5 for one in better.verdicts]),  # type: ignore[index]
    }
    assert right["dawid_skene"] > right["majority"] + 0.05
    assert right["glad"] > right["majority"] + 0.05
    first = better.verdicts[0]
    assert (first.raters, first.mean, first.grade) == (5, None, None)
    assert first.share == wilson(first.share.value * 5, 5)
    assert all(one.difficulty is not None for one in better.verdicts)


def test_a_tie_of_raters_is_no_majority():
    task = task_of({"type": "comparison", "name": "better", "tie": False})
    work = comparisons(6)
    sure = [SimulatedRater("a", 1.0), SimulatedRater("b", 0.0)]
    (better,) = task_aggregate(task, on_paper(task, work, sure), replicates=50).aspects
    assert {one.majority for one in better.verdicts} == {None}
    assert {one.tied for one in better.verdicts} == {(0, 1)}
    assert {one.dawid_skene for one in better.verdicts} == {None}
    assert "with 2 raters nothing tells" in (better.dawid_skene_refused or "")
    assert "GLAD is refused" in (better.glad_refused or "")


def test_grades_are_averaged_with_an_interval_and_not_named():
    task = task_of({"type": "rating", "name": "good", "ask": "?"})
    rng = np.random.default_rng(0)
    truth = rng.uniform(2, 6, 60)
    work = [item(n, {"good": {"overall": float(true)}}) for n, true in enumerate(truth)]
    (good,) = task_aggregate(task, on_paper(task, work, [SimulatedRater(f"r{n}") for n in range(3)])).aspects
    found = {one.artifact: one for one in good.verdicts}
    means = [found[f"{n:064x}"] for n in range(60)]
    assert np.corrcoef([one.mean for one in means], truth)[0, 1] > 0.9
    inside = [
        one.grade.estimate.low <= true <= one.grade.estimate.high
        for one, true in zip(means, truth, strict=True)
        if one.grade is not None and one.grade.estimate is not None
    ]
    assert len(inside) == 60
    assert np.mean(inside) > 0.88
    assert "averaged" in (good.dawid_skene_refused or "")
    alone = task_aggregate(task, on_paper(task, work, [SimulatedRater("r0")])).aspects[0].verdicts[0]
    assert alone.mean is not None
    assert alone.grade is not None
    assert "no item was judged by two raters" in (alone.grade.reason or "")


def test_rankings_give_mean_ranks_and_pairs():
    task = task_of({"type": "ranking", "name": "order"})
    work = [item(n, {"order": [9.0, 6.0, 3.0, 0.0]}, 4) for n in range(20)]
    pairs, rank = task_aggregate(task, on_paper(task, work, CROWD[:3]), replicates=50).aspects
    assert (pairs.title, pairs.unit) == ("order", "pair")
    assert (rank.title, rank.unit) == ("order: rank", "response")
    assert [round(np.mean([one.mean for one in rank.verdicts if one.part == (k,)])) for k in range(4)] == [1, 2, 3, 4]
    assert np.mean([one.majority == 1 for one in pairs.verdicts]) > 0.9  # the first of each pair is the better


def test_flaws_give_the_passages_that_half_of_the_raters_marked():
    task = task_of({"type": "flaws", "name": "flaws", "types": ["wrong", "vague"], "notes": "none"})
    planted = [{"response": 0, "start": 10, "end": 30, "type": "wrong"}]
    work = [item(n, {"flaws": planted if n % 2 else []}) for n in range(40)]
    raters = [SimulatedRater(f"r{n}", 0.8, invented=0.2) for n in range(5)]
    result = task_aggregate(task, on_paper(task, work, raters))
    found = result.passages["flaws"]
    right = [one for one in found if (one.start, one.end) == (10, 30) and int(one.artifact, 16) % 2]
    assert len(right) > 12
    assert sum(one.end - one.start for one in found) < 1.3 * sum(one.end - one.start for one in right)
    assert {one.share.n for one in found} == {5}
    assert max(right, key=lambda one: one.share.value).types["wrong"] >= 4


def models_of(pair: tuple[str, str], wins: float, count: int, start: int) -> list[TaskItem]:
    """Pairs of which the first model's response is truly better in a share `wins`."""
    base = comparisons(count, seed=start, models=pair)
    better = [int(n >= wins * count) for n in range(count)]
    return [
        TaskItem(one.prompt, one.responses, meta={"truth": {"better": side}, "models": list(pair)})
        for one, side in zip(base, better, strict=True)
    ]


def test_strengths_of_the_models_that_wrote_the_responses():
    task = task_of({"type": "comparison", "name": "better", "tie": True, "both_bad": True})
    work = [
        *models_of(("ppo", "sft"), 0.9, 80, 1), *models_of(("sft", "base"), 0.9, 80, 2),
        *models_of(("base", "ppo"), 0.05, 80, 3), *comparisons(10, 4, models=["sft"]),
        *comparisons(5, 5, models=["sft", "sft"]),
    ]  # fmt: skip
    raters = [SimulatedRater(f"r{n}", 0.9, first=0.3) for n in range(3)]
    found = task_aggregate(task, on_paper(task, work, raters), replicates=300).sources["better"]
    order = [one["name"] for one in found.as_dict()["contestants"]]
    assert order == ["ppo", "sft", "base"]
    assert found.fit.best[found.fit.contestants.index("ppo")] > 0.99
    assert found.fit.position.estimate is not None
    assert found.fit.position.estimate.low > 0.2
    assert found.comparisons == 720
    assert found.left_out == {
        "all responses are by one model": 15,
        "the item has another number of models than of responses": 30,
    }
    assert found.win_rates["ppo"].n == 480
    assert "160 clusters" in found.win_rates["ppo"].method
    assert found.ties > 0
    assert found.both_bad == 0


def test_strengths_from_rankings_resample_whole_items():
    task = task_of({"type": "ranking", "name": "order"})
    names = ["a", "b", "c"]
    work = [item(n, {"order": [2.0, 1.0, 0.0]}, 3, meta={"models": names}) for n in range(60)]
    found = source_strengths(task, on_paper(task, work, CROWD[:2]), "order", replicates=300)
    assert found.comparisons == 60 * 2 * 3
    values = [one.value for one in found.fit.strengths]
    # Plackett-Luce of worths 2, 1, 0: each pair alone is Bradley-Terry with these differences
    assert values == pytest.approx([1, 0, -1], abs=0.25)
    assert "60 clusters" in found.fit.strengths[0].method


def test_items_of_one_prompt_are_resampled_together():
    task = task_of({"type": "comparison", "name": "better", "tie": False})
    prompts = [({"role": "user", "content": f"Q{n // 3}"},) for n in range(60)]
    work = [
        TaskItem(prompt, one.responses, meta=one.meta) for prompt, one in zip(prompts, comparisons(60), strict=True)
    ]
    found = source_strengths(task, on_paper(task, work, CROWD[:2]), "better", replicates=100)
    assert "20 clusters" in found.fit.strengths[0].method
    assert "20 clusters" in found.win_rates["sft"].method


@pytest.mark.parametrize(
    ("models", "reason"),
    [(None, "no answer to 'better' compares two models"), ([["a", "b"], ["c", "d"]], "2 groups that never meet")],
)
def test_strengths_are_refused_in_words(models, reason: str):
    task = task_of({"type": "comparison", "name": "better", "tie": False})
    work = [
        TaskItem(one.prompt, one.responses, meta=one.meta | {"models": models and models[number % 2]})
        for number, one in enumerate(comparisons(12))
    ]
    results = on_paper(task, work, CROWD[:3])
    assert reason in task_aggregate(task, results).sources_refused["better"]
    with pytest.raises(DataError, match=reason):
        source_strengths(task, results, "better")


def test_all_of_it_is_json():
    task = task_of(
        {"type": "comparison", "name": "better", "strength": 2}, {"type": "flaws", "name": "flaws", "notes": "none"}
    )
    work = [
        TaskItem(one.prompt, one.responses, meta=one.meta | {"truth": {**one.meta["truth"], "flaws": []}})
        for one in comparisons(12)
    ]
    kept = json.loads(json.dumps(task_aggregate(task, on_paper(task, work, CROWD), replicates=50).as_dict()))
    assert [one["question"] for one in kept["aspects"]] == ["better", "better", "flaws"]
    assert kept["aspects"][0]["verdicts"][0]["dawid_skene"][0].keys() == {"value", "p"}
    assert kept["aspects"][1]["aspect"] == "strength"
