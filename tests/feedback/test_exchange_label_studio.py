"""The exports are small and hand-written; what label-studio-sdk 2.1 made of the JSON are the JSON-MIN and the CSV."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.feedback.exchange import Columns, FoundData, OldAnswer, read_source

EXPORTS = Path(__file__).parent / "exports"


def write(folder: Path, tasks: Any) -> Path:
    file = folder / "export.json"
    file.write_text(json.dumps(tasks), encoding="utf-8")
    return file


def answers(data: FoundData) -> dict[tuple[int, str, str], OldAnswer]:
    return {(n, one.rater, one.question): one for n, found in enumerate(data, 1) for one in found.answers}


def one_task(folder: Path, results: list[dict[str, Any]], **data: Any) -> FoundData:
    annotation = {"id": 1, "completed_by": 3, "result": results, "was_cancelled": False}
    return read_source(write(folder, [{"id": 1, "data": data, "annotations": [annotation]}]))


def test_every_type_of_result_is_read() -> None:
    data = read_source(EXPORTS / "label_studio.json")
    assert data.form == "label-studio"
    assert [len(found.item.responses) for found in data] == [2, 2, 1, 2]
    assert data[0].item.meta == {"model1": "base", "model2": "tuned"}
    assert data[1].item.prompt[0]["content"] == "ما هو الكوكب ذو الحلقات؟ 🪐"
    said = answers(data)
    assert {key: one.value for key, one in said.items() if key[0] == 1} == {
        (1, "7", "comparison"): 0,
        (1, "7", "safety"): "safe",
        (1, "7", "quality"): 4,
        (1, "7", "why"): "The first one answers.",
        (1, "9", "comparison"): 1,
        (1, "9", "safety"): ["safe", "odd"],
        (1, "9", "quality"): 2,
    }
    assert said[1, "7", "comparison"].sides == (0, 1)
    assert said[2, "9", "why"].value == "أفضل بكثير\n\nو 👩‍🚀 أيضا"
    assert said[2, "9", "why"].truth
    assert not said[1, "9", "safety"].truth


def test_spans_are_counted_in_code_points_though_browsers_count_otherwise() -> None:
    data = read_source(EXPORTS / "label_studio.json")
    flaws = answers(data)[2, "7", "flaws"]
    assert flaws.value == 2
    text = data[1].item.responses[1]
    assert [(one["type"], text[one["start"] : one["end"]]) for one in flaws.spans or []] == [
        ("other", "Saturn"),
        ("wrong", "of ice"),
    ]
    assert {one["response"] for one in flaws.spans or []} == {1}


def test_what_cannot_be_used_is_counted_with_its_reason() -> None:
    assert read_source(EXPORTS / "label_studio.json").unused.counts == {
        "annotations that their raters skipped": 1,
        "predictions of models": 1,
        "drafts that were not submitted": 1,
        "a span that does not lie where its text is in a response": 1,
        "results of type hypertextlabels": 1,
        "a pairwise of an item that has not two responses": 1,
        "annotations without a result": 1,
    }


def test_the_time_of_an_annotation_is_shared_by_its_answers() -> None:
    said = answers(read_source(EXPORTS / "label_studio.json"))
    assert said[1, "7", "why"].active_ms == 12_500 // 4
    assert said[1, "7", "why"].started == "2026-03-03T10:00:00.000000Z"


@pytest.mark.parametrize("name", ["label_studio_min.json", "label_studio.csv"])
def test_the_short_exports_say_the_same(name: str) -> None:
    data = read_source(EXPORTS / name)
    whole = answers(read_source(EXPORTS / "label_studio.json"))
    assert data.form == "label-studio-min"
    got = {(one.rater.replace("ann@example.org", "9"), one.question, json.dumps([one.value, one.spans]), one.active_ms)
           for found in data for one in found.answers}  # fmt: skip
    assert got == {(one.rater, one.question, json.dumps([one.value, one.spans]), one.active_ms)
                   for one in whole.values()}  # fmt: skip
    assert len({json.dumps(found.item.body()) for found in data}) == 4
    assert "comparison, flaws, quality, safety, why" in data.notes[0]


def test_pairwise_follows_the_names_of_what_was_left_and_right(tmp_path: Path) -> None:
    pairwise = {"type": "pairwise", "from_name": "c", "to_name": "answer_b,answer_a", "value": {"selected": "left"}}
    [found] = one_task(tmp_path, [pairwise], prompt="p", answer_a="A", answer_b="B")
    assert found.item.responses == ("A", "B")
    assert (found.answers[0].value, found.answers[0].sides) == (1, (1, 0))


@pytest.mark.parametrize(
    ("ranker", "value"),
    [
        (["m2", "m3", "m1"], [1, 2, 0]),
        ({"rank": ["m1", "m3", "m2"], "_": []}, [0, 2, 1]),
        ({"rank": ["m1", "m3"], "_": ["m2"]}, None),
        ({"good": ["m1"], "bad": ["m2", "m3"]}, None),
        (["m1", "m2", "m4"], None),
    ],
)
def test_rankings_name_the_items_of_a_list(ranker: Any, value: Any, tmp_path: Path) -> None:
    items = [{"id": f"m{n}", "title": f"M{n}", "body": f"text {n}"} for n in (1, 2, 3)]
    result = {"type": "ranker", "from_name": "rank", "to_name": "answers", "value": {"ranker": ranker}}
    [found] = one_task(tmp_path, [result], prompt="p", items=items)
    assert found.item.responses == ("text 1", "text 2", "text 3")
    assert [one.value for one in found.answers] == ([] if value is None else [value])


def test_fields_that_are_not_known_are_named_by_the_user(tmp_path: Path) -> None:
    file = write(tmp_path, [{"data": {"ctx": "C", "q": "Q", "x": "1", "y": "2"}, "annotations": []}])
    with pytest.raises(DataError, match="--column prompt=NAME"):
        read_source(file)
    [found] = read_source(file, columns=Columns.parse(["prompt=ctx,q", "responses=y,x"]))
    assert found.item.prompt[0]["content"] == "C\n\nQ"
    assert (found.item.responses, found.names, found.item.meta) == (("2", "1"), ("y", "x"), {})


@pytest.mark.parametrize(
    ("task", "words"),
    [
        ({"annotations": []}, "row 2: a task without 'data'"),
        ({"data": {"prompt": "p"}, "annotations": {"result": []}}, "row 2: 'annotations' must be a list"),
        ({"data": {"prompt": "p"}, "annotations": [{"result": "x"}]}, "row 2: an annotation's 'result'"),
    ],
)
def test_what_is_wrong_stops_with_its_place(task: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read_source(write(tmp_path, [{"data": {"prompt": "p"}, "annotations": []}, task]))


def test_old_names_and_bare_numbers_of_annotations(tmp_path: Path) -> None:
    choice = {"type": "choices", "from_name": "ok", "to_name": "t", "value": {"choices": ["yes"]}}
    tasks = [{"data": {"text": "a text"}, "completions": [{"result": [choice], "completed_by": None}, 17]}]
    data = read_source(write(tmp_path, tasks))
    [found] = data
    assert (found.item.prompt, found.item.responses) == ((), ("a text",))
    assert (found.answers[0].value, found.answers[0].rater) == ("yes", "")
    assert data.unused.counts == {"annotations of which there is only the number": 1}
