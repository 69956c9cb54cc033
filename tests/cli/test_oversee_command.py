from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from kilter.cli.main import execute
from kilter.oversight.study import CasesSettings, cases_of, flaw_types
from kilter.record import Workspace
from kilter.serving import running
from kilter.testbeds import read_cases

KEY = "sk-not-to-be-told-0123456789"
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


def test_what_raters_marked_is_written_as_cases(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, place, out = tmp_path / "small.yaml", tmp_path / "w", tmp_path / "cases.jsonl"
    file.write_text(STUDY)
    assert execute(["oversee", "run", str(file), "--workspace", str(place)]) == 0
    command = ["oversee", "export", "small", "--workspace", str(place), "--out", str(out)]
    assert execute([*command, "--arm", "oracle", "--arm", "critiques", "--share", "0.3"]) == 0
    assert "24 cases" in capsys.readouterr().out
    cases = read_cases(out)
    assert {one.hidden["raters"] for one in cases} == {8}
    assert all("planted" not in one.hidden and (one.flaws or one.correct == one.response) for one in cases)
    assert any(one.flaws for one in cases)
    assert execute([*command, "--arm", "oracel"]) == 2
    assert "did you mean 'oracle'" in capsys.readouterr().err
    assert execute([*command, "--share", "0"]) == 2


@pytest.fixture
def guarded() -> Iterator[str]:
    """A model that finds every first step wrong, at an address that needs a key and repeats a wrong one."""
    kind = flaw_types(cases_of(CasesSettings(testbed="reasoning", n=8)))[0]

    async def answer(request: Request) -> JSONResponse:
        given = request.headers.get("authorization", "")
        if given != f"Bearer {KEY}":
            return JSONResponse({"error": {"message": f"{given} is no key"}}, 401)
        if request.url.path == "/v1/models":
            return JSONResponse({"data": [{"id": "guarded"}]})
        return JSONResponse({"choices": [{"message": {"content": f"1 | {kind} | It is another."}}]})

    with running(Starlette(routes=[Route("/{path:path}", answer, methods=["GET", "POST"])])) as address:
        yield address


def test_the_key_of_a_server_is_sent_to_it_and_told_to_nobody_else(
    guarded: str, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    file, place = tmp_path / "keyed.yaml", tmp_path / "w"
    model = f"kind: model, model: '{guarded}', key: KEY_OF_TEST"
    file.write_text(
        f"cases: {{testbed: reasoning, n: 8}}\narms: [none, critiques]\ncritic: {{{model}}}\n"
        f"raters: {{{model}, count: 2}}\nexpected: {{power: 0.01}}\n"
    )
    command = ["oversee", "run", str(file), "--workspace", str(place)]
    assert execute(command) == 2
    assert "environment variable KEY_OF_TEST should hold the server's key" in " ".join(capsys.readouterr().err.split())
    assert not (place / "runs" / "keyed").exists()
    monkeypatch.setenv("KEY_OF_TEST", "sk-wrong-key")
    assert execute(command) != 0
    said = " ".join(capsys.readouterr().err.split())
    assert "with status 401" in said
    assert "sk-wrong-key" not in said
    monkeypatch.setenv("KEY_OF_TEST", KEY)
    assert execute(command) == 0
    told = capsys.readouterr()
    assert KEY not in told.out + told.err
    kept = [one for one in place.rglob("*") if one.is_file()]
    assert any(b"KEY_OF_TEST" in one.read_bytes() for one in kept)
    assert not any(KEY.encode() in one.read_bytes() for one in kept)


def test_what_cannot_be_run_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file, place = tmp_path / "small.yaml", tmp_path / "w"
    file.write_text("raters: {kind: simulated, count: 5}\ncases: {n: 10, words: 200}\n")
    assert execute(["oversee", "run", str(file), "--workspace", str(place)]) == 2
    assert "would be too small" in capsys.readouterr().err
    assert execute(["oversee", "report", "nothing", "--workspace", str(place)]) == 3
    assert "There is no study" in capsys.readouterr().err
