from __future__ import annotations

import errno
import json
import os
from pathlib import Path

import pytest
from sqlalchemy import event

from kilter.errors import DataError, RecordError, StorageError
from kilter.record import Exposure, Judgment, NewArtifact, Record, Workspace
from kilter.record.bodies import SMALL


def judgment(target: str, **changes: object) -> Judgment:
    fields: dict[str, object] = {"question": "which?", "judge": "ann", "principal": "human", "value": 1}
    return Judgment(target, **{**fields, **changes})  # type: ignore[arg-type]


def test_the_same_artifact_twice_is_one_row(record: Record) -> None:
    one = record.add_artifact("comparison", {"prompt": "hi", "responses": ["a", "b"]})
    two = record.add_artifact("comparison", {"responses": ["a", "b"], "prompt": "hi"})
    assert one == two
    assert record.counts()["artifacts"] == record.counts()["bodies"] == record.size() == 1


def test_kind_producer_and_parents_are_part_of_what_an_artifact_is(record: Record) -> None:
    base = record.add_artifact("model", "weights")
    ids = {
        base,
        record.add_artifact("report", "weights"),
        record.add_artifact("model", "weights", producer="train/sft"),
        record.add_artifact("model", "weights", parents=[base]),
    }
    assert len(ids) == 4
    assert record.counts()["bodies"] == 1
    assert record.verify().ok


@pytest.mark.parametrize("size", [0, 10, SMALL, SMALL + 1, 3_000_000])
def test_bodies_of_any_size_come_back(workspace: Workspace, size: int) -> None:
    content = os.urandom(size)
    key = workspace.record.add_artifact("file", content)
    assert workspace.record.body(key) == content
    files = [path for path in (workspace.root / "blobs").rglob("*") if path.is_file()]
    assert len(files) == (size > SMALL)
    assert workspace.record.verify().bodies == 1


def test_bodies_of_every_type(record: Record) -> None:
    assert record.json(record.add_artifact("a", {"x": [1, 2.5, None]})) == {"x": [1, 2.5, None]}
    assert record.json(record.add_artifact("a", ["é"])) == ["é"]
    assert record.body(record.add_artifact("a", "é")) == "é".encode()


def test_ids_come_back_in_the_order_given_with_duplicates_inside_one_batch(record: Record) -> None:
    target = record.add_artifact("comparison", {})
    batch = [judgment(target, seed=seed) for seed in (3, 1, 3, 2)]
    ids = record.add_judgments(batch)
    assert ids == [row.id for row in batch]
    assert [row.seed for row in record.judgments()] == [3, 1, 2]
    assert record.add_judgments(batch) == ids
    assert record.size() == 4


def test_judgments_are_found_by_target_and_judge(record: Record) -> None:
    one, two = record.add_artifacts([NewArtifact("comparison", {"n": n}) for n in range(2)])
    record.add_judgments(
        [judgment(one), judgment(two), judgment(one, judge="bob"), judgment(two, judge="bob", value="tie")]
    )
    assert len(record.judgments()) == 4
    assert [row.judge for row in record.judgments(target=one)] == ["ann", "bob"]
    (found,) = record.judgments(target=two, judge="bob")
    assert found == judgment(two, judge="bob", value="tie")


def test_a_correction_is_a_new_row(record: Record) -> None:
    target = record.add_artifact("comparison", {})
    (first,) = record.add_judgments([judgment(target)])
    record.add_judgments([judgment(target, value=0, supersedes=first)])
    assert [(row.value, row.supersedes) for row in record.judgments()] == [(1, None), (0, first)]


def test_what_a_judge_saw_is_kept_beside_the_judgment(record: Record) -> None:
    target, critique = record.add_artifacts([NewArtifact("comparison", {}), NewArtifact("critique", "No.")])
    (judged,) = record.add_judgments([judgment(target)])
    record.add_exposure(judged, critique, opened=True, accepted=False)
    assert record.exposures(judgment=judged) == [Exposure(judged, critique, None, True, False)]


