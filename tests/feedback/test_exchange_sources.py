from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError, SettingsError
from kilter.feedback.exchange import Columns, FoundData, read_source
from kilter.feedback.exchange.sources import FORMS

UUID = "340d89bc-f5b7-45e9-b272-909ba68ee363"


def write(folder: Path, *rows: dict[str, Any], name: str = "rows.jsonl") -> Path:
    file = folder / name
    if name.endswith(".csv"):
        with file.open("w", encoding="utf-8", newline="") as handle:
            writer = csv.DictWriter(handle, list(rows[0]))
            writer.writeheader()
            writer.writerows(rows)
    elif name.endswith(".parquet"):
        import datasets

        datasets.Dataset.from_list(list(rows)).to_parquet(str(file))
    else:
        file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return file


def values(data: FoundData) -> list[Any]:
    return [one.value for found in data for one in found.answers]


@pytest.mark.parametrize(
    ("row", "form"),
    [
        ({"prompt": "p", "responses": ["a", "b"], "use": "work"}, "items"),
        ({"prompt": "p"}, "items"),
        ({"prompt": "p", "response": "a"}, "items"),
        ({"prompt": "p", "chosen": "a", "rejected": "b"}, "preferences"),
        ({"prompt": "p", "responses": ["a", "b", "c"], "ranking": [2, [0, 1]]}, "preferences"),
        ({"prompt": "p", "completion": "a", "label": True}, "marks"),
        ({"prompt": "p", "completions": ["a", "b"], "labels": [True, False]}, "step-labels"),
        ({"prompt": "p", "completion": "a"}, "texts"),
        ({"messages": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}]}, "texts"),
        ({"instruction": "p", "input": "i", "output": "a"}, "texts"),
        ({"data": {"prompt": "p"}, "annotations": []}, "label-studio"),
        ({"fields": {"prompt": "p"}, "responses": {}}, "argilla"),
    ],
)
def test_the_layout_is_told_by_the_content(row: dict[str, Any], form: str, tmp_path: Path) -> None:
    data = read_source(write(tmp_path, row))
    assert data.form == form
    assert len(data) == 1
    assert form in FORMS


def test_an_option_overrides_what_the_content_says(tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": "p", "completion": "a", "label": True})
    assert not values(read_source(file, "texts"))
    with pytest.raises(SettingsError, match="did you mean 'label-studio'"):
        read_source(file, "labelstudio")


def test_old_preferences_have_their_sides_in_neutral_order(tmp_path: Path) -> None:
    rows = [{"prompt": f"p{n}", "chosen": f"good {n}", "rejected": f"bad {n}", "worker": f"w{n % 2}"}
            for n in range(20)]  # fmt: skip
    data = read_source(write(tmp_path, *rows))
    assert {0, 1} == set(values(data))
    assert all(found.item.responses[one.value].startswith("good") for found in data for one in found.answers)
    assert {one.rater for found in data for one in found.answers} == {"w0", "w1"}
    assert not data[0].item.meta


@pytest.mark.parametrize(("margin", "strength"), [(3, 3), (2.0, 2), (0, None), (1.5, None), (9, None)])
def test_a_margin_that_is_a_grade_is_a_strength(margin: float, strength: int | None, tmp_path: Path) -> None:
    data = read_source(write(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b", "margin": margin}))
    [value] = values(data)
    assert (value["strength"] if isinstance(value, dict) else None) == strength


def test_ties_and_rankings_are_kept(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "responses": ["a", "b"], "ranking": [[0, 1]]},
            {"prompt": "q", "responses": ["a", "b", "c"], "ranking": [2, [1, 0]]}]  # fmt: skip
    assert values(read_source(write(tmp_path, *rows))) == ["tie", [2, [0, 1]]]


@pytest.mark.parametrize("name", ["rows.jsonl", "rows.parquet"])
def test_marks_and_steps(name: str, tmp_path: Path) -> None:
    marks = [{"prompt": "p", "completion": "a", "label": True}, {"prompt": "q", "completion": "b", "label": False}]
    assert values(read_source(write(tmp_path, *marks, name=name))) == [True, False]
    steps = [{"prompt": "p", "completions": ["a", "b"], "labels": [1.0, 0.0]},
             {"prompt": "q", "completions": ["a"], "labels": [0.5]}]  # fmt: skip
    data = read_source(write(tmp_path, *steps, name=name))
    assert values(data) == [[1, -1]]
    assert data.skipped.counts == {"labels between right and wrong": 1}


def test_cells_of_csv_hold_lists_as_json(tmp_path: Path) -> None:
    row = {"prompt": 'say "hi"\nö 🪐', "responses": json.dumps(["a, b", "c"]), "priority": "2", "meta": '{"k": 1}'}
    [found] = read_source(write(tmp_path, row, name="rows.csv"))
    assert (found.item.responses, found.item.priority, found.item.meta) == (("a, b", "c"), 2.0, {"k": 1})
    marks = {"prompt": "p", "completion": "[not json", "label": "true"}
    [found] = read_source(write(tmp_path, marks, name="rows.csv"))
    assert found.item.responses == ("[not json",)
    assert found.answers[0].value is True


def test_numbered_responses_and_what_goes_along(tmp_path: Path) -> None:
    row = {
        "query": "p",
        "model_response_2": "b",
        "model_response_1": "a",
        "id": 7,
        "when": None,
        "annotator": "x@y.org",
    }
    data = read_source(write(tmp_path, row))
    [found] = data
    assert (found.item.responses, found.item.meta) == (("a", "b"), {"id": 7})
    assert data.columns == {"prompt": ("query",), "responses": ("model_response_1", "model_response_2")}


def test_columns_named_by_the_user(tmp_path: Path) -> None:
    file = write(tmp_path, {"q": "p", "good": "a", "poor": "b", "who": 5})
    data = read_source(file, columns=Columns.parse(["prompt=q", "chosen=good", "rejected=poor", "rater=who"]))
    assert data.form == "preferences"
    assert data[0].answers[0].rater == "5"
    with pytest.raises(DataError, match="no column 'qq'"):
        read_source(file, columns=Columns.parse(["prompt=qq"]))
    for pair, words in (("prompt", "NAME=THEIRS"), ("chosen=a,b", "several columns")):
        with pytest.raises(SettingsError, match=words):
            Columns.parse([pair])


def test_rows_that_lack_what_the_user_named_are_counted_or_fall_short(tmp_path: Path) -> None:
    rows = [{"q": "p", "x": "a", "y": "b"}, {"q": "p", "x": "a", "y": None}, {"q": None, "x": None, "y": None}]
    data = read_source(write(tmp_path, *rows), "texts", columns=Columns.parse(["prompt=q", "responses=x,y"]))
    assert [found.item.responses for found in data] == [("a", "b"), ("a",)]
    assert data.skipped.total == 1


def test_numbers_are_ratings_and_the_rest_is_words(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "output": "a", "how": value} for value in (4, "5", 2.5, "good", "nan")]
    data = read_source(write(tmp_path, *rows), asked=["how"])
    assert [(one.kind, one.value) for found in data for one in found.answers] == [
        ("rating", 4), ("rating", 5), ("rating", 2.5), ("words", "good"), ("words", "nan"),
    ]  # fmt: skip


def test_columns_that_are_answers(tmp_path: Path) -> None:
    file = write(tmp_path, {"prompt": "p", "output": "a", "safe": "yes"}, {"prompt": "q", "output": "b", "safe": ""})
    assert values(read_source(file, asked=["safe"])) == ["yes"]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"prompt": "p", "outputs": ["a", " "]}, "empty response"),
        ({"prompt": "p", "outputs": ["a"] * 17}, "more than 16 responses"),
        ({"prompt": 3, "outputs": ["a"]}, "'prompt' is neither a text nor a chat"),
        ({"other": "x"}, "no prompt and no response"),
        ({"prompt": "p", "outputs": [3]}, "response that is no text"),
    ],
)
def test_rows_with_nothing_to_judge_are_counted(row: dict[str, Any], reason: str, tmp_path: Path) -> None:
    keys = dict.fromkeys(row)
    data = read_source(write(tmp_path, {**keys, "prompt": "kept", "extra": 1}, row))
    assert next(iter(data.skipped.counts)).startswith(reason)
    assert len(data) == 1


