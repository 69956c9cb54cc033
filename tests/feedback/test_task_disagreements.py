from __future__ import annotations

import json
from typing import Any

import pytest
from crowd import SimulatedRater, comparisons, on_paper, with_use

from kilter.errors import DataError
from kilter.feedback.quality import task_disagreements
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Result
from kilter.record import Judgment


def task_of(*questions: dict[str, Any]) -> Task:
    return Task(name="t", title="T", questions=questions)  # type: ignore[arg-type]


def said(question: str, values: list[Any], item: TaskItem, artifact: str = "x", spans: Any = None) -> list[Result]:
    return [
        Result(
            f"{artifact}-{n}", question, item,
            Judgment(artifact, question, f"people/{n}", "human", value, spans=spans[n] if spans else None), float(n),
        )
        for n, value in enumerate(values)
    ]  # fmt: skip


TWO = comparisons(1)[0]
FOUR = TaskItem((), ("a", "b", "c", "d"))
STEPS = TaskItem((), steps=("one", "two", "three"))


@pytest.mark.parametrize(
    ("question", "item", "values", "score"),
    [
        ({"type": "comparison"}, TWO, [0, 1, "tie"], 1.0),
        ({"type": "comparison"}, TWO, [0, 0, 1], 2 / 3),
        # strengths 2, 1 and -2 on a scale of 4: (1 + 4 + 3) / 3 / 4
        ({"type": "comparison", "strength": 2}, TWO,
         [{"better": 0, "strength": 2}, {"better": 0, "strength": 1}, {"better": 1, "strength": 2}], 8 / 12),
        ({"type": "rating", "ask": "?", "high": 5}, TWO, [{"overall": 1}, {"overall": 5}], 1.0),
        ({"type": "rating", "ask": "?", "high": 5}, TWO, [{"overall": 4}, {"overall": 5}], 0.25),
        ({"type": "ranking"}, FOUR, [[0, 1, 2, 3], [3, 2, 1, 0]], 1.0),
        ({"type": "ranking"}, FOUR, [[0, 1, 2, 3], [1, 0, 2, 3]], 1 / 6),
        ({"type": "ranking"}, FOUR, [[0, 1, 2, 3], [[0, 1], 2, 3]], 1 / 12),
        ({"type": "label", "ask": "?", "labels": ["x", "y", "z"], "several": True}, TWO, [["x"], ["x", "y"]], 1 / 3),
        ({"type": "steps"}, STEPS, [[1, 1, 0], [1, -1]], 0.5),
    ],
)  # fmt: skip
def test_scores_on_paper(question, item, values, score: float):
    task = task_of({"name": "q", **question})
    (found,) = task_disagreements(task, said("q", values, item)).found
    assert found.score == pytest.approx(score)
    assert (found.raters, len(found.answers)) == (len(values), len(values))


def test_flaws_are_apart_by_what_does_not_match():
    task = task_of({"type": "flaws", "name": "q"})

    def span(start: int) -> dict[str, Any]:
        return {"response": 0, "start": start, "end": start + 4, "type": "wrong", "severity": "minor"}

    item = TaskItem((), ("a text with flaws in it",))
    results = said("q", [2, 1, 0], item, spans=[[span(0), span(8)], [span(0)], []])
    (found,) = task_disagreements(task, results).found
    assert found.score == pytest.approx((1 / 3 + 1 + 1) / 3)
    nobody = task_disagreements(task, said("q", [0, 0], item, spans=[[], []]))
    assert (nobody.found, nobody.compared) == ((), 1)


def test_the_hard_items_come_first():
    why = {"type": "text", "name": "why", "ask": "?", "required": False}
    task = task_of({"type": "comparison", "name": "better", "tie": False}, why)
    easy, hard = comparisons(30, 1), comparisons(30, 2)
    raters = [SimulatedRater(f"r{n}", 0.98) for n in range(4)]
    guessing = [SimulatedRater(f"r{n}", 0.5) for n in range(4)]
    results = on_paper(task, easy, raters)
    for one in on_paper(task, hard, guessing):
        judgment = Judgment("h" + one.artifact, "q", one.judge, "simulated", one.value)
        results.append(Result(f"h{one.id}", one.question, one.item, judgment, one.submitted))
    results += on_paper(task, with_use(comparisons(9, 3), "gold"), guessing)
    found = task_disagreements(task, results)
    assert found.compared == 60
    first = found.found[:20]
    assert sum(one.artifact.startswith("h") for one in first) > 16
    assert [one.score for one in found.found] == sorted((one.score for one in found.found), reverse=True)
    assert task_disagreements(task, results, limit=3).found == found.found[:3]
    kept = json.loads(json.dumps(found.as_dict()))["disagreements"][0]
    assert kept["answers"][0]["simulated"]
    assert "truth" not in json.dumps(kept["content"])  # nor which model wrote what
    with pytest.raises(DataError, match="did you mean 'better'"):
        task_disagreements(task, results, question="beter")
    assert task_disagreements(task, results, question="why").found == ()
