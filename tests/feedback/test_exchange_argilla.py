"""The exports are hand-written records, written by argilla 2.8 itself (`GenericIO.to_list`, nested and flat)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.feedback.exchange import FoundData, read_source

EXPORTS = Path(__file__).parent / "exports"
A, B, C = (f"000000{name}-0000-0000-0000-000000000000" for name in ("a1", "b2", "c3"))


def said(data: FoundData) -> dict[tuple[int, str, str], Any]:
    return {(n, one.rater, one.question): one.value for n, found in enumerate(data, 1) for one in found.answers}


def record(folder: Path, value: Any, **fields: str) -> FoundData:
    file = folder / "records.json"
    responses = {"q": [{"value": value, "user_id": A}]}
    file.write_text(json.dumps([{"fields": fields, "responses": responses}]), encoding="utf-8")
    return read_source(file)


def test_submitted_answers_of_to_datasets() -> None:
    data = read_source(EXPORTS / "argilla_datasets.jsonl")
    assert data.form == "argilla-datasets"
    assert said(data) == {
        (1, A, "better"): "response-1",
        (1, A, "helpful"): 5,
        (1, A, "topics"): ["food", "poetry"],
        (1, A, "comment"): "short, but ok",
        (1, B, "better"): "response-2",
        (1, B, "helpful"): 3,
        (2, A, "better"): "tie",
        (2, A, "order"): [1, 0],
        (3, B, "helpful"): 1,
    }
    assert data.unused.counts == {
        "drafts that were not submitted": 1,
        "records that their raters discarded": 2,
        "suggestions of models": 1,
        "spans of an item with several responses: the export does not say in which they lie": 1,
    }
    assert data[0].item.responses == ("Steam 🍵 curls", "Tea is a drink.")
    assert data[0].item.meta == {"source": "web", "length": 12}
    assert data[1].item.responses == ("a\u0301 b", "c\u2028d")
    assert not data.notes


def test_the_nested_json_has_no_status_and_that_is_said() -> None:
    data = read_source(EXPORTS / "argilla.json")
    assert data.form == "argilla"
    assert (1, C, "better") in said(data)
    assert "drafts and discarded" in data.notes[0]
    assert data[0].item.meta == {"metadata": {"source": "web", "length": 12}}


def test_a_folder_of_datasets(tmp_path: Path) -> None:
    import datasets

    rows = [json.loads(line) for line in (EXPORTS / "argilla_datasets.jsonl").read_text("utf-8").splitlines()[:1]]
    datasets.Dataset.from_list(rows).save_to_disk(str(tmp_path / "d"))
    data = read_source(tmp_path / "d")
    assert data.form == "argilla-datasets"
    assert said(data)[1, A, "topics"] == ["food", "poetry"]


@pytest.mark.parametrize(
    ("value", "kind", "read"),
    [
        ([{"value": "r_2", "rank": 1}, {"value": "r_1", "rank": 1}], "ranking", [[0, 1]]),
        ([{"value": "response-1"}, {"value": "response-2"}], "ranking", [0, 1]),
        (["yes", "no"], "labels", ["yes", "no"]),
        ([1.0], None, None),
        (4.0, "rating", 4),
    ],
)
def test_the_form_of_a_value_says_what_it_is(value: Any, kind: str | None, read: Any, tmp_path: Path) -> None:
    names = ("r_1", "r_2") if "r_1" in str(value) else ("response_1", "response_2")
    data = record(tmp_path, value, prompt="p", **dict(zip(names, "ab", strict=True)))
    if names[0] == "r_1":  # no field that is known as a response: nothing to rank
        assert data.unused.counts == {"a ranking that does not name each response once": 1}
        return
    assert [(one.kind, one.value) for one in data[0].answers] == ([(kind, read)] if kind else [])


def test_spans_of_the_only_response(tmp_path: Path) -> None:
    spans = [{"label": "wrong", "start": 2, "end": 4}, {"label": "odd", "start": 0, "end": 1}]
    [found] = record(tmp_path, spans, prompt="p", response="abcde")
    assert found.answers[0].value == 2
    assert found.answers[0].spans == [
        {"response": 0, "start": 0, "end": 1, "type": "odd"},
        {"response": 0, "start": 2, "end": 4, "type": "wrong"},
    ]
    outside = record(tmp_path, [{"label": "wrong", "start": 2, "end": 9}], prompt="p", response="abcde")
    assert outside.unused.counts == {"a span that does not lie in the response": 1}


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"fields": {"prompt": "p"}, "responses": {"q": "yes"}}, "row 2: the responses to 'q' must be a list"),
        ({"responses": {}}, "row 2: a record without 'fields'"),
    ],
)
def test_what_is_wrong_stops_with_its_place(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    file = tmp_path / "records.json"
    file.write_text(json.dumps([{"fields": {"prompt": "p"}, "responses": {}}, row]))
    with pytest.raises(DataError, match=words):
        read_source(file)


def test_columns_of_unequal_length_stop_with_their_place(tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    file.write_text(json.dumps({"prompt": "p", "q.responses": ["a"], "q.responses.users": [A, B]}) + "\n")
    with pytest.raises(DataError, match=r"line 1: 'q\.responses'"):
        read_source(file)
