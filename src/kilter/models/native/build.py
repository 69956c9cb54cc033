"""Compile `kernels.c` on first use with the machine's C compiler, and load it; without one there are no kernels."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import os
import platform
import shutil
import stat
import subprocess
import tempfile
from functools import cache
from pathlib import Path

import torch

from kilter.models.catalogue import home
from kilter.record.environment import note

SOURCE = Path(__file__).with_name("kernels.c")
COMPILERS = ("cc", "gcc", "clang")
COMMON = ("-O2", "-fPIC", "-shared", "-ffp-contract=fast", "-fno-math-errno", "-fno-trapping-math")
CHOICES = (  # the first that this compiler takes and whose result loads
    ("-march=native", "-mprefer-vector-width=512", "-fopenmp"),
    ("-march=native", "-fopenmp"),
    ("-march=native",),
    (),
)
VERSION = 2
SECONDS = 120
log = logging.getLogger(__name__)


@cache
def library() -> ctypes.CDLL | None:
    """The compiled kernels, or None where there are none: no compiler, or KILTER_NATIVE=0."""
    if os.environ.get("KILTER_NATIVE", "1") == "0":
        found, why = None, "KILTER_NATIVE=0"
    else:
        try:
            found, why = _loaded(), "no compiler made them"
        except (OSError, subprocess.SubprocessError) as error:
            found, why = None, str(error)
    if found is None:
        log.debug("Computing without native kernels: %s", why)
    note("native_kernels", found is not None)
    return found


def _loaded() -> ctypes.CDLL | None:
    compiler = next(filter(None, map(shutil.which, COMPILERS)), None)
    if compiler is None:
        return None
    _share_threads()
    folder, source = _folder(), SOURCE.read_text(encoding="utf-8")
    version = subprocess.run(
        [compiler, "--version"], capture_output=True, text=True, timeout=SECONDS, check=True
    ).stdout
    for choice in CHOICES:
        flags = (*COMMON, *choice)
        parts = (source, compiler, version, *flags, _processor())
        file = folder / f"kernels-{hashlib.sha256(chr(0).join(parts).encode()).hexdigest()[:24]}.so"
        try:
            if not file.exists():
                _compile(compiler, flags, file)
            # What is missing must be missed now: parallel loops call torch's own OpenMP, no second one is linked.
            found = ctypes.CDLL(str(file), mode=os.RTLD_NOW)
            if found.kilter_version() == VERSION:
                return found
        except (OSError, subprocess.SubprocessError, AttributeError) as error:
            log.debug("No native kernels with %s: %s", " ".join(choice) or "no flags", error)
    return None


def _compile(compiler: str, flags: tuple[str, ...], file: Path) -> None:
    """Make `file`, whole or not at all: other processes may be at it too."""
    with tempfile.TemporaryDirectory(dir=file.parent) as place:
        made = Path(place) / file.name
        bits = Path(place) / "kernels.o"
        link = [flag for flag in flags if flag != "-fopenmp"]  # with it the linker would add the compiler's OpenMP
        quiet = {"capture_output": True, "timeout": SECONDS, "check": True, "stdin": subprocess.DEVNULL}
        subprocess.run(
            [compiler, *(flag for flag in flags if flag != "-shared"), "-c", str(SOURCE), "-o", str(bits)], **quiet
        )  # type: ignore[call-overload]
        subprocess.run([compiler, *link, str(bits), "-o", str(made), "-lm"], **quiet)  # type: ignore[call-overload]
        made.replace(file)


def _folder() -> Path:
    """Where compiled kernels are kept.

    Raises:
        OSError: it cannot be made, or somebody else may write into it.
    """
    folder = home() / "native"
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    about = folder.lstat()
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.getuid() or about.st_mode & 0o022:
        raise OSError(f"others may write into {folder}")
    return folder


def _share_threads() -> None:
    """Make the OpenMP that torch has loaded visible to what is loaded from now on."""
    maps = Path("/proc/self/maps")
    lines = maps.read_text(encoding="utf-8").splitlines() if maps.exists() else []
    paths = {line.split(maxsplit=5)[-1] for line in lines if "libgomp" in line or "libiomp" in line or "libomp" in line}
    for path in sorted(paths, key=lambda one: (not one.startswith(str(Path(torch.__file__).parent.parent)), one))[:1]:
        ctypes.CDLL(path, mode=os.RTLD_GLOBAL | os.RTLD_NOW)


@cache
def _processor() -> str:
    """What decides which instructions there are."""
    info = Path("/proc/cpuinfo")
    lines = info.read_text(encoding="utf-8").splitlines() if info.exists() else []
    told = {line.strip() for line in lines if line.startswith(("model name", "flags", "Features", "CPU part"))}
    return "\n".join([platform.machine(), platform.processor(), *sorted(told)])
