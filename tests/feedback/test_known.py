from __future__ import annotations

from typing import Any

import pytest

from kilter.feedback.tasks import Answer, Task, TaskItem, known_met, met


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
    found = met(task.questions[0], known, said, None)
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
    assert met(task.questions[0], known, len(said), said) == pytest.approx(right)


def test_an_items_known_answers_are_met_one_by_one() -> None:
    task = Task(
        name="t", title="T",
        questions=[
            {"name": "better", "type": "comparison"},
            {"name": "kind", "type": "label", "ask": "?", "labels": ["x", "y"]},
            {"name": "why", "type": "text", "ask": "?"}, {"name": "odd", "type": "ranking"},
            {"name": "work", "type": "label", "ask": "?", "labels": ["x", "y"]},
        ],
    )  # type: ignore[arg-type]  # fmt: skip
    item = TaskItem((), use="gold", answers={"better": 1, "kind": "x", "why": "a", "odd": 7})
    said = {"better": Answer(1), "why": Answer("b"), "odd": Answer([0, 1]), "work": Answer("x")}
    assert known_met(task.questions, item, said) == {"better": 1.0, "kind": 0.0}, "left out: what cannot be compared"
