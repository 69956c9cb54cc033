from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from kilter.errors import SandboxError, SettingsError
from kilter.sandbox import Limits, Program, protection, run, run_many

ROOM = sys.modules["kilter.sandbox.run"]
holds = pytest.mark.skipif(protection() == "limits", reason="this system has neither bubblewrap nor user namespaces")


def test_a_program_reads_and_prints_and_its_exit_code_is_told() -> None:
    done = run("import sys\nprint(sys.stdin.read().upper())\nsys.exit(3)", "grüße", trusted=True)
    assert (done.status, done.exit_code, done.stdout) == ("error", 3, "GRÜSSE\n")
    assert done.protection == protection()
    assert run("", trusted=True).status == "ok"


def test_an_exception_is_told_without_the_sandbox_in_its_traceback() -> None:
    done = run("def f():\n    return 1 / 0\nf()", trusted=True)
    assert (done.status, done.exit_code) == ("error", 1)
    assert done.stderr.endswith("ZeroDivisionError: division by zero\n")
    assert "child.py" not in done.stderr
    assert "SyntaxError" in run("def f(:", trusted=True).stderr


def test_many_programs_come_back_in_order_and_share_nothing() -> None:
    programs = [Program(f"import builtins\nassert not hasattr(builtins, 'mark')\nbuiltins.mark = {n}\nprint({n})")
                for n in range(100)]  # fmt: skip
    assert [one.stdout for one in run_many(programs, trusted=True)] == [f"{n}\n" for n in range(100)]
    assert run_many([], trusted=True) == []


def test_one_that_fails_leaves_the_others() -> None:
    codes = ["print(1)", "import os\nos.abort()", "while True: pass", "import os\nos._exit(0)", "print(2)"]
    found = run_many([Program(code) for code in codes], limits=Limits(seconds=1), trusted=True)
    assert [one.status for one in found] == ["ok", "killed", "timeout", "ok", "ok"]
    assert found[4].stdout == "2\n"


@pytest.mark.parametrize("kind", ["namespaces", "limits"])
def test_time_memory_and_output_have_an_end(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind != "limits" and protection() == "limits":
        pytest.skip("no namespaces")
    monkeypatch.setattr(ROOM, "protection", lambda: kind)
    codes = {
        "import time\ntime.sleep(60)": "timeout",
        "while True: print('x' * 1000)": "flood",
        "import sys\nwhile True: sys.stderr.write('x' * 1000)": "flood",
        "import os\nos.close(1)\nos.close(2)\nwhile True: pass": "timeout",
        "x = 'a' * 10 ** 11": "error",
        "open('big', 'w').write('x' * 10 ** 8)": "error",
    }
    limits = Limits(seconds=2, output_bytes=5000, memory_mb=256)
    found = run_many([Program(code) for code in codes], limits=limits, trusted=True)
    assert [one.status for one in found] == list(codes.values())
    assert all(len(one.stdout) <= 5000 and len(one.stderr) <= 5000 for one in found)
    assert "MemoryError" in found[4].stderr
    assert {one.protection for one in found} == {kind}


def test_processor_time_has_an_end_before_the_wall_does() -> None:
    done = run("while True: pass", limits=Limits(seconds=60, cpu_seconds=1), trusted=True)
    assert done.status == "timeout"
    assert done.exit_code == -signal.SIGXCPU


@holds
def test_processes_are_counted_and_a_fork_bomb_is_over_at_once() -> None:
    assert "BlockingIOError" in run("import os\nwhile True: os.fork()").stderr
    fork = "import os\nif os.fork() == 0: os._exit(0)\nos.wait()\nprint('done')"
    assert run(fork, limits=Limits(processes=2)).stdout == "done\n"


@holds
def test_what_a_program_leaves_running_is_killed() -> None:
    leave = (
        "import os, sys, time\n"
        "if os.fork() == 0:\n"
        "    os.setsid()\n"
        "    for end in (0, 1, 2): os.close(end)\n"
        "    time.sleep(3600)\n"
    )
    look = (
        "import os\n"
        "alive = []\n"
        "for pid in range(2, 60):\n"
        "    try: os.kill(pid, 0)\n"
        "    except OSError: continue\n"
        "    alive.append(pid)\n"
        "print(alive == [os.getpid()] or alive)\n"
    )
    found = run_many([Program(leave), Program(look)], limits=Limits(processes=4))
    assert [one.status for one in found] == ["ok", "ok"]
    assert found[1].stdout == "True\n"


@holds
def test_nothing_can_be_written_but_in_the_folder_of_the_program(tmp_path: Path) -> None:
    target = tmp_path / "there"
    for place in (str(target), "/usr/x", "/x", "/dev/x", os.path.join(sys.base_prefix, "x")):
        assert run(f"open({place!r}, 'w')").status == "error", place
    assert not target.exists()
    found = run_many([Program("open('mine', 'w').write('x')\nprint(open('mine').read())"),
                      Program("import os\nprint(os.listdir('.'))")])  # fmt: skip
    assert [one.stdout for one in found] == ["x\n", "[]\n"]


@holds
def test_home_and_the_project_cannot_be_read(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text("password")
    project = Path(__file__).parents[2]
    for place in (
        secret,
        Path.home() / ".bashrc",
        project / "pyproject.toml",
        Path("/etc/passwd"),
        Path("/proc/1/environ"),
    ):
        done = run(f"print(open({str(place)!r}).read())")
        assert "FileNotFoundError" in done.stderr, (place, done)
    listed = run(f"import os\nprint(os.path.isdir({str(Path.home())!r}) and os.listdir({str(Path.home())!r}))").stdout
    assert ".bashrc" not in listed


@holds
def test_there_is_no_network() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", "import socket; s = socket.create_server(('127.0.0.1', 0)); "
         "print(s.getsockname()[1], flush=True); s.accept()"], stdout=subprocess.PIPE, text=True
    ) as server:  # fmt: skip
        assert server.stdout is not None
        port = int(server.stdout.readline())
        try:
            done = run(f"import socket\nsocket.create_connection(('127.0.0.1', {port}), 2)")
            assert "OSError" in done.stderr
            assert server.poll() is None, "somebody came through"
        finally:
            server.kill()


