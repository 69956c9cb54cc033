"""A killed run goes on, and its final weights are to the bit those of an undisturbed one."""

from __future__ import annotations

import errno
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import tiny_runs
import torch

from kilter.errors import SettingsError, StorageError
from kilter.training import checkpoint, shares

pytestmark = pytest.mark.usefixtures("running_clock")
SCRIPT = Path(tiny_runs.__file__)
STEPS = tiny_runs.STEPS


@pytest.fixture(scope="session")
def base(tiny_folder: Callable[..., Path]) -> Path:
    return tiny_folder("llama", 24)


@pytest.fixture(scope="session")
def undisturbed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """undisturbed(algorithm) -> the folder of a run that nothing happened to."""
    made: dict[str, Path] = {}

    def make(algorithm: str) -> Path:
        if algorithm not in made:
            made[algorithm] = tmp_path_factory.mktemp(algorithm)
            tiny_runs.run(algorithm, base, made[algorithm])
        return made[algorithm]

    return make


def assert_same(one: Path, other: Path) -> None:
    (tensors, metrics, result), (expected, expected_metrics, expected_result) = map(tiny_runs.outcome, (one, other))
    assert tensors.keys() == expected.keys()
    assert len(tensors) > 1
    assert all(torch.equal(value, expected[key]) for key, value in tensors.items())
    assert metrics == expected_metrics
    assert len(metrics.splitlines()) == STEPS
    assert result == expected_result


class Interrupted(Exception):
    """What a test raises in the middle of a run."""


def stop_at(step: int) -> Callable[..., None]:
    def progress(stage: str, done: int, total: int, metrics: Any) -> None:
        if done == step:
            raise Interrupted

    return progress


