from __future__ import annotations

from typing import Any

import pytest

from kilter.feedback.quality.gold import score
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Result
from kilter.record import Judgment


def span(start: int, end: int, response: int = 0) -> dict[str, Any]:
    return {"response": response, "start": start, "end": end, "type": "wrong", "severity": "minor"}


@pytest.mark.parametrize(
    ("question", "known", "said", "right"),
    [
        ({"type": "comparison", "strength": 3}, {"better": 0, "strength": 3}, {"better": 0, "strength": 1}, 1.0),
        ({"type": "comparison", "strength": 3}, 0, {"better": 0, "strength": 1}, 1.0),
        ({"type": "comparison"}, "tie", 1, 0.0),
        ({"type": "ranking"}, [0, 1, 2], [0, 2, 1], 2 / 3),
        ({"type": "ranking"}, [0, [1, 2]], [0, 2, 1], 1.0),  # what is level in the key may be in any order
        ({"type": "ranking"}, [0, 1, 2], [[0, 1, 2]], 0.0),
        ({"type": "ranking"}, [[0, 1, 2]], [0, 1, 2], None),
        ({"type": "rating", "ask": "?", "dimensions": ["a", "b"]}, {"a": 1, "b": 2}, {"a": 1, "b": 3}, 0.5),
        ({"type": "rating", "ask": "?", "of": "responses"}, [{"overall": 1}, {"overall": 2}],
         [{"overall": 1}, {"overall": 2}], 1.0),
        ({"type": "label", "ask": "?", "labels": ["x", "y"]}, "x", "x", 1.0),
        ({"type": "label", "ask": "?", "labels": ["x", "y"], "several": True}, ["y", "x"], ["x", "y"], 1.0),
        ({"type": "label", "ask": "?", "labels": ["x", "y"], "several": True}, ["y"], ["x", "y"], 0.0),
        ({"type": "steps"}, [1, 1, -1], [1, 1, -1], 1.0),
        ({"type": "steps"}, [1, 1, -1], [1, -1], 1 / 3),
        ({"type": "text", "ask": "?"}, "a", "a", None),
    ],
)  # fmt: skip
def test_scores_on_paper(question, known, said, right) -> None:
    task = Task(name="t", title="T", questions=[{"name": "q", **question}])  # type: ignore[list-item]
    result = Result("1", "q", TaskItem(()), Judgment("x", "q", "people/a", "human", said), 0.0)
    found = score(task.questions[0], known, result)
    assert found == (right if right is None else pytest.approx(right))


@pytest.mark.parametrize(
    ("known", "said", "right"),
    [
        ([span(0, 10), span(20, 30)], [span(1, 10)], 2 / 3),
        ([], [], 1.0),
        ([span(0, 10)], [], 0.0),
        ([span(0, 10, 0)], [span(0, 10, 1)], 0.0),
        (1, [span(5, 9)], 1.0),
        (2, [span(5, 9)], 0.0),
    ],
)
def test_flaws_by_spans_or_by_number(known, said, right: float) -> None:
    task = Task(name="t", title="T", questions=[{"name": "q", "type": "flaws"}])  # type: ignore[list-item]
    judgment = Judgment("x", "q", "people/a", "human", len(said), spans=said)
    assert score(task.questions[0], known, Result("1", "q", TaskItem(()), judgment, 0.0)) == pytest.approx(right)
