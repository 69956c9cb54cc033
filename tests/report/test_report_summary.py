from __future__ import annotations

import json
from pathlib import Path

import pytest

from kilter.errors import DataError
from kilter.report import write_summary
from kilter.stats import Estimate, wilson


def test_writes_every_figure_under_sorted_names(tmp_path: Path):
    path = tmp_path / "runs" / "summary.json"
    write_summary({"kl": Estimate.exact(11.5, 480), "gold_win_rate": wilson(80, 100)}, path)
    read = json.loads(path.read_text("utf-8"))
    assert list(read) == ["gold_win_rate", "kl"]
    assert read["gold_win_rate"] == wilson(80, 100).as_dict()
    assert set(read["kl"]) == {"value", "low", "high", "n", "method"}
    assert path.read_text("utf-8").endswith("}\n")


def test_nan_never_gets_there(tmp_path: Path):
    with pytest.raises(DataError):
        write_summary({"kl": Estimate(float("nan"), 0, 1, 5, "mean")}, tmp_path / "summary.json")
    assert not list(tmp_path.iterdir())
