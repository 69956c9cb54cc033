from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.feedback.marks import MarkData, read_marks

ASKED = [{"role": "user", "content": "Add 2 and 3"}]


def read(folder: Path, *rows: dict[str, Any], **options: Any) -> MarkData:
    path = folder / "a.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_marks(path, **options)


@pytest.mark.parametrize("reply", ["completion", "response"])
@pytest.mark.parametrize("text", [" 5", [{"role": "assistant", "content": "5"}]], ids=["text", "messages"])
@pytest.mark.parametrize(("label", "desirable"), [(True, True), (False, False), (1, True), (0, False)])
def test_marked_responses(tmp_path: Path, reply: str, text: Any, label: Any, desirable: bool) -> None:
    [mark] = read(tmp_path, {"prompt": "Add 2 and 3", reply: text, "label": label})
    assert (mark.prompt, mark.response, mark.desirable) == (ASKED, "5", desirable)


def test_a_comparison_is_a_good_and_a_bad_response(tmp_path: Path) -> None:
    data = read(tmp_path, {"prompt": "Add 2 and 3", "chosen": "5", "rejected": "6"})
    assert [(one.response, one.desirable) for one in data] == [("5", True), ("6", False)]
    assert data.summary().endswith("1 desirable and 1 undesirable responses")


def test_a_column_by_another_name(tmp_path: Path) -> None:
    row = {"prompt": "Add 2 and 3", "completion": "5", "thumb": True}
    assert read(tmp_path, row, columns={"label": "thumb"})[0].desirable


def test_what_is_wrong_is_named(tmp_path: Path) -> None:
    row = {"prompt": "Add 2 and 3", "completion": "5"}
    with pytest.raises(DataError, match="line 2: 'label' must be true or false, not 'good'"):
        read(tmp_path, {**row, "label": True}, {**row, "label": "good"})
    with pytest.raises(DataError, match=r"wanted are prompt, completion \(or response\) and label; or those of"):
        read(tmp_path, {"text": "a"})
    data = read(tmp_path, {**row, "label": True}, {**row, "completion": " ", "label": True})
    assert data.skipped.counts == {"empty response": 1}
