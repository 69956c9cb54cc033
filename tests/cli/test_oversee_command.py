from __future__ import annotations

import json
from pathlib import Path

import pytest

from kilter.cli.main import execute
from kilter.record import Workspace

STUDY = """
cases: {testbed: stories, n: 24, words: 200}
arms: [none, critiques, oracle]
raters: {kind: simulated, count: 12}
expected: {ratio: 2}
"""


def test_a_study_runs_and_is_reported_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, place = tmp_path / "small.yaml", tmp_path / "w"
    file.write_text(STUDY)
    assert execute(["oversee", "run", str(file), "--workspace", str(place)]) == 0
    assert "simulated raters found" in capsys.readouterr().out
    folder = place / "runs" / "small"
    first = json.loads((folder / "summary.json").read_text())
    (folder / "summary.json").unlink()
    assert execute(["oversee", "report", "small", "--workspace", str(place)]) == 0
    assert json.loads((folder / "summary.json").read_text()) == first
    with Workspace.open(place) as opened:
        (run,) = opened.record.runs()
        assert (run.name, run.status, len(run.inputs)) == ("oversight/small", "done", 24)
        figures = opened.record.evidence(run=run.run_id)
        assert {one.metric for one in figures} >= {"found_ratio_oracle", "flaws_found_none"}
        assert opened.record.json(run.outputs[0]) == first
        size = opened.record.size()
    assert execute(["oversee", "run", str(file), "--workspace", str(place)]) == 0
    with Workspace.open(place) as opened:
        assert opened.record.size() == size
        assert opened.record.verify().ok


def test_what_cannot_be_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, place = tmp_path / "small.yaml", tmp_path / "w"
    file.write_text("raters: {kind: simulated, count: 5}\ncases: {n: 10, words: 200}\n")
    assert execute(["oversee", "run", str(file), "--workspace", str(place)]) == 2
    assert "would be too small" in capsys.readouterr().err
    assert execute(["oversee", "report", "nothing", "--workspace", str(place)]) == 3
    assert "There is no study" in capsys.readouterr().err
