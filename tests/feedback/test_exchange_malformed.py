"""However an export is damaged, the reader stops with a sentence or counts what it cannot use; it never breaks."""

from __future__ import annotations

import contextlib
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.feedback.exchange import Columns, FoundData
from kilter.feedback.exchange.matching import fitted
from kilter.feedback.exchange.sources import FORMS, keepable
from kilter.feedback.readings import Skip
from kilter.feedback.rows import Rows, read_rows
from kilter.feedback.tasks import Task
from kilter.record import canonical

EXPORTS = Path(__file__).parent / "exports"
STEP = {"completions": [{"text": "a", "rating": 1}], "human_completion": None, "chosen_completion": 0}
RAW = {
    "prompt": [{"role": "user", "content": "p"}], "responses": ["a", "b"], "steps": [], "question_type": "comparison",
    "value": "1", "spans": None, "kilter_question": "q", "kilter_judges": ["people/a"], "kilter_judgments": ["0"],
    "kilter_principals": ["human"], "kilter_aggregate": "none", "kilter_meta": "{}", "kilter_sides_shown": [[1, 0]],
}  # fmt: skip
SOURCES: dict[str, list[dict[str, Any]]] = {
    "label-studio": read_rows(EXPORTS / "label_studio.json").rows,
    "label-studio-min": read_rows(EXPORTS / "label_studio_min.json").rows,
    "argilla": read_rows(EXPORTS / "argilla.json").rows,
    "argilla-datasets": read_rows(EXPORTS / "argilla_datasets.jsonl").rows,
    "prm800k": [{"labeler": "x", "question": {"problem": "p", "pre_generated_steps": ["a"]},
                 "label": {"steps": [STEP], "total_time": 5, "finish_reason": "solution"}}],
    "kilter": [RAW],
    "items": [{"prompt": "p", "responses": ["a"], "use": "gold", "answers": {"q": 1}, "priority": 1.0, "meta": {}}],
    "preferences": [{"prompt": "p", "chosen": "a", "rejected": "b", "margin": 1}],
    "step-labels": [{"prompt": "p", "steps": ["a"], "labels": [True]}],
    "marks": [{"prompt": "p", "completion": "a", "label": True, "kilter_meta": "{}"}],
    "texts": [{"instruction": "p", "output_1": "a", "output_2": [{"role": "assistant", "content": "b"}]}],
}  # fmt: skip
TASK = Task.model_validate({
    "name": "t", "title": "t",
    "questions": [
        {"type": "comparison", "name": "c", "strength": 2}, {"type": "ranking", "name": "r"},
        {"type": "rating", "name": "g", "ask": "?"}, {"type": "label", "name": "l", "ask": "?", "labels": ["a", "b"]},
        {"type": "text", "name": "t", "ask": "?"}, {"type": "flaws", "name": "f"}, {"type": "steps", "name": "s"},
    ],
})  # fmt: skip
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 40) | st.floats() | st.text(max_size=5) | st.just("\ud800"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["value", "id"]), inner, max_size=2),
    max_leaves=4,
)  # fmt: skip


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [path, *(place for key, one in inner for place in places(one, (*path, key)))]


def damaged(rows: list[dict[str, Any]], place: tuple[Any, ...], junk: Any) -> list[dict[str, Any]]:
    whole = json.loads(json.dumps(rows))
    node = whole
    for key in place[:-1]:
        node = node[key]
    node[place[-1]] = junk
    return [row for row in whole if isinstance(row, dict)]


def check(data: FoundData) -> None:
    data.summary()
    for found in data:
        canonical([found.item.body(), dict(found.item.meta)])
        for answer in found.answers:
            canonical([answer.value, answer.spans])
            assert answer.active_ms is None or answer.active_ms >= 0
            for question in TASK.questions:
                try:
                    fitted(answer, question, found)
                except Skip:
                    continue


@pytest.mark.parametrize("form", SOURCES)
def test_whole_sources_are_read(form: str) -> None:
    rows = SOURCES[form]
    assert FORMS[form].fits(Rows("x", "0", rows, list(range(len(rows))), "row"))
    check(FORMS[form].read(Rows("x", "0", rows, list(range(len(rows))), "row"), Columns(), ["comment"]))


@pytest.mark.parametrize("form", SOURCES)
@settings(max_examples=80, deadline=None)
@given(st.data())
def test_damaged_sources_are_refused_or_counted(form: str, data: st.DataObject) -> None:
    rows = SOURCES[form]
    place = data.draw(st.sampled_from([place for place in places(rows) if len(place) > 1]))
    rows = damaged(rows, place, data.draw(JUNK))
    source = Rows("x", "0", rows, list(range(len(rows))), "row")
    with contextlib.suppress(DataError):
        check(keepable(FORMS[form].read(source, Columns(), ["comment"])))
