"""`torchrun -m kilter`: two processes do one command, and the user is told once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from kilter.training.loop import read_metrics

WORDS = ["rain", "bees", "eggs", "moon"]


@pytest.fixture(autouse=True)
def data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [json.dumps({"prompt": f"Say {word}", "response": word}) for word in WORDS]
    Path("data.jsonl").write_text("\n".join(rows))


def torchrun(*words: str) -> subprocess.CompletedProcess[str]:
    launcher = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    return subprocess.run(
        [*launcher, "-m", "kilter", *words], capture_output=True, text=True, check=False, timeout=280,
        env={**os.environ, "OMP_NUM_THREADS": "1", "COLUMNS": "200"},
    )  # fmt: skip


@pytest.mark.slow
def test_two_processes_train_and_one_talks(tiny_folder: Callable[..., Path]) -> None:
    done = torchrun("train", "sft", "--model", str(tiny_folder()), "--data", "data.jsonl", "--output", "out",
                    "--lora.rank", "2", "--lora.alpha", "4", "batch_size=2", "epochs=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("Model: out/model") == done.stdout.count("heldout_loss_after: ") == 1
    assert Path("out/model/adapter_model.safetensors").exists()
    assert [row["step"] for row in read_metrics(Path("out/metrics.jsonl"))] == [0, 1, 2]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["train", "sft", "--data", "data.jsonl", "batch_sise=2"], 2, "did you mean 'batch_size'?"),
        (["train", "sft", "--model", "nowhere", "--data", "data.jsonl"], 4, "There is no model 'nowhere'"),
        (["models", "list"], 2, "'kilter models' works in one process, and torchrun started several"),
    ],
)
def test_what_is_wrong_is_said_once_with_its_exit_code(words: list[str], code: int, said: str) -> None:
    done = torchrun(*words)
    assert done.returncode == 1  # torchrun's own
    assert f"exitcode  : {code} " in done.stderr
    assert done.stderr.count(said) == 1, done.stderr
    assert "(process 1)" not in done.stderr
    assert not Path("trained").exists()
