"""A real cluster of two nodes on this machine: the same rows as without it, and what happens when workers die."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import cheap_steps
import light_jobs
import pytest
import yaml
from test_steps import QUICKSTART, RECIPES, make_speaking_model

import kilter
from kilter.errors import DataError, WorkerError
from kilter.recipes import Part, RunResult, Workers, fan_out, open_workers, run_recipe, run_sweep, runner
from kilter.recipes import recipe as recipes
from kilter.recipes.rows import read_dicts
from kilter.record import Workspace

ray: Any = pytest.importorskip("ray")
STORE = 80 * 2**20  # bytes, the least that Ray takes


@pytest.fixture(scope="module")
def told() -> list[str]:
    return []


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    from ray.cluster_utils import Cluster

    patch = pytest.MonkeyPatch()
    patch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    patch.setenv("RAY_AUTH_TOKEN", secrets.token_hex(32))  # else Ray writes one into the home folder
    patch.setenv("RAY_worker_niceness", "0")  # workers would starve beside other tests
    here, source = Path(__file__).parent, Path(kilter.__file__).parents[1]
    patch.setenv("PYTHONPATH", os.pathsep.join([str(here), str(source)]))  # where workers find `light_jobs`
    node = {"num_cpus": 1, "object_store_memory": STORE}
    cluster = Cluster(initialize_head=True, head_node_args={**node, "include_dashboard": False})
    cluster.add_node(**node)
    yield cluster.address
    cluster.shutdown()
    patch.undo()


@pytest.fixture(scope="module")
def workers(address: str, told: list[str]) -> Iterator[Workers]:
    """One connection for all tests: whoever opens the same cluster meanwhile uses it, and keeps its processes."""
    with open_workers(address, told.append) as opened:
        yield opened


def test_parts_are_done_on_both_nodes_and_come_in_order(
    workers: Workers, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert workers.slots == 2
    parts = [Part(str(number), {"folder": str(tmp_path), "number": number, "last": 3}) for number in range(4)]
    assert list(fan_out(light_jobs.late_first, parts, workers)) == [0, 1, 2, 3]
    nodes = {one["NodeID"] for one in ray.nodes() if one["Alive"]}
    assert len(nodes) == 2
    monkeypatch.chdir(tmp_path)
    found = list(fan_out(light_jobs.where, [Part(str(number), number) for number in range(8)], workers))
    assert os.getpid() not in {pid for pid, _ in found}
    assert {folder for _, folder in found} == {str(tmp_path)}  # a relative path means the same there


def test_a_killed_worker_is_replaced_and_its_part_counted_once(
    workers: Workers, told: list[str], tmp_path: Path
) -> None:
    told.clear()
    parts = [Part(f"part {n}", {"log": str(tmp_path / str(n)), "times": int(n == 1), "value": n}) for n in range(4)]
    assert list(fan_out(light_jobs.die, parts, workers)) == [0, 1, 2, 3]
    attempts = [(tmp_path / str(number)).read_text().splitlines() for number in range(4)]
    assert [len(one) for one in attempts] == [1, 2, 1, 1]
    assert len(set(attempts[1])) == 2  # another process
    [retry] = workers.take_retries()
    assert (retry.part, retry.attempt) == ("part 1", 1)
    assert "WorkerCrashedError" in retry.reason
    [line] = told
    assert "part 1: its worker was lost" in line
    assert "attempt 2 of 3" in line
    assert workers.take_retries() == []


def test_a_part_that_kills_every_worker_is_given_up(workers: Workers, tmp_path: Path) -> None:
    log = tmp_path / "log"
    with pytest.raises(WorkerError, match=r"the deadly part: its worker was lost 3 times"):
        list(fan_out(light_jobs.die, [Part("the deadly part", {"log": str(log), "times": 99, "value": 0})], workers))
    assert log.read_text().count("\n") == 3
    assert len(workers.take_retries()) == 3


def test_an_error_of_the_job_is_raised_with_its_part_and_not_tried_again(workers: Workers) -> None:
    parts = [Part(f"part {number}", number) for number in range(3)]
    with pytest.raises(DataError, match=r"^part 1: It holds nothing\.$"):
        list(fan_out(light_jobs.refuse, parts, workers))
    with pytest.raises(ZeroDivisionError) as caught:
        list(fan_out(light_jobs.fault, parts, workers))
    assert caught.value.__notes__ == ["It happened in: part 1."]
    assert workers.take_retries() == []


def test_leaving_early_cancels_the_rest(workers: Workers, tmp_path: Path) -> None:
    endless = Part("endless", {"folder": str(tmp_path), "number": 0, "last": 1})
    results = fan_out(light_jobs.late_first, [Part("quick", {**endless.data, "number": 2}), endless], workers)
    assert next(results) == 2
    results.close()  # type: ignore[attr-defined]
    assert list(fan_out(light_jobs.double, [Part(str(n), n) for n in range(4)], workers)) == [0, 2, 4, 6]


def test_a_function_that_no_worker_could_find_is_refused(workers: Workers) -> None:
    with pytest.raises(TypeError, match="no function at the top of a module"):
        list(fan_out(lambda data: data, [Part("one", 1)], workers))


def test_other_versions_on_a_node_are_refused(workers: Workers, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(workers, "_versions", {"kilter": "0.0.1", "torch": "2.0.0", "transformers": "5.0.0"})
    with pytest.raises(WorkerError, match=r"instead of 0\.0\.1.*install on every node"):
        list(fan_out(light_jobs.double, [Part("one", 1)], workers))


@pytest.fixture
def demo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(recipes, "kinds", lambda: cheap_steps.KINDS)
    monkeypatch.setattr(runner, "release_memory", lambda: None)
    file = tmp_path / "demo.yaml"
    file.write_text(cheap_steps.RECIPE)
    return file


def test_a_lost_worker_is_on_the_record_of_the_run(workers: Workers, address: str, demo: Path, tmp_path: Path) -> None:
    result = run_recipe(demo, [f"numbers.log={tmp_path / 'log'}"], workspace=tmp_path / "w", on=address)
    assert result.outputs["numbers"].result["found"] == [0, 2, 4, 6, 100]
    with Workspace.open(tmp_path / "w", create=False) as workspace:
        [artifact] = workspace.record.artifacts("retries")
        [retry] = workspace.record.json(artifact.id)
        run = workspace.record.run(result.outputs["numbers"].run)
    assert (retry["part"], retry["attempt"]) == ("the dying part", 1)
    assert artifact.id in run.outputs


ROWS = {"comparisons": ("comparisons", "heldout", "labels", "raters"), "evaluate": ("responses", "abilities")}


def content(workspace: Path, result: RunResult) -> dict[str, Any]:
    """All that must be the same: the files of the steps that fan out, judgments and artifacts."""
    found: dict[str, Any] = {
        f"{step}/{name}": read_dicts(result.outputs[step].folder / f"{name}.jsonl")
        for step, names in ROWS.items()
        for name in names
    }
    with Workspace.open(workspace, create=False) as opened:
        record = opened.record
        assert record.verify().ok
        found["judgments"] = [one.id for one in record.judgments()]
        for kind in ("demonstrations", "comparison", "dataset", "model"):
            found[kind] = [one.id for one in record.artifacts(kind)]
    return found


def without_ppo(folder: Path) -> Path:
    """The quickstart as far as it fans out: the SFT model is evaluated in the place of PPO's."""
    tree = yaml.safe_load((RECIPES / "quickstart.yaml").read_text())
    steps = {name: step for name, step in tree["steps"].items() if name not in ("ppo", "report")}
    steps["evaluate"] = {"inputs": {"policy": "sft"}}
    file = folder / "short.yaml"
    file.write_text(yaml.safe_dump({**tree, "steps": steps}, sort_keys=False))
    return file


