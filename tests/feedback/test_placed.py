from __future__ import annotations

from random import Random
from typing import Any

import pytest
from crowd import SimulatedRater

from kilter.feedback.tasks import Shown, Task, TaskItem, placed
from kilter.feedback.work import Assignment

TRUTH = {
    "comparison": 1, "ranking": [0.1, 2.0, 1.0], "rating": [{"a": 2, "b": 5}] * 3, "label": "x", "steps": [1, 0, -1],
    "flaws": [{"response": 0, "start": 2, "end": 6, "type": "wrong"}],
}  # fmt: skip
KINDS: list[dict[str, Any]] = [
    {"type": "comparison", "both_bad": True},
    {"type": "comparison", "strength": 3},
    {"type": "ranking"},
    {"type": "rating", "of": "responses", "dimensions": ["a", "b"]},
    {"type": "label", "labels": ["x", "y", "z"]},
    {"type": "steps"},
    {"type": "flaws"},
]


@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: "-".join(map(str, kind.values())))
def test_an_answer_put_back_into_places_reads_as_the_same_value(kind: dict[str, Any]) -> None:
    """For any order of the sides: what `placed` gives, the question reads as the value that it was."""
    ask = {} if kind["type"] not in ("rating", "label") else {"ask": "?"}
    task = Task(name="t", title="T", questions=[{"name": "q", **ask, **kind}])
    [question] = task.questions
    responses = ("the first reply", "another reply", "one more") if kind["type"] != "comparison" else ("one", "two")
    steps = ("s", "t", "u") if kind["type"] == "steps" else ()
    item = TaskItem((), responses, steps, meta={"truth": {"q": TRUTH[kind["type"]]}})
    random, rater, moved = Random(0), SimulatedRater("r", 0.6, invented=0.5), 0
    for _ in range(60):
        sides = tuple(random.sample(range(len(responses)), len(responses)))
        one = Assignment("a", "t", 0, "r", "held", "x", item, sides, 0, 0, 0)
        said = question.read(rater.answers(task, one, 0.0, random)["q"], Shown(item, sides))
        other = tuple(random.sample(sides, len(sides)))
        there = placed(question, said.value, said.spans, other)
        again = question.read(there, Shown(item, other))
        assert (again.value, again.spans) == (said.value, said.spans)
        moved += there != placed(question, said.value, said.spans, sides)
    by_side = kind["type"] in ("comparison", "ranking", "rating", "flaws")
    assert (moved > 0) == by_side


def test_words_and_numbers_that_name_no_side_stay_what_they_are() -> None:
    task = Task(name="t", title="T", questions=[{"name": "q", **KINDS[0]}, {"name": "f", "type": "flaws"}])
    assert placed(task.questions[0], "both bad", None, (1, 0)) == "both bad"
    assert placed(task.questions[1], 2, None, (0,)) == 2, "only their number is known"
    assert placed(task.questions[1], 0, [], (0,)) == []