@pytest.mark.parametrize(
    "add",
    [
        lambda r, missing, there: r.add_artifact("model", "x", parents=[there, missing]),
        lambda r, missing, there: r.add_judgments([judgment(there), judgment(missing)]),
        lambda r, missing, there: r.add_judgments([judgment(there), judgment(there, supersedes=missing)]),
        lambda r, missing, there: r.add_exposure(missing, there),
        lambda r, missing, there: r.add_dataset([there], [missing]),
        lambda r, missing, there: r.add_dataset([missing], []),
        lambda r, missing, there: r.start_run("sft", {}, 0, [missing]),
        lambda r, missing, there: r.add_evidence("m", 1.0, 0.9, 1.1, 3, "wilson", missing),
    ],
)
def test_what_is_spoken_of_must_be_there_or_nothing_is_recorded(record: Record, add) -> None:  # type: ignore[no-untyped-def]
    there = record.add_artifact("comparison", {})
    before = record.counts()
    with pytest.raises(RecordError, match="is not on this record"):
        add(record, "f" * 64, there)
    assert record.counts() == before


def test_a_refused_value_leaves_the_whole_batch_out(record: Record) -> None:
    target = record.add_artifact("comparison", {})
    with pytest.raises(DataError, match="nan"):
        record.add_judgments([judgment(target), judgment(target, probability=float("nan"))])
    assert record.counts()["judgments"] == 0


def test_a_run_is_two_rows_and_reads_as_its_last(workspace: Workspace) -> None:
    record = workspace.record
    data, model = record.add_artifacts([NewArtifact("dataset", "d"), NewArtifact("model", "m")])
    metrics = workspace.runs / "sft" / "metrics.jsonl"
    metrics.parent.mkdir()
    metrics.write_text('{"step": 1, "loss": 2.5}\n')

    run = record.start_run("sft", {"lr": 1e-4}, seed=7, inputs=[data])
    started = record.run(run)
    assert (started.status, started.finished, started.outputs) == ("running", None, ())
    assert started.config == {"lr": 1e-4}
    assert started.code["kilter"]
    assert started.environment["libraries"]["torch"]

    record.finish_run(run, [model], metrics, flops=10**25, seconds=3.5)
    ended = record.run(run)
    assert (ended.run_id, ended.status, ended.outputs, ended.flops) == (run, "done", (model,), 1e25)
    assert (ended.started, ended.config, ended.inputs) == (started.started, started.config, (data,))
    assert ended.metrics is not None
    assert record.body(ended.metrics) == metrics.read_bytes()
    assert record.artifact(ended.metrics).kind == "metrics"
    assert record.counts()["runs"] == 2
    assert [row.status for row in record.runs()] == ["done"]


def test_equal_runs_are_two_and_a_failure_can_be_superseded(record: Record) -> None:
    one, two = (record.start_run("sft", {}, 0) for _ in range(2))
    assert one != two
    record.finish_run(one, status="interrupted")
    record.finish_run(one, status="done")
    assert record.run(one).status == "done"
    assert [row.status for row in record.runs()] == ["running", "done"]
    assert [row.run_id for row in record.runs(newest=1)] == [one]
    with pytest.raises(DataError, match="say how it ended"):
        record.finish_run(two, status="running")


def test_a_missing_metrics_file_is_named(record: Record, tmp_path: Path) -> None:
    run = record.start_run("sft", {})
    with pytest.raises(DataError, match=r"gone\.jsonl cannot be read"):
        record.finish_run(run, metrics=tmp_path / "gone.jsonl")
    assert record.run(run).status == "running"


def test_evidence_belongs_to_its_run(record: Record) -> None:
    one, two = record.start_run("eval", {}), record.start_run("eval", {})
    record.add_evidence("gold_win_rate", 0.8, 0.7, 0.9, 200, "cluster bootstrap", one)
    (found,) = record.evidence(run=one)
    assert (found.metric, found.value, found.low, found.high, found.n) == (
        "gold_win_rate",
        0.8,
        0.7,
        0.9,
        200,
    )
    assert record.evidence(run=two) == []