def test_the_rows_are_the_same_as_without_a_cluster(workers: Workers, address: str, tmp_path: Path) -> None:
    alone, apart = tmp_path / "alone", tmp_path / "apart"
    recipe = without_ppo(tmp_path)
    pairs = [f"model.name={make_speaking_model(tmp_path / 'model')}"]
    pairs += [pair for pair in QUICKSTART if not pair.startswith(("ppo.", "report."))]
    # Enough comparisons for several batches, so that both nodes sample.
    pairs += ["data.comparisons=60", "comparisons.heldout=0.4"]
    first = run_recipe(recipe, pairs, workspace=alone)
    shutil.copytree(alone, apart, symlinks=True)  # what was trained stays; other rows would lie beside the first ones
    for step in ROWS:
        [done] = (apart / "steps").glob(f"{step}-*/step.json")
        for file in done.parent.iterdir():
            file.unlink()
    states: list[tuple[str, str]] = []
    second = run_recipe(recipe, pairs, workspace=apart, on=address, on_step=lambda *state: states.append(state))
    assert [name for name, state in states if state == "done"] == list(ROWS)
    found, expected = content(apart, second), content(alone, first)
    for name in expected:
        assert found[name] == expected[name], name
    assert len(expected["judgments"]) > 60


def test_a_sweep_on_a_cluster_is_the_sweep_without(workers: Workers, address: str, demo: Path, tmp_path: Path) -> None:
    settings = ["scaled.factor=1,2,3", "scaled.broken=2"]
    tables, records = [], []
    for on in ("here", address):
        root = tmp_path / on.partition(":")[0]
        result = run_sweep(demo, settings, workspace=root, on=on, figures=["mean", "most"])
        assert [row.combination.values["scaled.factor"] for row in result.failed] == ["2"]
        tables.append([(result.folder / f"table.{kind}").read_text() for kind in ("md", "csv")])
        with Workspace.open(root, create=False) as workspace:
            record = workspace.record
            assert record.verify().ok
            kinds = {kind: sorted(one.id for one in record.artifacts(kind)) for kind in ("numbers", "scaled", "model")}
            evidence = sorted((one.metric, one.value, one.n) for one in record.evidence())
            runs = sorted((one.name, one.status) for one in record.runs())
            records.append((kinds, evidence, runs))
    assert tables[0] == tables[1]
    assert records[0] == records[1]
    assert "| 3 | 9 [0, 18], n = 4 | 18 [0, 18], n = 4 |" in tables[0][0]


def test_a_step_of_a_sweep_whose_worker_dies_is_done_again_and_recorded_once(
    workers: Workers, address: str, demo: Path, tmp_path: Path
) -> None:
    # In a sweep the whole step is a worker's, its parts included: the part that kills its process takes the step along.
    result = run_sweep(
        demo, [f"numbers.log={tmp_path / 'log'}", "scaled.factor=1,2"], workspace=tmp_path / "w", on=address
    )
    assert result.failed == []
    assert [row.figures["most"]["value"] for row in result.rows] == [100, 200]
    with Workspace.open(tmp_path / "w", create=False) as workspace:
        record = workspace.record
        assert record.verify().ok
        assert len(record.artifacts("numbers")) == 1
        [artifact] = record.artifacts("retries")
        assert record.json(artifact.id)[0]["part"] == "numbers of scaled.factor=1"
        assert sorted(one.name for one in record.runs()) == [
            "demo-scaled-factor-1-" + result.rows[0].combination.name[-6:] + "/report",
            "demo-scaled-factor-2-" + result.rows[1].combination.name[-6:] + "/report",
            "demo/numbers", "demo/scaled", "demo/scaled",
        ]  # fmt: skip
