"""Several processes train as one does: torchrun with gloo on this machine."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_runs
from safetensors.torch import load_file

from kilter.errors import StorageError
from kilter.training.loop import read_metrics

pytestmark = pytest.mark.usefixtures("running_clock")
SCRIPT = Path(__file__).parent / "together_runs.py"
EXACT = [
    "sft", "sft_float", "reward", "reward_float", "process", "dpo", "dpo_float", "kto", "grpo", "grpo_float",
    "monitored", "episodes", "online", "ppo", "ppo_float", "best", "best_float", "ensemble",
]  # fmt: skip
ROUNDED = ["sft_full", "grpo_full", "ppo_full"]
MOVED = ["sft", "sft_float", "reward", "monitored", "ppo"]


@pytest.fixture(scope="module")
def base(tiny_folder: Callable[..., Path]) -> Path:
    return tiny_folder("llama", 24)


def torchrun(count: int, *given: object) -> None:
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(count)]
    done = subprocess.run(
        [*command, str(SCRIPT), *map(str, given)], capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-6000:]


@pytest.fixture(scope="module")
def alone(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    made: dict[str, Path] = {}

    def make(algorithm: str) -> Path:
        if algorithm not in made:
            made[algorithm] = tmp_path_factory.mktemp("alone") / algorithm
            tiny_runs.run(algorithm, base, made[algorithm])
        return made[algorithm]

    return make


@pytest.fixture(scope="module")
def together(base: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("together")
    torchrun(2, base, folder, 0, *EXACT, *ROUNDED)
    return folder


def assert_alike(one: Path, other: Path, rel: float) -> None:
    """The metrics and the weights of one run, with all its rounds or members, are those of the other."""
    runs = [file.relative_to(other) for file in other.rglob("metrics.jsonl")]
    assert runs
    for run in runs:
        ours, theirs = (read_metrics(place / run) for place in (one, other))
        assert len(ours) == len(theirs) >= tiny_runs.STEPS
        for mine, expected in zip(ours, theirs, strict=True):
            assert mine.keys() == expected.keys()
            for name, value in expected.items():
                assert mine[name] == pytest.approx(value, rel=rel, abs=rel), (run, mine["step"], name)
    for file in other.rglob("*.safetensors"):
        saved, wanted = load_file(one / file.relative_to(other)), load_file(file)
        assert saved.keys() == wanted.keys()
        for name, tensor in wanted.items():
            assert saved[name].dtype == tensor.dtype
            assert saved[name].shape == tensor.shape
            assert float((saved[name] - tensor).float().norm()) <= 30 * rel * float(tensor.float().norm() + 1), name


@pytest.mark.parametrize("algorithm", EXACT)
def test_two_processes_give_the_losses_and_weights_of_one(
    algorithm: str, together: Path, alone: Callable[[str], Path]
) -> None:
    assert_alike(together / algorithm, alone(algorithm), 1e-4)
    assert not list((together / algorithm).rglob("checkpoint*"))


@pytest.mark.parametrize("algorithm", ROUNDED)
def test_in_bfloat16_too_they_start_alike(algorithm: str, together: Path, alone: Callable[[str], Path]) -> None:
    ours, theirs = (read_metrics(place / "metrics.jsonl")[0] for place in (together / algorithm, alone(algorithm)))
    for name in ("loss", "kl", "policy_loss", "value_loss", "length", "reward"):
        if name in theirs:
            assert ours[name] == pytest.approx(theirs[name], rel=2e-2, abs=2e-2), name
    files = list((together / algorithm / "model").glob("model*.safetensors"))
    assert {str(tensor.dtype) for file in files for tensor in load_file(file).values()} == {"torch.bfloat16"}


def test_a_checkpoint_of_two_processes_is_gone_on_with_by_one_and_by_three(
    base: Path, alone: Callable[[str], Path], tmp_path: Path
) -> None:
    torchrun(2, base, tmp_path / "to one", 2, *MOVED)
    with_half_lost = tmp_path / "half lost"
    shutil.copytree(tmp_path / "to one" / "sft", with_half_lost)
    next(with_half_lost.glob("checkpoint-2/shard-00001-*")).unlink()
    with pytest.raises(StorageError, match=r"checkpoint-2 is damaged .*is missing"):
        tiny_runs.run("sft", base, with_half_lost)
    for algorithm in ("sft", "sft_float"):
        shutil.copytree(tmp_path / "to one" / algorithm, tmp_path / "to three" / algorithm)
    torchrun(3, base, tmp_path / "to three", 0, "sft", "sft_float")
    for algorithm in MOVED:
        folder = tmp_path / "to one" / algorithm
        assert (folder / "checkpoint-2" / "header.json").exists()
        assert len(read_metrics(folder / "metrics.jsonl")) == 2
        tiny_runs.run(algorithm, base, folder)
        assert_alike(folder, alone(algorithm), 1e-4)
    for algorithm in ("sft", "sft_float"):
        assert_alike(tmp_path / "to three" / algorithm, alone(algorithm), 1e-4)