@pytest.mark.parametrize("algorithm", tiny_runs.ALGORITHMS)
def test_interrupted_after_every_step_it_ends_to_the_bit_as_undisturbed(
    algorithm: str, base: Path, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    for step in range(1, STEPS + 1):
        with pytest.raises(Interrupted):
            tiny_runs.run(algorithm, base, tmp_path, progress=stop_at(step))
    told: list[int] = []
    tiny_runs.run(algorithm, base, tmp_path, progress=lambda _, done, *__: told.append(done))
    assert told == [STEPS]  # only the last step was left to do
    assert_same(tmp_path, undisturbed(algorithm))


@pytest.mark.parametrize("algorithm", tiny_runs.ALGORITHMS)
def test_the_same_seed_gives_the_same_bits_and_another_seed_others(
    algorithm: str, base: Path, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    tiny_runs.run(algorithm, base, tmp_path / "again")
    assert_same(tmp_path / "again", undisturbed(algorithm))
    tiny_runs.run(algorithm, base, tmp_path / "other", seed=5)
    ours, theirs = tiny_runs.outcome(tmp_path / "other")[0], tiny_runs.outcome(undisturbed(algorithm))[0]
    assert not all(torch.equal(value, theirs[key]) for key, value in ours.items())


KILLS = {
    "sft": [("progress", 1), ("update", 2), ("checkpoint", 1), ("saving", 1)],
    "sft_full": [("update", 2), ("checkpoint", 2)],
    "reward": [("progress", 2), ("update", 1), ("update", 2), ("checkpoint", 1), ("saving", 1)],
    "dpo": [("progress", 1), ("update", 2), ("checkpoint", 1), ("saving", 1)],
    "kto": [("update", 2), ("checkpoint", 2), ("saving", 1)],
    "grpo": [("sampling", 25), ("rollout", 2), ("update", 1), ("checkpoint", 1), ("progress", 2), ("saving", 1)],
    "grpo_full": [("rollout", 2), ("update", 2)],
    "monitored": [("rollout", 2), ("progress", 2), ("checkpoint", 1), ("saving", 1)],
    "episodes": [("sampling", 25), ("rollout", 2), ("update", 2)],
    "online": [("sampling", 25), ("update", 2), ("checkpoint", 1)],
    "process": [("update", 2), ("checkpoint", 1), ("saving", 1)],
    "ppo": [
        ("sampling", 25), ("rollout", 2), ("update", 1), ("update", 4), ("checkpoint", 1), ("progress", 2),
        ("saving", 1),
    ],
    "ppo_full": [("rollout", 2), ("update", 3), ("sampling", 60)],
    "sft_upper": [("update", 2)],
    "dpo_upper": [("update", 1), ("checkpoint", 2)],
    "ppo_upper": [("update", 3), ("saving", 1)],
}  # fmt: skip


@pytest.fixture(scope="session")
def killed(base: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, list[int]]]:
    """All runs of KILLS, each killed with SIGKILL and started again until it is through, in one script."""
    root = tmp_path_factory.mktemp("killed")
    jobs = [{"algorithm": name, "folder": str(root / name), "kills": kills} for name, kills in KILLS.items()]
    plan = root / "plan.json"
    plan.write_text(json.dumps({"base": str(base), "jobs": jobs}))
    done = subprocess.run([sys.executable, SCRIPT, plan], capture_output=True, text=True, timeout=240, check=False)
    assert done.returncode == 0, done.stderr
    return root, dict(zip(KILLS, json.loads(done.stdout.splitlines()[-1]), strict=True))


@pytest.mark.parametrize("algorithm", KILLS)
def test_killed_with_signal_nine_it_ends_to_the_bit_as_undisturbed(
    algorithm: str, killed: tuple[Path, dict[str, list[int]]], undisturbed: Callable[[str], Path]
) -> None:
    root, statuses = killed
    assert statuses[algorithm] == [-9] * len(KILLS[algorithm]) + [0]
    assert_same(root / algorithm, undisturbed(algorithm))
    left = {file.name for file in (root / algorithm).iterdir() if not file.name.startswith(".metrics")}
    assert left == {"metrics.jsonl", "result.json", "model"}


@pytest.mark.parametrize("algorithm", tiny_runs.ALGORITHMS)
def test_a_finished_run_is_not_trained_again(
    algorithm: str, base: Path, undisturbed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = undisturbed(algorithm)
    before = tiny_runs.outcome(folder)

    def fail(*_: Any, **__: Any) -> None:
        raise AssertionError("nothing should train or sample here")

    monkeypatch.setattr(shares, "sample", fail)
    result = tiny_runs.run(algorithm, base, folder, progress=fail)
    assert {**result, "seconds": None} == before[2]
    assert tiny_runs.outcome(folder)[1] == before[1]


@pytest.mark.parametrize("algorithm", ["sft", "reward", "ppo"])
def test_an_unfinished_run_refuses_other_settings_and_keeps_its_state(
    algorithm: str, base: Path, tmp_path: Path, undisturbed: Callable[[str], Path]
) -> None:
    with pytest.raises(Interrupted):
        tiny_runs.run(algorithm, base, tmp_path, progress=stop_at(3))
    with pytest.raises(SettingsError, match="unfinished run with other settings or data"):
        tiny_runs.run(algorithm, base, tmp_path, seed=5)
    tiny_runs.run(algorithm, base, tmp_path)
    assert_same(tmp_path, undisturbed(algorithm))


@pytest.mark.parametrize("algorithm", ["sft", "ppo"])
def test_a_full_disk_loses_nothing(
    algorithm: str, base: Path, tmp_path: Path, undisturbed: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    save, room = checkpoint.save_file, [2]

    def full(tensors: Any, file: Path, metadata: Any) -> None:
        if not room[0]:
            file.write_bytes(b"half")
            raise OSError(errno.ENOSPC, "No space left on device")
        room[0] -= 1
        save(tensors, file, metadata=metadata)

    monkeypatch.setattr(checkpoint, "save_file", full)
    with pytest.raises(StorageError, match=r"checkpoint of step 3 .*the disk is full"):
        tiny_runs.run(algorithm, base, tmp_path)
    monkeypatch.undo()
    told: list[int] = []
    tiny_runs.run(algorithm, base, tmp_path, progress=lambda _, done, *__: told.append(done))
    assert told == [3, 4]
    assert_same(tmp_path, undisturbed(algorithm))


def test_threads_do_not_change_what_a_run_is_taken_for(base: Path, tmp_path: Path) -> None:
    """A laptop that had two free cores and has one now must still be able to go on."""
    with pytest.raises(Interrupted):
        tiny_runs.run("ppo", base, tmp_path, progress=stop_at(2))
    threads = torch.get_num_threads()
    torch.set_num_threads(2 if (os.cpu_count() or 1) > 1 else 1)
    try:
        tiny_runs.run("ppo", base, tmp_path)
    finally:
        torch.set_num_threads(threads)
