from __future__ import annotations

import errno
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import typer

from kilter import errors
from kilter.cli import environment
from kilter.cli.main import _COMMANDS, BROKEN_PIPE, EXIT_CODES, INTERRUPTED, execute

HEAVY = ("torch", "transformers", "datasets", "plotly", "scipy", "sklearn", "pandas", "sqlalchemy", "peft")


def python(code: str, **variables: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, **variables},
    )


@pytest.mark.parametrize("words", [["--help"], ["--version"], ["models", "--help"], ["nonsense"]])
def test_help_imports_nothing_heavy(words: list[str]) -> None:
    code = f"""
import sys
from kilter.cli.main import execute
execute({words!r})
print("HEAVY", [name for name in {HEAVY!r} if name in sys.modules])
"""
    assert "HEAVY []" in python(code).stdout


def test_help_names_commands_and_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--help"]) == 0
    shown = capsys.readouterr().out
    for name in _COMMANDS:
        assert f" {name} " in shown
    for line in EXIT_CODES.splitlines()[1:]:
        assert line.split("  ")[-1].split(",")[0] in shown


def test_exit_codes_are_those_of_the_errors() -> None:
    documented = {int(line.split()[0]) for line in EXIT_CODES.splitlines()[1:]}
    kinds = [each for each in vars(errors).values() if isinstance(each, type)]
    assert {each.exit_code for each in kinds if issubclass(each, errors.KilterError)} <= documented
    assert {0, INTERRUPTED} <= documented


def command(monkeypatch: pytest.MonkeyPatch, function: Any) -> None:
    """Put `function` in the place of `kilter run`."""
    module = ModuleType("kilter.cli.run")
    module.run = function  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kilter.cli.run", module)


def failing(error: BaseException) -> Any:
    def run() -> None:
        raise error

    return run


@pytest.mark.parametrize(
    ("error", "code", "words"),
    [
        (errors.DataError("The file [x] is wrong; mend it."), 3, "Error: The file [x] is wrong; mend it."),
        (errors.TrainingStopped("It diverged."), 5, "Error: It diverged."),
        (OSError(errno.ENOSPC, "No space left on device", "a.bin"), 6, "Error: The disk is full at a.bin."),
        (ValueError("odd"), 1, "did not expect: ValueError: odd"),
        (
            KeyboardInterrupt(),
            130,
            "Stopped by you; what was finished is kept; the same command goes on from there",
        ),
    ],
)
def test_problems_are_one_paragraph(
    error: BaseException,
    code: int,
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.delenv("KILTER_DEBUG", raising=False)
    command(monkeypatch, failing(error))
    assert execute(["run"]) == code
    shown = capsys.readouterr()
    assert words in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert shown.out == ""


def test_debug_shows_the_traceback(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setenv("KILTER_DEBUG", "1")
    command(monkeypatch, failing(errors.ModelError("Gone.")))
    assert execute(["run"]) == 4
    shown = capsys.readouterr().err
    assert "Traceback" in shown
    assert "Error: Gone." in shown


def test_success_and_explicit_exits(monkeypatch: pytest.MonkeyPatch) -> None:
    command(monkeypatch, lambda: None)
    assert execute(["run"]) == 0
    command(monkeypatch, failing(typer.Exit(9)))
    assert execute(["run"]) == 9


def test_unknown_command_names_the_nearest(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["modles"]) == 2
    assert "Did you mean 'models'" in capsys.readouterr().err


def test_closed_pipe_is_quiet() -> None:
    code = """
import sys
from types import ModuleType
module = ModuleType("kilter.cli.run")
def run():
    for index in range(200_000):
        print("line", index)
module.run = run
sys.modules["kilter.cli.run"] = module
from kilter.cli import main
main(["run"])
"""
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert process.stdout is not None
    assert process.stderr is not None
    assert process.stdout.readline() == "line 0\n"
    process.stdout.close()
    assert process.wait() == BROKEN_PIPE
    assert process.stderr.read() == ""
    process.stderr.close()


def test_control_c_ends_with_130(tmp_path: Path) -> None:
    # Who starts the tests in the background of a script hands on that SIGINT is ignored.
    code = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from types import ModuleType
module = ModuleType("kilter.cli.run")
def run():
    print("ready", flush=True)
    time.sleep(60)
module.run = run
sys.modules["kilter.cli.run"] = module
from kilter.cli import main
main(["run"])
"""
    with (tmp_path / "err").open("w") as errors_file:
        process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=errors_file, text=True)
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        assert process.wait() == INTERRUPTED
        process.stdout.close()
    assert "Stopped by you" in (tmp_path / "err").read_text()


def test_environment_is_quiet_and_offline_unless_the_user_says_otherwise() -> None:
    code = """
import os
from kilter.cli import environment
environment.prepare()
names = ("HF_HUB_OFFLINE", environment.OFFLINE_BY_DEFAULT, "TOKENIZERS_PARALLELISM")
print(*(os.environ.get(name) for name in names))
"""
    hub = ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", environment.OFFLINE_BY_DEFAULT]
    names = [*hub, "TOKENIZERS_PARALLELISM"]
    unset = f"import os\nfor name in {names!r}: os.environ.pop(name, None)\n"
    assert python(unset + code).stdout.split()[:2] == ["1", "1"]
    said = "os.environ['HF_HUB_OFFLINE'] = '0'\nos.environ['TOKENIZERS_PARALLELISM'] = 'true'\n"
    assert python(unset + said + code).stdout.split() == ["0", "None", "true"]


def test_hub_room_reads_the_same_variable() -> None:
    from kilter.models import hub

    assert hub.OFFLINE_BY_DEFAULT == environment.OFFLINE_BY_DEFAULT
