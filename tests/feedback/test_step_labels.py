from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError
from kilter.feedback import read_step_labels


def read(folder: Path, *rows: dict[str, Any]) -> Any:
    file = folder / "steps.jsonl"
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read_step_labels(file)


@pytest.mark.parametrize("name", ["steps", "completions"])
def test_steps_and_labels_are_read(name: str, tmp_path: Path) -> None:
    data = read(tmp_path, {"prompt": "p", name: [" a ", "", "b"], "labels": [True, False, 0.25]},
                {"prompt": "q", name: [" "], "labels": [1]})  # fmt: skip
    [one] = data
    assert (one.steps, one.labels) == (("a", "b"), (1.0, 0.25))
    assert one.prompt == [{"role": "user", "content": "p"}]
    assert dict(data.skipped.counts) == {"no steps": 1}
    assert "1 solutions of 2 steps" in data.summary()


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ({"prompt": "p", "steps": ["a"]}, "wanted are prompt, steps"),
        ({"prompt": "p", "steps": "a", "labels": [1]}, "must be a list of texts"),
        ({"prompt": "p", "steps": ["a", "b"], "labels": [1]}, "for each of the 2 steps"),
        ({"prompt": "p", "steps": ["a"], "labels": [2]}, "number from 0 to 1"),
        ({"prompt": "p", "steps": ["a"], "labels": ["yes"]}, "number from 0 to 1"),
        ({"prompt": "p", "steps": ["a"], "labels": True}, "number from 0 to 1"),
    ],
)
def test_what_cannot_be_read_is_an_error(row: dict[str, Any], words: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=words):
        read(tmp_path, row)
