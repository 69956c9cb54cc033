"""The studies of a workspace as they lie there, read without touching them."""

from __future__ import annotations

from pathlib import Path

from kilter.oversight.shelf import report_in, studies_in
from kilter.oversight.study import Study


def begin(runs: Path, name: str, trials: str = "", report: str | None = None) -> Path:
    folder = runs / name
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(Study(name="one", items_per_rater=12).model_dump_json())
    (folder / "trials.jsonl").write_text(trials)
    if report is not None:
        (folder / "report.html").write_text(report)
    return folder


def test_each_study_with_what_was_done_of_it(tmp_path: Path) -> None:
    begin(tmp_path, "b-running", '{"a": 1}\n{"b": 2}\n{"cut o')
    (begin(tmp_path, "a-done", "{}\n" * 237, "<p>done</p>") / "unread.jsonl").write_text("{}\n" * 3)
    (tmp_path / "a-recipe").mkdir()
    done, running = studies_in(tmp_path)
    assert (done.name, done.done, done.planned, done.reported) == ("a-done", 240, 240, True)
    assert (running.name, running.done, running.reported) == ("b-running", 2, False)
    assert (tmp_path / "b-running" / "trials.jsonl").read_text().endswith("cut o"), "it may be written just now"


def test_a_damaged_study_is_listed_as_one(tmp_path: Path) -> None:
    (begin(tmp_path, "odd") / "study.json").write_text("{")
    [found] = studies_in(tmp_path)
    assert (found.name, found.study) == ("odd", None)


def test_nothing_outside_of_the_folder_is_given_away(tmp_path: Path) -> None:
    runs, elsewhere = tmp_path / "runs", tmp_path / "elsewhere"
    begin(elsewhere, "secret", report="secret")
    folder = begin(runs, "linked")
    (folder / "report.html").symlink_to(elsewhere / "secret" / "report.html")
    (runs / "folder").symlink_to(elsewhere / "secret")
    begin(runs, "Odd Name", report="odd")
    assert [one.name for one in studies_in(runs)] == ["linked"]
    for name in ("linked", "folder", "../elsewhere/secret", "Odd Name", "nothing", ""):
        assert report_in(runs, name) is None
    begin(runs, "fine", report="fine")
    assert report_in(runs, "fine") == runs / "fine" / "report.html"