def test_a_folder_is_listed_by_hash_and_its_files_come_back(record: Record, tmp_path: Path) -> None:
    folder = tmp_path / "sft"
    (folder / "adapter").mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    (folder / "adapter" / "weights.safetensors").write_bytes(b"w" * 100_000)
    key = record.add_folder("model", folder, meta={"name": "sft"})
    body = record.json(key)
    assert body["meta"] == {"name": "sft"}
    assert {name: entry["bytes"] for name, entry in body["files"].items()} == {
        "config.json": 2,
        "adapter/weights.safetensors": 100_000,
    }
    files = record.files(key)
    assert files["adapter/weights.safetensors"].read_bytes() == b"w" * 100_000
    assert record.titles([key]) == {key: "sft"}
    assert record.add_folder("model", folder, meta={"name": "sft"}) == key


def test_a_folder_without_its_files_keeps_only_hashes(workspace: Workspace, tmp_path: Path) -> None:
    folder = tmp_path / "base"
    folder.mkdir()
    (folder / "weights").write_bytes(b"w" * 100_000)
    key = workspace.record.add_folder("model", folder, keep_files=False)
    assert not list((workspace.root / "blobs").rglob("*"))
    assert workspace.record.verify().ok
    with pytest.raises(RecordError, match="are not on the record"):
        workspace.record.files(key)


def test_an_empty_folder_is_refused(record: Record, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    for name in ("gone", "empty"):
        with pytest.raises(DataError, match=f"{name} is no folder with files in it"):
            record.add_folder("model", tmp_path / name)


def test_prefixes_find_rows_and_say_when_they_do_not(record: Record) -> None:
    ids = record.add_artifacts([NewArtifact("x", {"n": n}) for n in range(300)])
    assert record.artifact(ids[0]).id == ids[0]
    assert record.artifact(ids[5][:16].upper()).id == ids[5]
    run = record.start_run("sft", {})
    record.finish_run(run)
    found = record.find(run[:20])
    assert getattr(found, "status", None) == "done"
    with pytest.raises(RecordError, match="starts with 'ffffffffff'"):
        record.find("ffffffffff")
    with pytest.raises(RecordError, match="'abc' is no id"):
        record.find("abc")
    with pytest.raises(RecordError, match="is no id"):
        record.find("sft-model")


def test_an_ambiguous_prefix_lists_the_candidates(record: Record) -> None:
    ids = record.add_artifacts([NewArtifact("x", {"n": n}) for n in range(2000)])
    heads = [key[:4] for key in ids]
    shared = next(head for head in heads if heads.count(head) > 1)
    with pytest.raises(RecordError, match=r"several ids: artifact .*, artifact .*Give more") as caught:
        record.find(shared)
    assert all(key[:12] in str(caught.value) for key in ids if key.startswith(shared))


def test_a_full_disk_while_writing_a_body_records_nothing(
    workspace: Workspace, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "fsync", full)
        with pytest.raises(StorageError, match="disk is full"):
            workspace.record.add_artifact("model", b"w" * (SMALL + 1))
    assert workspace.record.counts()["artifacts"] == 0
    assert workspace.record.verify().ok


def test_thousands_of_rows_take_few_statements(record: Record) -> None:
    statements: list[str] = []
    event.listen(record._database.engine, "before_cursor_execute", lambda *a: statements.append(a[2]))
    comparisons = record.add_artifacts([NewArtifact("comparison", {"n": n}) for n in range(3000)])
    ids = record.add_judgments([judgment(key) for key in comparisons])
    record.add_dataset(comparisons, ids)
    assert len(statements) < 60
    assert record.size() == 6001


def test_metrics_larger_than_a_small_body_go_to_a_file(workspace: Workspace) -> None:
    lines = "".join(json.dumps({"step": step, "loss": 1 / (step + 1)}) + "\n" for step in range(2000))
    metrics = workspace.runs / "metrics.jsonl"
    metrics.write_text(lines)
    run = workspace.record.start_run("ppo", {})
    workspace.record.finish_run(run, metrics=metrics)
    kept = workspace.record.run(run).metrics
    assert kept is not None
    assert workspace.record.body(kept).decode() == lines
