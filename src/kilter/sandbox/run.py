"""Running programs in a child, under the best protection that this system has."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any, Literal

from kilter.errors import SandboxError
from kilter.sandbox.limits import Limits

Protection = Literal["bubblewrap", "namespaces", "limits"]
Status = Literal["ok", "error", "timeout", "flood", "killed"]

_CHILD = Path(__file__).with_name("child.py")
_GRACE = 30.0  # seconds for the child itself to start and to report


@dataclass(frozen=True)
class Program:
    """A Python program's text, and what it reads on stdin."""

    code: str
    stdin: str = ""


@dataclass(frozen=True)
class Result:
    """What became of a program.

    Attributes:
        status: "ok" (exit code 0), "error" (another one, as after an exception), "timeout", "flood" (it printed too
            much), or "killed" by a signal.
        exit_code: negative where a signal ended it.
        stdout, stderr: what it printed, as far as it might.
        seconds: time on the wall.
        protection: "bubblewrap"; "namespaces", the same without it: no network, no files but Python's own, no other
            processes; or "limits", resource limits alone, which hold no program that means harm.
    """

    status: Status
    exit_code: int
    stdout: str
    stderr: str
    seconds: float
    protection: Protection


def run(code: str, stdin: str = "", *, limits: Limits | None = None, trusted: bool = False) -> Result:
    """Run one Python program; see `run_many`."""
    return run_many([Program(code, stdin)], limits=limits, trusted=trusted)[0]


def run_many(programs: Sequence[Program], *, limits: Limits | None = None, trusted: bool = False) -> list[Result]:
    """Run programs one after another in one child, each in a fork of its own, and give their results in order.

    Args:
        programs: what to run. They see the standard library, an empty folder, and nothing of each other.
        limits: bounds for each.
        trusted: the code is our own, so that resource limits are enough where the system has no better protection.

    Raises `SandboxError` where untrusted code cannot be held, and where the child itself fails.
    """
    if not programs:
        return []
    kind = protection()
    if kind == "limits" and not trusted:
        raise SandboxError(
            "This system offers no protection that holds code nobody has read: bubblewrap is not installed and the "
            "kernel allows no user namespaces. Install bubblewrap (bwrap), allow unprivileged user namespaces, or run "
            "in a virtual machine; for code that you wrote yourself say trusted=True."
        )
    return _child(kind, programs, limits or Limits())


def protection() -> Protection:
    """The best protection of this system, found by running an empty program under each."""
    return _best()


@cache
def _best() -> Protection:
    kinds: tuple[Protection, ...] = ("bubblewrap", "namespaces") if sys.platform == "linux" else ()
    for kind in kinds:
        if kind == "bubblewrap" and not shutil.which("bwrap"):
            continue
        with suppress(SandboxError, OSError):
            if _child(kind, [Program("")], Limits())[0].status == "ok":
                return kind
    return "limits"


def _child(kind: Protection, programs: Sequence[Program], limits: Limits) -> list[Result]:
    with tempfile.TemporaryDirectory(prefix="kilter-sandbox-") as folder:
        os.chmod(folder, 0o755)
        words = [os.path.realpath(sys.executable), "-I", "-S", "-B", str(_CHILD)]
        inside = folder
        if kind == "bubblewrap":
            words, inside = [*_bubblewrap(), *words], "/tmp"
        task = {
            "protection": kind,
            "folder": inside,
            "limits": asdict(limits),
            "programs": [[program.code, program.stdin] for program in programs],
        }
        rows = _talk(words, folder, json.dumps(task).encode(), _GRACE + limits.seconds * len(programs))
    if len(rows) != len(programs) + 1 or "protection" not in rows[0]:
        said = next((row["error"] for row in rows if "error" in row), f"{len(rows)} answers")
        raise SandboxError(
            f"The sandbox ({kind}) failed after {max(0, len(rows) - 1)} of {len(programs)} programs: {said}. If this "
            "comes again, the machine may be short of memory or processes; run fewer programs at once."
        )
    return [Result(**row, protection=kind) for row in rows[1:]]


def _talk(words: list[str], folder: str, task: bytes, seconds: float) -> list[dict[str, Any]]:
    """The rows that the child says; it and all of its group are dead afterwards."""
    with subprocess.Popen(
        words,
        cwd=folder,
        env={},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        start_new_session=True,
    ) as child:
        try:
            out, failed = child.communicate(task, timeout=seconds)
        except subprocess.TimeoutExpired:
            out, failed = b"", f"no answer in {seconds:.0f} s".encode()
        finally:
            with suppress(OSError):
                os.killpg(child.pid, signal.SIGKILL)
    rows = list(_rows(out))
    if failed.strip():
        rows.append({"error": failed.decode("utf-8", "replace").strip().splitlines()[-1]})
    return rows


def _rows(text: bytes) -> Iterator[dict[str, Any]]:
    for line in text.splitlines():
        with suppress(ValueError):
            yield json.loads(line)


def _bubblewrap() -> list[str]:
    """The command in front of the child: libraries and Python read-only, an empty /tmp, nothing else."""
    words = ["bwrap", "--unshare-all", "--die-with-parent", "--new-session", "--clearenv", "--cap-drop", "ALL"]
    for place in dict.fromkeys(("/usr", "/lib", "/lib64", sys.base_prefix, sys.base_exec_prefix, str(_CHILD.parent))):
        if os.path.islink(place):
            words += ["--symlink", os.readlink(place), place]
        elif os.path.isdir(place):
            words += ["--ro-bind", place, place]
    return [*words, "--dev", "/dev", "--tmpfs", "/tmp", "--chdir", "/tmp", "--"]
