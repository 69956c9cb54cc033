from __future__ import annotations

import json
from pathlib import Path

import pytest

from kilter.errors import DataError
from kilter.testbeds.stories import load_faithfulness

HEAD = (
    "bbcid,system,summary,hallucination_type,hallucinated_span,hallucinated_span_start,hallucinated_span_end,worker_id"
)
SUMMARY = "the mayor opened a bridge. it rained on monday."


def written(folder: Path, *rows: str) -> tuple[Path, Path]:
    (folder / "spans.csv").write_text("\n".join([HEAD, *rows]) + "\n", encoding="utf-8")
    (folder / "docs.jsonl").write_text(json.dumps({"id": 7, "document": "A bridge was opened."}) + "\n")
    return folder / "spans.csv", folder / "docs.jsonl"


def test_passages_that_two_workers_marked_become_flaws(tmp_path: Path) -> None:
    [case] = load_faithfulness(
        *written(
            tmp_path,
            f"7,A,{SUMMARY},extrinsic,on monday,38,47,wid_0",
            f"7,A,{SUMMARY},extrinsic,rained on monday.,31,48,wid_1",
            f"7,A,{SUMMARY},intrinsic,the mayor,1,10,wid_2",
        )
    )
    [flaw] = case.flaws
    assert case.response[flaw.start : flaw.end] == "on monday"
    assert flaw.type == "invented_fact"
    assert [case.response[start:end] for start, end in case.units] == [
        "the mayor opened a bridge.",
        "it rained on monday.",
    ]
    assert case.source == "A bridge was opened."
    assert len(load_faithfulness(*written(tmp_path, f"7,A,{SUMMARY},NULL,NULL,-1,-1,wid_0"))[0].flaws) == 0


def test_the_words_count_where_the_offset_is_wrong_and_the_nearest_where_they_repeat(tmp_path: Path) -> None:
    text = "a cat saw a cat."
    [case] = load_faithfulness(*written(tmp_path, f"7,A,{text},intrinsic,a cat,10,15,wid_0"), agreed=1)
    assert (case.flaws[0].start, case.flaws[0].end, case.flaws[0].type) == (10, 15, "wrong_fact")


def test_jsonl_rows_may_hold_everything(tmp_path: Path) -> None:
    span = {"start": 0, "end": 3, "type": "wrong_cause", "note": "It was not."}
    path = tmp_path / "all.jsonl"
    path.write_text(json.dumps({"document": "D.", "summary": "One two.", "spans": [span]}) + "\n")
    [case] = load_faithfulness(path)
    assert (case.flaws[0].type, case.flaws[0].note, case.correct) == ("wrong_cause", "It was not.", "")


@pytest.mark.parametrize(
    ("row", "words"),
    [
        (f"8,A,{SUMMARY},NULL,NULL,-1,-1,wid_0", "no document '8'"),
        (f"7,A,{SUMMARY},odd,on monday,38,47,wid_0", "line 2: 'odd' is no type"),
        (f"7,A,{SUMMARY},extrinsic,on friday,38,47,wid_0", "does not contain"),
        (f"7,A,{SUMMARY},extrinsic,,90,99,wid_0", "is not in a summary"),
        (f"7,A,{SUMMARY},extrinsic,on monday,x,47,wid_0", "no whole number"),
        ("7,A,,extrinsic,a,1,2,wid_0", "no summary"),
        ("7,A,one, two,extrinsic,a,1,2,wid_0", "quotes around the text"),
    ],
)
def test_bad_rows_are_named(tmp_path: Path, row: str, words: str) -> None:
    with pytest.raises(DataError, match=words):
        load_faithfulness(*written(tmp_path, row))


def test_bad_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="cannot be read"):
        load_faithfulness(tmp_path / "none.csv")
    (tmp_path / "a.jsonl").write_text("{\n")
    with pytest.raises(DataError, match="line 1 is not valid JSON"):
        load_faithfulness(tmp_path / "a.jsonl")
    (tmp_path / "b.csv").write_text(HEAD + "\n")
    with pytest.raises(DataError, match="holds no rows"):
        load_faithfulness(tmp_path / "b.csv")
