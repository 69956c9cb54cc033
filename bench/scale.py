"""The estimator of memory and time beside real runs here: `python bench/scale.py`, into bench/results/scale.json.

Each run is a process of its own: a few steps of the 135M model whose micro-batches are full, its peak memory and the
seconds of a step. The time is estimated at the GEMM peak measured in the same minute and the share of it that
bench/results/training.json found for SFT.
"""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

HERE = Path(__file__).parent
RUNS = {
    "sft, adapters, 1024 tokens": (16, 1024, 128, False),
    "sft, adapters, 4096 tokens": (16, 4096, 512, False),
    "sft, every weight, 1024 tokens": (None, 1024, 128, False),
    "sft, every weight, 2048 tokens": (None, 2048, 256, False),
    "sft, every weight, 2048 tokens, computed twice": (None, 2048, 256, True),
}


def run(name: str) -> dict[str, Any]:
    """Three steps; what they took and what was expected."""
    import torch

    from kilter.models import Item, load
    from kilter.models.estimate import Shape, training_memory, training_seconds
    from kilter.models.peak import gemm_peak
    from kilter.training import LoraSettings, SFTSettings, prepare, train_sft

    rank, tokens, length, recompute = RUNS[name]
    prepare.free_memory = lambda _: 0 if recompute else 1 << 50
    lm = load("smollm2-135m", dtype="bfloat16")
    peak = gemm_peak(torch.bfloat16)
    half = length // 2
    items = [Item([5 + n] * half, [[9 + n] * half]) for n in range(3 * tokens // length)]
    lora = None if rank is None else LoraSettings(rank=rank)
    settings = SFTSettings(batch_size=tokens // length, max_tokens=tokens, lora=lora, checkpoint_seconds=10_000)
    with tempfile.TemporaryDirectory() as folder:
        seconds = train_sft(lm, items, settings, Path(folder))["seconds"] / 3
    shape = Shape.of(lm.model.config)
    memory = training_memory(shape, tokens=tokens, longest=length * 3 // 4, rank=rank, recompute=recompute)
    share = next(
        row["ours"]["value"]
        for row in json.loads((HERE / "results" / "training.json").read_text())
        if row["row"] == "sft share of GEMM peak"
    )
    expected = training_seconds(shape, tokens, length, rank, peak, share) * (4 / 3 if recompute else 1)
    peak_memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    return {
        "row": name,
        "measured": {"bytes": peak_memory, "seconds": seconds},
        "estimated": {"bytes": memory.total, "seconds": expected},
    }


def main() -> None:
    """Run each in a fresh process and write what came out."""
    if len(sys.argv) > 1:
        print(json.dumps(run(sys.argv[1])))
        return
    rows = []
    for name in RUNS:
        done = subprocess.run([sys.executable, __file__, name], capture_output=True, text=True, check=True)
        rows.append(json.loads(done.stdout.strip().splitlines()[-1]))
        print(rows[-1], flush=True)
    (HERE / "results" / "scale.json").write_text(json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
