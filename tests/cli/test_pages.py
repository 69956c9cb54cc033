"""The pages that `kilter run` opens while a recipe waits for people."""

from __future__ import annotations

import importlib
import re
import socket
from collections.abc import Callable
from pathlib import Path

import httpx2
import pytest
from fastapi import FastAPI
from fastapi.testclient import TestClient

from kilter.cli import pages
from kilter.cli.main import execute
from kilter.cli.pages import open_pages, owner_link
from kilter.errors import SettingsError
from kilter.feedback.accounts import People
from kilter.oversight.study import Study
from kilter.record import Workspace


@pytest.fixture(autouse=True)
def free_port(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pages, "PORT", 0)


def test_the_address_and_the_owners_link_work_inside_the_block(tmp_path: Path) -> None:
    told: list[str] = []
    with Workspace.open(tmp_path) as workspace, open_pages(workspace.record, "some-task", told.append):
        first, judge = (re.search(r"http\S+", line)[0] for line in told)  # type: ignore[index]
        assert httpx2.get(first).status_code == 200
        assert judge.endswith("/tasks/some-task/judge")
        assert httpx2.get(judge).headers["location"].startswith("/sign-in")
        assert "the same command goes on" in told[1]
    with pytest.raises(httpx2.TransportError):
        httpx2.get(judge)


def test_whose_workspace_has_an_owner_is_shown_no_link(tmp_path: Path) -> None:
    told: list[str] = []
    with Workspace.open(tmp_path) as workspace:
        people = People(workspace.record)
        link = owner_link(people, "http://here")
        assert link is not None
        people.join(link.rpartition("/")[2], "Ann", "four unrelated words")
        assert owner_link(people, "http://here") is None
        with open_pages(workspace.record, "some-task", told.append):
            assert len(told) == 1


def begin_study(place: Path) -> None:
    folder = place / "runs" / "begun-here"
    folder.mkdir(parents=True)
    (folder / "study.json").write_text(Study(name="begun-here").model_dump_json())


def test_the_pages_of_a_study_show_the_workspaces_studies(tmp_path: Path) -> None:
    begin_study(tmp_path)
    told: list[str] = []
    with Workspace.open(tmp_path) as workspace:
        people = People(workspace.record)
        owner = people.join(people.invite("owner"), "Ann", "four unrelated words")
        cookies = {"kilter_session": people.open_session(owner.id)}
        with open_pages(workspace.record, "some-task", told.append, workspace.runs):
            address = told[0].split()[2].partition("/tasks/")[0]
            assert "begun-here" in httpx2.get(f"{address}/studies", cookies=cookies).text


def test_feedback_serve_shows_the_workspaces_studies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    begin_study(tmp_path)
    shown = []

    def run(app: FastAPI, host: str, port: int, ready: Callable[[str], None], proxy: str | None) -> None:
        assert proxy == "10.0.0.0/24"
        people = app.state.site.people
        owner = people.join(people.invite("owner"), "Ann", "four unrelated words")
        browser = TestClient(app)
        browser.cookies.set("kilter_session", people.open_session(owner.id))
        shown.append(browser.get("/studies").text)

    monkeypatch.setattr(importlib.import_module("kilter.serving.running"), "run", run)
    words = ["feedback", "serve", "--workspace", str(tmp_path), "--proxy"]
    assert execute([*words, "10.0.0.0/24"]) == 0
    assert "begun-here" in shown[0]
    assert execute([*words, "nginx"]) == SettingsError.exit_code


def test_a_port_that_is_taken_does_not_stop_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(pages, "PORT", port)
        told: list[str] = []
        with Workspace.open(tmp_path) as workspace, open_pages(workspace.record, "some-task", told.append):
            assert f":{port}/" not in told[0]