def test_the_environment_does_not_leak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET_TOKEN", "hunter2")
    for place in ("dict(os.environ)", "sys.argv", "sys.path", "os.listdir('/proc/self/fd') if 0 else ''"):
        assert "hunter2" not in run(f"import os, sys\nprint({place})", trusted=True).stdout
    assert run("import os\nprint(dict(os.environ))", trusted=True).stdout == "{}\n"


@holds
def test_a_program_has_no_way_to_more_rights() -> None:
    done = run("import os\nprint(os.getuid() != 0 or os.geteuid())\nos.setuid(0)")
    assert done.stdout != "0\n"
    assert "PermissionError" in done.stderr or os.getuid() != 0
    unshare = (
        "import ctypes\nlibc = ctypes.CDLL(None, use_errno=True)\nprint(libc.mount(b'x', b'/usr', b'tmpfs', 0, None))"
    )
    assert run(unshare).stdout == "-1\n"


def children(pid: int) -> set[int]:
    """All that descend from a process."""
    found = set()
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            parent = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
        except (OSError, ValueError):
            continue
        if parent == pid:
            found |= {int(folder.name)} | children(int(folder.name))
    return found


def waited_for(ask: object) -> bool:
    """Whether something comes true: a guard against waiting for ever, not a measure of speed."""
    for _ in range(1500):
        if ask():  # type: ignore[operator]
            return True
        time.sleep(0.02)
    return False


@pytest.mark.skipif(sys.platform != "linux", reason="the signal of a parent's death is Linux's")
@pytest.mark.parametrize("kind", ["namespaces", "limits"])
def test_when_kilter_is_killed_nothing_is_left(kind: str) -> None:
    if kind != "limits" and protection() == "limits":
        pytest.skip("no namespaces")
    code = (
        f"import sys\nfrom kilter.sandbox import run\nroom = sys.modules['kilter.sandbox.run']\n"
        f"room.protection = lambda: {kind!r}\n"
        "from kilter.sandbox import Limits\n"
        "run('import time; time.sleep(3600)', limits=Limits(seconds=3600), trusted=True)"
    )
    with subprocess.Popen([sys.executable, "-c", code]) as parent:
        least = 2 if kind == "limits" else 3
        assert waited_for(lambda: len(children(parent.pid)) >= least)
        left = children(parent.pid)
        parent.kill()
    assert waited_for(lambda: not any(Path(f"/proc/{pid}").exists() for pid in left))


def test_untrusted_code_is_refused_where_nothing_holds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ROOM, "protection", lambda: "limits")
    with pytest.raises(SandboxError, match="trusted=True"):
        run("print(1)")
    assert run("print(1)", trusted=True).protection == "limits"


def test_a_child_that_dies_is_an_error_and_not_a_result(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    broken = tmp_path / "child.py"
    broken.write_text("raise SystemExit('the disk is on fire')")
    monkeypatch.setattr(ROOM, "_CHILD", broken)
    monkeypatch.setattr(ROOM, "protection", lambda: "limits")
    with pytest.raises(SandboxError, match="the disk is on fire"):
        run("print(1)", trusted=True)


def test_bubblewrap_is_told_to_hold_everything() -> None:
    words = ROOM._bubblewrap()
    assert {"--unshare-all", "--die-with-parent", "--clearenv", "--new-session"} <= set(words)
    assert "--bind" not in words
    assert str(Path.home()) not in words
    assert words[-1] == "--"


@pytest.mark.parametrize("field", ["seconds", "memory_mb", "processes", "output_bytes"])
def test_impossible_limits_are_refused(field: str) -> None:
    with pytest.raises(SettingsError, match=field):
        Limits(**{field: 0})
    with pytest.raises(SettingsError, match="64 or more"):
        Limits(memory_mb=10)