def prm800k(steps: list[tuple[str, int | None]], **more: Any) -> dict[str, Any]:
    labeled = [{"completions": [{"text": text, "rating": rating, "flagged": None}], "human_completion": None,
                "chosen_completion": None if rating == -1 else 0} for text, rating in steps]  # fmt: skip
    label = {"steps": labeled, "total_time": 2500, "finish_reason": "solution"} | more.pop("label", {})
    return {"labeler": UUID, "timestamp": "2023-01-22T04:34:27.052924", "generation": 9,
            "question": {"problem": "1+1?", "ground_truth_answer": "2"} | more, "label": label}  # fmt: skip


def test_prm800k_takes_the_path_that_was_labeled(tmp_path: Path) -> None:
    whole = ["a", "b", "c", "d"]
    late = prm800k([("a", 1), ("b", 0)])
    late["label"]["steps"].append({
        "completions": [{"text": "x", "rating": -1}, {"text": "y", "rating": 1}], "chosen_completion": 1,
        "human_completion": None,
    })  # fmt: skip
    by_hand = prm800k([("a", 1)])
    by_hand["label"]["steps"].append({
        "completions": [{"text": "x", "rating": -1}], "chosen_completion": None,
        "human_completion": {"text": "written", "rating": 1},
    })  # fmt: skip
    data = read_source(write(
        tmp_path,
        prm800k([("a", 1), ("b", -1)], pre_generated_steps=whole, label={"finish_reason": "found_error"}),
        late, by_hand,
        prm800k([("a", 1), ("b", None)]),
        prm800k([("a", 1)], label={"finish_reason": "bad_problem"}),
        prm800k([]),
    ))  # fmt: skip
    assert data.form == "prm800k"
    assert [(found.item.steps, found.answers[0].value) for found in data] == [
        (("a", "b", "c", "d"), [1, -1]),
        (("a", "b", "y"), [1, 0, 1]),
        (("a", "written"), [1, 1]),
        (("a", "b"), [1]),
    ]
    first = data[0].answers[0]
    assert (first.rater, first.active_ms, first.started) == (UUID, 2500, "2023-01-22T04:34:27.052924")
    assert data[0].item.meta["ground_truth_answer"] == "2"
    assert data.skipped.counts == {"problem that its labeler found broken": 1, "solution without a rated step": 1}
    assert data.unused.counts == {"ratings of alternative steps": 1}
    with pytest.raises(DataError, match="line 2 has no label with steps"):
        read_source(write(tmp_path, prm800k([("a", 1)]), {"question": {"problem": "p"}, "label": None}))


def test_what_is_wrong_stops_with_its_line(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="line 2: an item for gold needs"):
        read_source(write(tmp_path, {"prompt": "p", "use": "work"}, {"prompt": "q", "use": "gold"}))
    with pytest.raises(DataError, match="line 1: the margin"):
        read_source(write(tmp_path, {"prompt": "p", "chosen": "a", "rejected": "b", "margin": -1}))
