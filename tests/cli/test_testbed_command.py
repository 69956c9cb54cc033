from __future__ import annotations

import json
from pathlib import Path

import pytest

from kilter.cli.main import execute
from kilter.oversight.study import CasesSettings, cases_of
from kilter.sandbox import protection
from kilter.testbeds import read_cases
from kilter.testbeds.code import load_bugs
from kilter.testbeds.reasoning import load_prm800k
from kilter.testbeds.stories import load_faithfulness


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


def step(text: str, rating: int) -> dict[str, object]:
    return {"completions": [{"text": text, "rating": rating}], "chosen_completion": 0}


def test_labeled_solutions_are_written_as_cases_that_a_study_reads(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"question": {"problem": "2 + 2?"}, "label": {"steps": [step("Add.", 1), step("It is 5.", -1)]}}
    (tmp_path / "prm.jsonl").write_text(json.dumps(row) + "\n")
    out = tmp_path / "cases.jsonl"
    command = ["testbed", "load", "prm800k", str(tmp_path / "prm.jsonl"), "--split", "test", "--out", str(out)]
    assert execute(command) == 0
    assert "1 cases, 1 with 1 flaws" in capsys.readouterr().out
    assert cases_of(CasesSettings(file=str(out))) == load_prm800k(tmp_path / "prm.jsonl", "test")


def test_annotated_summaries_are_written_as_cases(tmp_path: Path) -> None:
    row = {"id": 7, "summary": "It rained. It blew.", "worker_id": "a", "spans": [{"start": 3, "end": 9}]}
    row["spans"][0]["type"] = "extrinsic"  # type: ignore[index]
    (tmp_path / "spans.jsonl").write_text(json.dumps(row) + "\n")
    (tmp_path / "docs.csv").write_text("id,document\n7,It blew.\n")
    files = [str(tmp_path / "spans.jsonl"), "--documents", str(tmp_path / "docs.csv"), "--agreed", "1"]
    out = tmp_path / "cases.jsonl"
    assert execute(["testbed", "load", "faithfulness", *files, "--out", str(out)]) == 0
    assert read_cases(out) == load_faithfulness(tmp_path / "spans.jsonl", tmp_path / "docs.csv", agreed=1)
    assert len(read_cases(out)[0].flaws) == 1


@pytest.mark.skipif(protection() == "limits", reason="this system cannot hold code of others")
def test_collected_bugs_are_written_as_cases(tmp_path: Path) -> None:
    row = {
        "task": "Double it.", "correct": "def f(x):\n    return 2 * x", "buggy": "def f(x):\n    return x",
        "tests": ["assert f(2) == 4"],
    }  # fmt: skip
    (tmp_path / "bugs.jsonl").write_text(f"{json.dumps(row)}\n{json.dumps(row)}\n")
    out = tmp_path / "cases.jsonl"
    command = ["testbed", "load", "bugs", str(tmp_path / "bugs.jsonl"), "--limit", "1", "--out", str(out)]
    assert execute(command) == 0
    assert read_cases(out) == load_bugs(tmp_path / "bugs.jsonl", limit=1)


def test_cases_that_length_gives_away_are_told_from_those_that_it_does_not(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    fair, longer = tmp_path / "fair.jsonl", tmp_path / "longer.jsonl"
    assert execute(["testbed", "generate", "facts", "--n", "60", "--flawed", "1", "--out", str(fair)]) == 0
    rows = [json.loads(line) for line in fair.read_text(encoding="utf-8").splitlines()]
    longer.write_text("\n".join(json.dumps({**row, "response": row["response"] + " So it is." * 20}) for row in rows))
    capsys.readouterr()
    assert execute(["testbed", "check", str(fair)]) == 0
    assert "length alone" in capsys.readouterr().out
    found = {}
    for file in (fair, longer):
        assert execute(["testbed", "check", str(file), "--held-out", str(file), "--json"]) == 0
        found[file] = json.loads(capsys.readouterr().out)["length"]
    assert found[fair]["low"] < 0.6
    assert found[longer]["low"] > 0.9
    assert execute(["testbed", "check", str(tmp_path / "none.jsonl")]) == 3
    assert "There is no file" in capsys.readouterr().err


def test_a_loader_says_what_it_does_not_know(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = ["--out", str(tmp_path / "cases.jsonl")]
    assert execute(["testbed", "load", "prm80k", "x.jsonl", *out]) == 2
    assert "did you mean 'prm800k'" in capsys.readouterr().err
    assert execute(["testbed", "load", "prm800k", "x.jsonl", "--flawed", "0.5", *out]) == 2
    assert "'flawed' is not a setting of 'prm800k'" in capsys.readouterr().err
    assert execute(["testbed", "load", "prm800k", str(tmp_path / "x.jsonl"), *out]) != 0
    assert not (tmp_path / "cases.jsonl").exists()
