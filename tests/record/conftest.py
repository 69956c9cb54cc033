"""Every test of the record that opens one runs on SQLite and on PostgreSQL."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from places import Place

from kilter.record import Record, Workspace


@pytest.fixture(params=["sqlite", "postgresql"])
def place(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Place:
    """An empty place for rows; also for every workspace that the test opens without saying where its rows are."""
    found = Place(request.getfixturevalue("postgresql_server") if request.param == "postgresql" else None)
    if found.address is not None:
        monkeypatch.setenv("KILTER_DATABASE", found.address)
    return found


@pytest.fixture
def workspace(tmp_path: Path, place: Place) -> Iterator[Workspace]:
    with Workspace.open(tmp_path / "workspace") as opened:
        yield opened


@pytest.fixture
def record(workspace: Workspace) -> Record:
    return workspace.record
