from __future__ import annotations

import json
from pathlib import Path

import pytest

from kilter.cli.main import execute
from kilter.feedback import read_preferences
from kilter.feedback.tasks import read_items
from kilter.feedback.work import Desk, Rater, Submission
from kilter.record import Workspace

EXPORTS = Path(__file__).parent.parent / "feedback" / "exports"
TASK = """
title: Which answer is better?
questions:
  - {type: comparison, name: comparison}
  - {type: text, name: why, ask: "Why?", required: false}
overlap: {judges: 2}
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "1000")
    (tmp_path / "planets.yaml").write_text(TASK)
    return tmp_path


def feedback(*words: object) -> int:
    return execute(["feedback", *map(str, words)])


def test_from_label_studio_to_training_data(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feedback("import", EXPORTS / "label_studio.json", "--task", "planets.yaml", "--answers", "count") == 0
    said = capsys.readouterr().out
    for line in (
        "format  label-studio: Label Studio's JSON export (told by its content; --format says otherwise)",
        "columns  responses from answer1, answer2",
        "read  label_studio.json: 4 items, 12 old answers of 2 raters; answers left out 7: ",
        "task  'planets': 3 different items, 3 of them new",
        "question  'comparison' is 'comparison' here",
        "question  'safety' is none of this task (--map says which)",
        "counted  4 pieces of old work count toward the task",
    ):
        assert line in said
    assert feedback("export", "planets", "out", "--layout", "preference", "--aggregate", "none") == 0
    said = capsys.readouterr().out
    assert "out: 4 rows of layout preference, from 4 judgments of 2 items by 2 judges" in said
    keep = said.split("keep  ")[1].split()[0]
    dataset = said.split("kilter record show ")[1][:8]
    assert execute(["record", "verify", "--since", keep]) == 0
    assert execute(["record", "show", dataset]) == 0
    assert "label-studio/7" in capsys.readouterr().out
    assert len(read_preferences(folder / "out")) == 4


def test_import_counts_nothing_unless_asked(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feedback("import", EXPORTS / "label_studio_min.json", "--task", "planets.yaml") == 0
    said = capsys.readouterr().out
    assert "counted  none" in said
    assert "raters  1 names or addresses are not on the record; keyed hashes stand for them" in said
    assert feedback("export", "planets", "out.jsonl", "--layout", "preference") == 3
    assert "becomes a row of the layout 'preference': there are no answers yet" in capsys.readouterr().err
    assert not (folder / "out.jsonl").exists()


def test_a_file_of_items_instead_of_a_task(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert feedback("import", EXPORTS / "argilla_datasets.jsonl", "--out", "items.jsonl") == 0
    said = capsys.readouterr().out
    assert "wrote  4 different items to items.jsonl" in said
    assert "left  9 old answers" in said
    items = read_items(folder / "items.jsonl")
    assert [len(one.responses) for one in items] == [2, 2, 1, 2]
    assert not (folder / "workspace").exists()
    assert feedback("import", "items.jsonl", "--out", "items.jsonl") == 3
    assert "--overwrite" in capsys.readouterr().err
    assert feedback("import", "items.jsonl", "--out", "items.jsonl", "--overwrite") == 0
    assert "format  items" in capsys.readouterr().out
    assert read_items(folder / "items.jsonl") == items


def test_columns_and_questions_can_be_named(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [{"q": f"p{n}", "x": "one", "y": "two", "verdict": "second", "who": "ann@example.org"} for n in range(3)]
    (folder / "old.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    words = ("--column", "prompt=q", "--column", "responses=x,y", "--column", "rater=who", "--map",
             "verdict=comparison", "--format", "texts", "--source", "crowd", "--answers", "count")  # fmt: skip
    assert feedback("import", "old.jsonl", "--task", "planets.yaml", *words) == 0
    said = capsys.readouterr().out
    assert "format  texts: prompts, with or without responses\n" in said
    assert "question  'verdict' is 'comparison' here" in said
    with Workspace.open(folder / "workspace") as opened:
        results = Desk(opened.record).results("planets")
    assert [one.value for one in results] == [1, 1, 1]
    assert {one.judge[:8] for one in results} == {"crowd/h-"}


def test_what_was_said_here_is_exported(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "items.jsonl").write_text(json.dumps({"prompt": "p", "responses": ["A", "B"]}) + "\n")
    assert feedback("import", "items.jsonl", "--task", "planets.yaml") == 0
    with Workspace.open(folder / "workspace") as opened:
        desk = Desk(opened.record)
        task, who = desk.task("planets"), Rater("r", "people/r")
        [one] = desk.next(task, who)
        answers = {"comparison": one.sides.index(0), "why": "ü 🪐"}
        desk.submit(task, who, one.id, Submission("k", answers, "2026-01-01T00:00:00Z", {}))
    assert feedback("export", "planets", "sft.parquet", "--layout", "sft") == 0
    assert feedback("export", "planets", "kto.jsonl", "--layout", "kto", "--question", "comparison") == 0
    assert [json.loads(line)["label"] for line in (folder / "kto.jsonl").read_text().splitlines()] == [True, False]
    capsys.readouterr()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [
        (("import", "x.jsonl"), 2, "--task NAME for a task, or --out FILE"),
        (("import", "x.jsonl", "--task", "t", "--out", "o.jsonl"), 2, "not both"),
        (("import", "x.jsonl", "--out", "o.csv"), 2, "end the name in .jsonl"),
        (("import", "x.jsonl", "--out", "o.jsonl", "--answers", "count"), 2, "no use with --out"),
        (("import", "planets.yaml", "--task", "planets.yaml", "--format", "argila"), 2, "did you mean 'argilla'"),
        (("import", "x.jsonl", "--task", "planets.yaml"), 3, "There is no file or folder x.jsonl"),
        (("import", "x.jsonl", "--task", "planets"), 7, "There is no workspace"),
        (("import", "x.jsonl", "--task", "none.yaml"), 2, "There is no task file"),
        (("import", "x.jsonl", "--out", "o.jsonl", "--column", "prompt"), 2, "NAME=THEIRS"),
        (("import", "x.jsonl", "--task", "t", "--map", "a"), 2, "--map a is not of the form THEIRS=OURS"),
        (("export", "planets", "out", "--layout", "raw"), 7, "There is no workspace"),
    ],
)
def test_mistakes_are_one_paragraph(
    words: tuple[str, ...], code: int, message: str, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert feedback(*words) == code
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error
    assert len(error.strip().splitlines()) == 1


def test_a_malformed_line_stops_before_anything_is_written(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "bad.jsonl").write_text('{"prompt": "p", "responses": ["a", "b"]}\n{"prompt": "q", "responses": 3}\n')
    assert feedback("import", "bad.jsonl", "--task", "planets.yaml") == 3
    assert "bad.jsonl, line 2: responses must be texts" in capsys.readouterr().err
    assert not (folder / "workspace").exists()
