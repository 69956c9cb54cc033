"""`summary.json`: every figure of a run for programs to read."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

from kilter.files import write_atomically
from kilter.stats import Estimate


def write_summary(figures: Mapping[str, Estimate], path: Path) -> None:
    """Write `{"name": {"value", "low", "high", "n", "method"}}`, names sorted, atomically.

    NaN and infinity cannot occur: an `Estimate` refuses them. Raises `StorageError`.
    """
    rows = {name: estimate.as_dict() for name, estimate in sorted(figures.items())}
    write_atomically(path, json.dumps(rows, indent=2, ensure_ascii=False, allow_nan=False) + "\n")
