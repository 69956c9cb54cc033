"""Figures of a finished recipe as benchmark rows: `python bench/recipes.py WORKSPACE RECIPE`.

Run the recipe first (`make quickstart`, or `kilter run recipes/human_preferences.yaml data.path=FILE`); this reads its
summary and its steps and writes bench/results/RECIPE.json.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

from rows import commit, describe_machine

WANTED = {
    "quickstart": (
        "gold_win_rate", "gold_win_rate_vs_sft", "length_controlled_gold_win_rate_vs_sft", "gold_score_before",
        "gold_score_after", "reward_model_accuracy", "reward_model_gold_accuracy", "shorter_is_better_accuracy", "kl",
        "perplexity_before", "perplexity_after",
    ),
    "human_preferences": (
        "reward_model_accuracy", "shorter_is_better_accuracy", "reward_model_ece", "proxy_win_rate", "kl",
        "length_before", "length_after", "perplexity_before", "perplexity_after", "multiple_choice_change",
    ),
}  # fmt: skip
LOWER = ("kl", "ece", "perplexity", "length", "seconds", "memory")


def row(name: str, unit: str, ours: dict[str, Any], common: dict[str, Any]) -> dict[str, Any]:
    """One row without a peer."""
    better = "lower" if any(word in name for word in LOWER) else "higher"
    return {
        "row": name, "unit": unit, "better": better, "ours": ours, "peer": None, "peer_name": None, "ratio": None,
        "target": None, **common,
    }  # fmt: skip


def main() -> None:
    """Read the summary and the steps, write the rows."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("workspace", type=Path)
    parser.add_argument("recipe", choices=sorted(WANTED))
    arguments = parser.parse_args()
    folder = arguments.workspace / "runs" / arguments.recipe
    summary = json.loads((folder / "summary.json").read_text())
    common = {"machine": describe_machine(), "commit": commit(), "work": f"recipes/{arguments.recipe}.yaml"}
    missing = [name for name in WANTED[arguments.recipe] if name not in summary]
    if missing:
        raise SystemExit(f"{folder}/summary.json has no {', '.join(missing)}; it has {', '.join(summary)}.")
    rows = [row(name, "as named", summary[name], common) for name in WANTED[arguments.recipe]]
    steps = list(json.loads((folder / "steps.json").read_text()).values())
    for name, unit, values in (
        ("seconds of all steps", "s", [sum(one["seconds"] for one in steps)]),
        ("memory of the largest step", "bytes", [max(one["memory"] for one in steps)]),
    ):
        rows.append(row(name, unit, {"value": values[0], "low": values[0], "high": values[0], "n": 1}, common))
    out = Path(__file__).parent / "results" / f"{arguments.recipe}.json"
    out.write_text(json.dumps(rows, indent=2) + "\n")
    for one in rows:
        print(f"{one['row']:40} {one['ours']['value']:.4g} [{one['ours']['low']:.4g}, {one['ours']['high']:.4g}]")


if __name__ == "__main__":
    main()
