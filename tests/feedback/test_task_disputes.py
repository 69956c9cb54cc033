from __future__ import annotations

from typing import Any

import pytest
from crowd import SimulatedRater, comparisons, on_paper

from kilter.errors import DataError
from kilter.feedback.quality import task_disputes
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Result
from kilter.record import Judgment


def task_of(*questions: dict[str, Any]) -> Task:
    return Task(name="t", title="T", questions=questions)  # type: ignore[arg-type]


def said(question: str, artifact: str, item: TaskItem, values: dict[str, Any]) -> list[Result]:
    """What each judge says of one item."""
    return [
        Result(f"{artifact}-{judge}", question, item, Judgment(artifact, question, judge, "human", value), 0.0)
        for judge, value in values.items()
    ]


COMPARED = task_of({"type": "comparison", "name": "better", "tie": False})
CREW = [SimulatedRater("good", 0.95), SimulatedRater("fair", 0.8), SimulatedRater("other", 0.8)]


def test_who_says_it_decides_how_settled_a_thing_is() -> None:
    """One more rater than a majority can use: what a careful rater said alone is surer than what a guesser said."""
    items = comparisons(300)
    raters = [*CREW, SimulatedRater("guesser", 0.5)]
    work = on_paper(COMPARED, items, raters)
    alone = comparisons(2, seed=5)
    work += said("better", "by-good", alone[0], {"simulated/good": 0})
    work += said("better", "by-guesser", alone[1], {"simulated/guesser": 0})
    found = task_disputes(COMPARED, work)
    assert not found.by_distance
    assert all(0 <= score <= 1 for score in found.scores.values())
    assert found.scores["by-good"] < 0.5 < 0.9 < found.scores["by-guesser"]


def test_split_votes_are_in_dispute_and_equal_ones_are_not() -> None:
    items = comparisons(200)
    raters = [SimulatedRater(name, 0.8) for name in "abc"]
    work = on_paper(COMPARED, items, raters)
    values: dict[str, list[Any]] = {}
    for one in work:
        values.setdefault(one.artifact, []).append(one.value)
    scores = task_disputes(COMPARED, work).scores
    split = [scores[key] for key, given in values.items() if len(set(given)) > 1]
    same = [scores[key] for key, given in values.items() if len(set(given)) == 1]
    assert min(split) > max(same)


def test_where_no_model_fits_the_distance_stands_and_says_why() -> None:
    item = TaskItem((), ("a", "b"))
    work = said("better", "same", item, {"people/1": 0, "people/2": 0})
    work += said("better", "apart", item, {"people/1": 0, "people/2": 1})
    work += said("better", "alone", item, {"people/1": 0})
    found = task_disputes(COMPARED, work)
    assert found.scores == {"same": 0.0, "apart": 1.0}
    assert "three are the least" in found.by_distance["better"]


def test_grades_are_as_far_apart_as_on_their_scale_and_the_worst_question_counts() -> None:
    task = task_of(
        {"type": "rating", "name": "good", "high": 5}, {"type": "label", "name": "kind", "labels": ["x", "y"]}
    )
    item = TaskItem((), ("a",))
    grades = said("good", "i", item, {"people/1": {"overall": 2}, "people/2": {"overall": 3}})
    assert task_disputes(task, grades).scores == {"i": pytest.approx(0.25)}
    assert not task_disputes(task, grades).by_distance, "no model of who is right is meant for grades"
    labels = said("kind", "i", item, {"people/1": "x", "people/2": "y"})
    assert task_disputes(task, grades + labels).scores == {"i": 1.0}


def test_without_anything_to_compare_it_is_refused() -> None:
    task = task_of({"type": "text", "name": "words"})
    item = TaskItem((), ("a",))
    with pytest.raises(DataError, match="texts alone"):
        task_disputes(task, said("words", "i", item, {"people/1": "one", "people/2": "two"}))
    with pytest.raises(DataError, match="Nobody has judged"):
        task_disputes(COMPARED, [])
