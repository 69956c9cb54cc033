"""`kilter serve`, and the commands that sample or judge at its address."""

from __future__ import annotations

import json
import os
import re
import select
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from types import ModuleType
from typing import Any

import httpx2
import pytest

from kilter.cli.main import execute
from kilter.training.loop import read_metrics

LORA = ["--lora.rank", "2", "--lora.alpha", "4"]


@pytest.fixture
def prompts(tmp_path: Path) -> str:
    file = tmp_path / "prompts.jsonl"
    file.write_text("".join(json.dumps({"prompt": f"Say {word}"}) + "\n" for word in ("rain", "bees", "eggs", "moon")))
    return str(file)


def train(method: str, base: str, prompts: str, output: Path, *more: str) -> list[str]:
    return [
        "train", method, "--model", base, "--data", prompts, "--output", str(output), "max_new_tokens=8", "prompts=4",
        "max_kl=1000", *LORA, *more,
    ]  # fmt: skip


def test_it_serves_until_interrupted(tiny_folder: Callable[..., Path]) -> None:
    command = [
        sys.executable,
        "-c",
        "from kilter.cli import main; main()",
        "serve",
        str(tiny_folder()),
        "--port",
        "0",
        "--name",
        "tiny",
    ]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert select.select([process.stdout], [], [], 120)[0]
        said = process.stdout.readline()
        found = re.fullmatch(r"tiny at (http://127\.0\.0\.1:\d+); Ctrl-C ends\.\n", said)
        assert found, said
        assert httpx2.get(f"{found[1]}/v1/models").json()["data"][0]["id"] == "tiny"
        process.send_signal(signal.SIGINT)
        _, wrong = process.communicate(timeout=60)
    assert process.returncode == 0, wrong
    assert wrong == ""


def test_what_it_refuses(
    tiny_folder: Callable[..., Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = str(tiny_folder())
    monkeypatch.delenv("NO_SUCH_KEY", raising=False)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for more, said in [
            (["--host", "0.0.0.0"], "needs a key"),
            (["--key", "NO_SUCH_KEY"], "NO_SUCH_KEY should hold"),
            (["--adapters", str(tmp_path / "none")], "There is no folder"),
            (["--port", port], "Choose another --port"),
        ]:
            assert execute(["serve", base, *more]) == 2
            assert said in capsys.readouterr().err.replace("\n", " ")


def test_a_dead_server_ends_the_command_and_the_same_command_goes_on(
    tiny_folder: Callable[..., Path], tiny_lm: Callable[..., Any], tmp_path: Path, prompts: str, impatient: None,
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    from kilter.serving import ServedModel, create_app, running

    monkeypatch.setenv("SERVER_KEY", "sk-very-secret")
    app = create_app(ServedModel(tiny_lm(dtype="auto"), "tiny", tmp_path), "sk-very-secret")
    hook = ModuleType("kilter_test_hook")
    monkeypatch.setitem(sys.modules, "kilter_test_hook", hook)
    (tmp_path / "mine.py").write_text(
        "import kilter_test_hook\n"
        "def short(prompts, responses):\n"
        "    kilter_test_hook.called()\n"
        "    return [-len(one) for one in responses]\n"
    )
    calls: list[int] = []
    mortal = ExitStack()
    address = mortal.enter_context(running(app))

    def called() -> None:
        calls.append(1)
        if len(calls) == 2:
            mortal.close()

    hook.called = called  # type: ignore[attr-defined]
    more = ["--reward", f"{tmp_path / 'mine.py'}:short", "steps=4", "samples=4", "--server-key", "SERVER_KEY"]
    base = str(tiny_folder())
    command = train("grpo", base, prompts, tmp_path / "killed", *more, "--server", address)
    assert execute(command) == 8
    said = " ".join(capsys.readouterr().err.split())
    assert f"Error: The server at {address} did not answer" in said
    assert "the same command goes on from there" in said
    assert len(read_metrics(tmp_path / "killed" / "metrics.jsonl")) == 2
    with running(app, port=int(address.rpartition(":")[2])):
        assert execute(command) == 0
        assert execute(train("grpo", base, prompts, tmp_path / "whole", *more, "--server", address)) == 0
    assert read_metrics(tmp_path / "killed" / "metrics.jsonl") == read_metrics(tmp_path / "whole" / "metrics.jsonl")
    weights = [(tmp_path / name / "model" / "adapter_model.safetensors").read_bytes() for name in ("killed", "whole")]
    assert weights[0] == weights[1]
    everything = capsys.readouterr()
    written = [file.read_bytes() for file in tmp_path.rglob("*") if file.is_file()]
    assert "sk-very-secret" not in said + everything.out + everything.err
    assert not any(b"sk-very-secret" in text for text in written)


def test_online_dpo_by_a_judge_at_an_address(
    tiny_folder: Callable[..., Path], tmp_path: Path, prompts: str, pretend: Callable[..., str],
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    asked: list[Any] = []

    def chat(method: str, path: str, body: Any) -> tuple[int, Any]:
        asked.append(body)
        texts = re.findall(r"^<response \w \w+>\n(.*?)\n</response", body["messages"][0]["content"], re.M | re.S)
        best = "AB"[len(texts[1]) > len(texts[0])]
        return 200, {"choices": [{"message": {"content": f"Ranking: {best} > {'AB'[best == 'A']}"}}]}

    monkeypatch.setenv("JUDGE_KEY", "sk-very-secret")
    address = f"{pretend(chat)}/v1#chatty"
    command = train("online-dpo", str(tiny_folder()), prompts, tmp_path / "out", "steps=2", "--reward", address)
    assert execute([*command, "--reward-key", "JUDGE_KEY"]) == 0
    assert len(asked) == 2 * 4 * 2
    assert {body["model"] for body in asked} == {"chatty"}
    rows = read_metrics(tmp_path / "out" / "metrics.jsonl")
    assert all(row["unreadable"] == 0 and 0 <= row["ties"] < 1 for row in rows)
    capsys.readouterr()
    grpo = train("grpo", str(tiny_folder()), prompts, tmp_path / "grpo", "steps=2", "--reward", address)
    assert execute(grpo) == 2
    assert "orders responses and gives no rewards" in " ".join(capsys.readouterr().err.split())
    (tmp_path / "mine.py").write_text("def short(prompts, responses):\n    return [-len(one) for one in responses]\n")
    function = ["--reward", f"{tmp_path / 'mine.py'}:short", "--reward-key", "JUDGE_KEY"]
    assert execute(train("online-dpo", str(tiny_folder()), prompts, tmp_path / "no", *function)) == 2
    assert "reward_key has no effect" in " ".join(capsys.readouterr().err.split())


def test_a_note_is_printed(
    tiny_folder: Callable[..., Path], serve: Callable[..., str], tmp_path: Path, prompts: str,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    (tmp_path / "mine.py").write_text("def short(prompts, responses):\n    return [-len(one) for one in responses]\n")
    more = ["--reward", f"{tmp_path / 'mine.py'}:short", "--server", serve(), "--server-sync", "fixed"]
    assert os.environ.get("SERVER_KEY") is None
    assert execute(train("grpo", str(tiny_folder()), prompts, tmp_path / "out", "steps=1", "samples=4", *more)) == 0
    assert "Note: Every response was sampled by the server's model as it was at the start" in capsys.readouterr().out
