"""Kilter beside its peers on the same work, in one run, alternating: `make bench`.

Prints the ratio of every row with its spread and writes bench/results/training.json. Each measurement is a process of
its own; sides alternate within a round, so that a machine whose speed drifts slows both.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

from rows import RESULTS, commit, describe_machine, keep, spread

HERE = Path(__file__).parent
ROWS = {
    "sft": ("examples/s", "trl 1.16 SFTTrainer", 4.5),
    "reward": ("pairs/s", "trl 1.16 RewardTrainer", 3.5),
    "dpo": ("pairs/s", "trl 1.16 DPOTrainer", 7.0),
    "grpo": ("completions/s", "trl 1.16 GRPOTrainer", 6.0),
    "grpo-long": ("completions/s", "trl 1.16 GRPOTrainer", 6.0),
    "ppo": ("completions/s", "plain transformers, bench/plain_ppo.py", 4.0),
    "sampling-1": ("tokens/s", "transformers generate", 3.0),
    "sampling-8": ("tokens/s", "transformers generate", 4.0),
    "sampling-32": ("tokens/s", "transformers generate", 4.0),
}
WORK = {
    "sft": "SFT, 64 hh-rlhf examples of at most 256 tokens, batch 8, every weight",
    "reward": "reward model, the same 64 pairs, batch 8, every weight",
    "dpo": "DPO, the same 64 pairs, batch 8, every weight",
    "grpo": "GRPO, one step of 16 prompts, 8 completions of 48 tokens, beta 0.04, every weight",
    "grpo-long": "GRPO, one step of 8 prompts of 200 tokens, 8 completions of 64, beta 0.04, every weight",
    "ppo": "PPO-ptx, one step of 16 prompts, 4 completions of 48 tokens, 4 minibatches, every weight",
    "sampling-1": "sampling 64 tokens, batch 1",
    "sampling-8": "sampling 64 tokens, batch 8",
    "sampling-32": "sampling 64 tokens, batch 32",
}


def measure(side: str, row: str, model: str, data: str) -> dict[str, Any]:
    """One measurement in a fresh process."""
    done = subprocess.run(
        [sys.executable, str(HERE / "work.py"), side, row, model, data], capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit(f"{side} {row} failed:\n{done.stderr[-3000:]}")
    result: dict[str, Any] = json.loads(done.stdout.strip().splitlines()[-1])
    return result


def summarize(
    row: str, ours: list[dict[str, Any]], peer: list[dict[str, Any]], machine: str, commit: str
) -> list[dict[str, Any]]:
    """The rows of one workload: rate, peak memory and, where operations are counted, the share of the GEMM peak."""
    unit, peer_name, target = ROWS[row]
    common = {"peer_name": peer_name, "machine": machine, "commit": commit, "work": WORK[row]}
    ratios = [a["rate"] / b["rate"] for a, b in zip(ours, peer, strict=True)]
    memory = [a["memory"] / b["memory"] for a, b in zip(ours, peer, strict=True)]

    def one(name: str, unit: str, better: str, key: str, values: list[float], target: float | None) -> dict[str, Any]:
        ratio = {"median": statistics.median(values), "low": min(values), "high": max(values)}
        return {
            "row": name, "unit": unit, "better": better, "ours": spread([x[key] for x in ours]),
            "peer": spread([x[key] for x in peer]), "ratio": ratio, "target": target, **common,
        }  # fmt: skip

    rows = [
        one(row, unit, "higher", "rate", ratios, target),
        one(f"{row} memory", "bytes", "lower", "memory", memory, 0.6),
    ]
    shares = [x["flops"] / x["seconds"] / x["peak"] for x in ours if x["flops"]]
    if shares:
        none = {"peer": None, "ratio": None, "target": None, **common, "peer_name": None}
        name = f"{row} share of GEMM peak"
        rows.append({"row": name, "unit": "share", "better": "higher", "ours": spread(shares), **none})
        speeds = spread([x["tokens"] / x["seconds"] for x in ours])
        rows.append({"row": f"{row} tokens computed", "unit": "tokens/s", "better": "higher", "ours": speeds, **none})
    if row in ("sft", "dpo"):  # the reward models' heads start differently: trl's at random, ours at zero
        gap = max(abs(a - b) for a, b in zip(ours[0]["losses"], peer[0]["losses"], strict=True))
        largest = {"value": gap, "low": gap, "high": gap, "n": len(ours[0]["losses"])}
        none = {"peer": None, "ratio": None, "target": None, **common}
        name = f"{row} largest difference of a step's loss"
        rows.append({"row": name, "unit": "nats", "better": "lower", "ours": largest, **none})
    return rows


def main() -> None:
    """Measure every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--model", default="smollm2-135m")
    parser.add_argument(
        "--data", default="../shared/data/hh-rlhf/harmless-base/test.jsonl.gz", help="hh-rlhf comparisons"
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--out", type=Path, default=RESULTS / "training.json")
    arguments = parser.parse_args()
    if not Path(arguments.data).exists():
        raise SystemExit(f"There are no comparisons at {arguments.data}; give an hh-rlhf file with --data FILE.")
    found: list[dict[str, Any]] = []
    machine, measured = describe_machine(), commit()  # before the first result is written, which changes the tree
    for row in arguments.rows:
        ours, peer = [], []
        for number in range(arguments.rounds):
            # Who goes first alternates too.
            for side in ("ours", "peer") if number % 2 == 0 else ("peer", "ours"):
                result = measure(side, row, arguments.model, arguments.data)
                (ours if side == "ours" else peer).append(result)
                print(f"{row:12} {side:5} {result['rate']:8.2f} {ROWS[row][0]}  "
                      f"GEMM peak {result['peak'] / 1e9:.0f} GFLOP/s", flush=True)  # fmt: skip
        found += summarize(row, ours, peer, machine, measured)
        keep(arguments.out, found)
    print()
    for one in found:
        ratio = one["ratio"]
        words = f"  {ratio['median']:.2f} x [{ratio['low']:.2f}, {ratio['high']:.2f}]" if ratio else ""
        target = f"  target {one['target']:g}" if one["target"] else ""
        print(f"{one['row']:45} {one['ours']['value']:12.4g} {one['unit']}{words}{target}")


if __name__ == "__main__":
    main()
