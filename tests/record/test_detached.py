from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
from places import Place

from kilter.errors import RecordError
from kilter.record import DetachedRecord, Judgment, Record, Workspace


def fill(record: Record, folder: Path, base: str) -> list[str]:
    """What a step might add: small and large bodies, a judgment, a dataset, a folder."""
    small = record.add_artifact("comparison", {"prompt": "small"}, parents=[base])
    large = record.add_artifact("notes", "x" * 50_000, producer="step")
    judgment = record.add_judgments([Judgment(small, "Which?", "rater", "simulated", 1, seed=3, side_shown=[1, 0])])
    dataset = record.add_dataset([small], judgment, meta={"name": "d"}, parents=[base])
    folder.mkdir(exist_ok=True)
    (folder / "weights").write_bytes(b"w" * 20_000)
    return [small, large, *judgment, dataset, record.add_folder("model", folder, parents=[dataset])]


def test_taken_over_it_is_the_record_that_was_written_directly(
    workspace: Workspace, place: Place, tmp_path: Path
) -> None:
    with Workspace.open(tmp_path / "direct", place.another()) as direct:
        bases = [one.record.add_artifact("base", "b") for one in (workspace, direct)]
        expected = fill(direct.record, tmp_path / "model", bases[1])
        detached = DetachedRecord(workspace.record.blobs.root)
        assert fill(detached, tmp_path / "model", bases[0]) == expected
        assert workspace.record.size() == 1  # nothing is written before it is taken
        workspace.record.take(detached.additions)
        assert workspace.record.root() == direct.record.root()
        assert workspace.record.verify().ok
        for key in (expected[0], expected[1], expected[4]):
            assert workspace.record.body(key) == direct.record.body(key)
        size = workspace.record.size()
        workspace.record.take(detached.additions)  # twice is once
        assert workspace.record.size() == size


def test_what_it_collects_is_plain(workspace: Workspace, tmp_path: Path) -> None:
    detached = DetachedRecord(workspace.record.blobs.root)
    fill(detached, tmp_path / "model", workspace.record.add_artifact("base", "b"))

    def plain(value: Any) -> bool:
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(one) for key, one in value.items())
        if isinstance(value, list | tuple):
            return all(map(plain, value))
        return value is None or isinstance(value, str | int | float | bytes)

    assert all(map(plain, detached.additions))


def test_a_row_that_was_changed_on_the_way_is_refused(workspace: Workspace, tmp_path: Path) -> None:
    detached = DetachedRecord(workspace.record.blobs.root)
    detached.add_artifact("notes", "true")
    forged = copy.deepcopy(detached.additions)
    forged[0]["rows"][0][1]["kind"] = "other"
    with pytest.raises(RecordError, match="changed on its way"):
        workspace.record.take(forged)
    assert workspace.record.size() == 0


def test_a_row_that_speaks_of_what_is_not_there_is_refused(workspace: Workspace) -> None:
    detached = DetachedRecord(workspace.record.blobs.root)
    detached.add_artifact("notes", "child", parents=["0" * 64])
    with pytest.raises(RecordError, match="not on this record"):
        workspace.record.take(detached.additions)
