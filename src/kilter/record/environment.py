"""What a run ran on: interpreter, machine, libraries, and the exact state of the code."""

from __future__ import annotations

import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import kilter

LIBRARIES = ("torch", "transformers", "peft", "datasets", "safetensors", "numpy", "sqlalchemy")
_noted: dict[str, Any] = {"native_kernels": None}


def note(name: str, value: Any) -> None:
    """Let `environment` report, from now on, what another room found out."""
    _noted[name] = value


def environment() -> dict[str, Any]:
    """Python, platform, processor, cores, memory, library versions and, under "code", Kilter's own state.

    Nothing heavy is imported. What cannot be found out, or not yet, is None: "native_kernels" tells whether the models
    computed with them, once one did.
    """
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        "cpu": _processor(),
        "cores": len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count(),
        "memory_bytes": _memory(),
        "libraries": {name: _version(name) for name in LIBRARIES},
        **_noted,
        "code": code_version(),
    }


def code_version() -> dict[str, Any]:
    """Kilter's version, the git commit of its source, and whether that source differs from the commit.

    Commit and dirtiness are None when Kilter is not run from its own repository: a package that is
    installed somewhere inside another project's repository must not take that project's commit.
    """
    package = Path(kilter.__file__).parent
    tracked = _git(package, "ls-files", "--error-unmatch", "__init__.py") is not None
    commit = _git(package, "rev-parse", "HEAD") if tracked else None
    changes = _git(package, "status", "--porcelain", "--", ".") if commit else None
    return {
        "kilter": kilter.__version__,
        "commit": commit,
        "dirty": None if changes is None else bool(changes),
    }


def _git(folder: Path, *arguments: str) -> str | None:
    # GIT_DIR and its kin would point git at another repository, for instance inside a commit hook.
    variables = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments],
            env=variables,
            capture_output=True,
            text=True,
            timeout=20,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()


@cache
def _processor() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _memory() -> int | None:
    try:
        return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (ValueError, OSError, AttributeError):
        return None


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
