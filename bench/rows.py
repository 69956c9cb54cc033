"""Rows of bench/results: what was measured, on which machine, at which commit."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
RESULTS = HERE / "results"


def spread(values: list[float]) -> dict[str, float | int]:
    """Median with the smallest and the largest value."""
    return {"value": statistics.median(values), "low": min(values), "high": max(values), "n": len(values)}


def describe_machine() -> str:
    """Processor, cores and what matters of its instruction set."""
    name = platform.processor() or platform.machine()
    flags = ""
    info = Path("/proc/cpuinfo")
    if info.exists():
        text = info.read_text()
        names = [line.split(":", 1)[1].strip() for line in text.splitlines() if line.startswith("model name")]
        name = names[0] if names else name
        flags = ", ".join(flag for flag in ("avx512_bf16", "amx_bf16") if flag in text)
    return f"{name}, {os.cpu_count()} cores{', ' + flags if flags else ''}"


def commit() -> str:
    """The commit measured, marked when the tree differs from it; the results, which a bench writes, do not count."""
    named = _git("describe", "--always", "--abbrev=12")
    changed = _git("status", "--porcelain", "--untracked-files=no", "--", ":/", ":!/bench/results")
    return f"{named}-dirty" if changed else named or "unknown"


def _git(*words: str) -> str:
    return subprocess.run(["git", *words], cwd=HERE, capture_output=True, text=True, check=False).stdout.strip()


def keep(file: Path, new: list[dict[str, Any]]) -> None:
    """Put rows into a file of results in the place of those of the same name; the others stay."""
    rows = {one["row"]: one for one in (json.loads(file.read_text()) if file.exists() else [])}
    rows.update((one["row"], one) for one in new)
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(list(rows.values()), indent=2) + "\n")
