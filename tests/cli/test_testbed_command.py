from __future__ import annotations

import json
from pathlib import Path

import pytest

from kilter.cli.main import execute


def test_show_prints_the_case_with_numbered_flaws(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["testbed", "show", "stories", "--seed", "3", "--words", "200"]) == 0
    shown = capsys.readouterr().out
    for heading in ("Source", "Task", "Response", "Flaws", "Correct", "[1]"):
        assert heading in shown


def test_show_as_json_is_the_same_case_as_generate_writes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "deep" / "cases.jsonl"
    words = ["--seed", "3", "--words", "200", "--flawed", "1"]
    assert execute(["testbed", "generate", "stories", "--n", "3", *words, "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert "3 cases, 3 with" in capsys.readouterr().out
    assert execute(["testbed", "show", "stories", "--number", "2", "--json", *words]) == 0
    assert json.loads(capsys.readouterr().out) == rows[2]


@pytest.mark.parametrize("name", ["facts", "reasoning"])
def test_the_other_testbeds_are_shown_and_written_alike(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["testbed", "show", name, "--seed", "3"]) == 0
    assert "[1]" in capsys.readouterr().out
    out = tmp_path / "cases.jsonl"
    assert execute(["testbed", "generate", name, "--n", "5", "--split", "test", "--out", str(out)]) == 0
    rows = [json.loads(line) for line in out.read_text(encoding="utf-8").splitlines()]
    assert [(row["testbed"], row["split"]) for row in rows] == [(name, "test")] * 5
    assert execute(["testbed", "show", name, "--words", "300"]) == 2
    assert "'words' is not a setting" in capsys.readouterr().err


def test_unknown_names_and_bad_numbers_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["testbed", "show", "storys"]) == 2
    assert "did you mean 'stories'" in capsys.readouterr().err
    assert execute(["testbed", "show", "stories", "--number", "-1"]) == 2
    assert execute(["testbed", "show", "stories", "--words", "50"]) == 3
    assert execute(["testbed", "show", "stories", "--split", "dev", "--words", "200"]) == 3


def test_code_can_be_shown_and_generated(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["testbed", "show", "code", "--seed", "3"]) == 0
    shown = capsys.readouterr().out
    for part in ("def ", ">>>", "[1]", "Correct"):
        assert part in shown
    assert (
        execute(["testbed", "generate", "code", "--n", "4", "--split", "test", "--out", str(tmp_path / "c.jsonl")]) == 0
    )
    assert len((tmp_path / "c.jsonl").read_text(encoding="utf-8").splitlines()) == 4
    assert execute(["testbed", "show", "code", "--words", "300"]) == 2
