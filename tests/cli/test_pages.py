"""The pages that `kilter run` opens while a recipe waits for people."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import httpx2
import pytest

from kilter.cli import pages
from kilter.cli.pages import open_pages, owner_link
from kilter.feedback.accounts import People
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


def test_a_port_that_is_taken_does_not_stop_the_recipe(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        monkeypatch.setattr(pages, "PORT", port)
        told: list[str] = []
        with Workspace.open(tmp_path) as workspace, open_pages(workspace.record, "some-task", told.append):
            assert f":{port}/" not in told[0]
