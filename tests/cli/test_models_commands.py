from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from kilter.cli.main import execute


@pytest.fixture(autouse=True)
def home(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    monkeypatch.setenv("KILTER_HOME", str(tmp_path / "home"))
    monkeypatch.delenv("KILTER_DEBUG", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path / "home"


def save_model(folder: Path, **config: Any) -> Path:
    """A model folder with one weight of 2 x 3."""
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"architectures": ["LlamaForCausalLM"], **config}))
    save_file({"w": np.zeros((2, 3), np.float32)}, folder / "model.safetensors")
    return folder


def save_adapter(folder: Path) -> Path:
    import numpy as np
    from safetensors.numpy import save_file

    folder.mkdir(parents=True)
    (folder / "adapter_config.json").write_text(json.dumps({"base_model_name_or_path": "base", "r": 4}))
    save_file({"a": np.zeros((4, 3), np.float32)}, folder / "adapter_model.safetensors")
    return folder


def test_list_shows_catalogue_and_trained_models(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "workspace" / "runs" / "first" / "merged")
    save_adapter(tmp_path / "workspace" / "runs" / "first" / "ppo")
    assert execute(["models", "list"]) == 0
    shown = capsys.readouterr().out
    assert "not here yet: kilter models pull smollm2-135m" in shown
    assert "first/merged" in shown
    assert "adapter, rank 4, on base" in shown
    assert str(tmp_path / "workspace" / "runs" / "first" / "ppo")[-20:] in shown


def test_show_tells_what_the_files_say(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_model(tmp_path / "m", num_hidden_layers=3, max_position_embeddings=8192)
    (folder / "chat_template.jinja").write_text("{{ [bold] }}")
    assert execute(["models", "show", str(folder), "--check"]) == 0
    shown = capsys.readouterr().out
    for part in ("LlamaForCausalLM", "6 (F32)", "8,192", "{{ [bold] }}", "not stated", "Not checked"):
        assert part in shown, part


def test_show_finds_altered_files(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = save_model(tmp_path / "m")
    files = {"config.json": {"sha256": "0" * 64, "bytes": 1}}
    said = {"package": "p", "version": "1", "gguf_file": "x.gguf", "wheel_sha256": "w", "gguf_sha256": "g"}
    (folder / "kilter.json").write_text(json.dumps({**said, "pulled": "2026-01-01", "license": "MIT", "files": files}))
    assert execute(["models", "show", str(folder), "--check"]) == 0
    shown = capsys.readouterr().out
    for part in ("package p 1, x.gguf", "MIT", "Altered since they were fetched: config.json"):
        assert part in shown, part


SHAPE = {
    "hidden_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4, "num_key_value_heads": 2,
    "intermediate_size": 128, "vocab_size": 1000,
}  # fmt: skip


def test_plan_says_what_each_method_takes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from kilter.models.estimate import METHODS, Shape, training_memory

    folder = save_model(tmp_path / "m", **SHAPE)
    assert execute(["models", "plan", str(folder), "--tokens", "8192", "--longest", "4096", "--processes", "2"]) == 0
    head, *rows, _ = capsys.readouterr().out.splitlines()
    assert head.split()[:2] == ["method", "adapters"]
    assert [row.split()[0] for row in rows] == list(METHODS)
    shape = Shape(64, 2, 4, 2, 16, 128, 1000, False)
    memory = training_memory(shape, tokens=8192, longest=4096, rank=None, processes=2, recompute=True, method="ppo")
    assert rows[-1].split()[-2:] == [f"{memory.total / 2**30:.1f}", "GiB"]


def test_plan_of_an_adapter_is_that_of_its_base(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    save_model(tmp_path / "base", **SHAPE)  # which the adapter names by this path
    assert execute(["models", "plan", str(tmp_path / "base")]) == 0
    expected = capsys.readouterr().out
    assert execute(["models", "plan", str(save_adapter(tmp_path / "a"))]) == 0
    assert capsys.readouterr().out == expected


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"config.json": {**SHAPE, "intermediate_size": None}}, "config.json does not say intermediate_size"),
        ({"config.json": {"n_embd": 64}}, "does not say hidden_size, num_hidden_layers"),
        ({"config.json": []}, "is not a JSON object"),
        ({"adapter_config.json": {"r": 4}}, "adapter_config.json does not name the adapter's base model"),
        ({"adapter_config.json": {"base_model_name_or_path": "gone"}}, "There is no model 'gone'"),
    ],
)
def test_plan_names_what_a_model_does_not_say(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], files: dict[str, Any], said: str
) -> None:
    folder = save_model(tmp_path / "m")
    for name, content in files.items():
        (folder / name).write_text(json.dumps(content))
    assert execute(["models", "plan", str(folder)]) == 4
    assert said in capsys.readouterr().err


def test_missing_model_is_exit_code_4(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["models", "show", "smolm2"]) == 4
    assert "did you mean 'smollm2-135m'" in capsys.readouterr().err
    assert execute(["models", "plan", "smolm2"]) == 4
    assert "did you mean 'smollm2-135m'" in capsys.readouterr().err
    assert execute(["models", "chat", "smollm2-135m"]) == 4
    assert "kilter models pull smollm2-135m" in capsys.readouterr().err


def test_pull_prints_where_the_model_is(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    from kilter.models import catalogue

    def pull(name: str, *, force: bool, progress: Any) -> Path:
        progress("downloading", 1, 2)
        progress("converting", 1, 2)
        return tmp_path / name

    monkeypatch.setattr(catalogue, "pull", pull)
    assert execute(["models", "pull", "smollm2-135m"]) == 0
    shown = capsys.readouterr()
    assert shown.out == f"smollm2-135m is ready in {tmp_path}/smollm2-135m\n"
    assert shown.err == ""


def test_pull_shows_bars_on_a_terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    import pty

    from kilter.models import catalogue

    def pull(name: str, *, force: bool, progress: Any) -> Path:
        for done in range(3):
            progress("downloading", done * 1_000_000, 2_000_000)
        progress("converting", 2, 2)
        return tmp_path

    monkeypatch.setattr(catalogue, "pull", pull)
    leader, follower = pty.openpty()
    with os.fdopen(follower, "w") as terminal:
        monkeypatch.setattr(sys, "stderr", terminal)
        monkeypatch.setenv("TERM", "xterm")
        monkeypatch.setenv("COLUMNS", "100")
        assert execute(["models", "pull", "smollm2-135m"]) == 0
        terminal.write("END")
        terminal.flush()
        shown = ""
        while not shown.endswith("END"):  # a terminal hands its text over in pieces
            shown += os.read(leader, 100_000).decode(errors="replace")
    os.close(leader)
    assert "2.0/2.0 MB" in shown
    assert "2 of 2 weights" in shown


def test_chat_loads_the_model_and_answers(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    import io

    folder = save_model(tmp_path / "m")
    seen: list[Any] = []
    stand_in = ModuleType("kilter.models")
    import kilter.models as real

    stand_in.__path__ = real.__path__
    stand_in.load = lambda path: seen.append(path) or "the model"  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kilter.models", stand_in)
    from kilter.cli import chat

    monkeypatch.setattr(chat.Chat, "say", lambda self, message, on_text: on_text(f"You said {message}.") or _ANSWER)
    monkeypatch.setattr(sys, "stdin", io.StringIO("hello\n"))
    assert execute(["models", "chat", str(folder), "--temperature", "0"]) == 0
    assert seen == [folder]
    assert capsys.readouterr().out == "You said hello.\n"


class _ANSWER:
    tokens, seconds, stopped, cut = 3, 1.0, False, False
