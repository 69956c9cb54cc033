"""Write the tables of docs/scale.md from the estimator that the trainer uses (`kilter.models.estimate`).

python docs/make_scale.py            write the tables
python docs/make_scale.py --check    only say whether they are out of date (exit code 1)
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

from kilter.models.estimate import Shape, sampling_seconds, training_memory, training_seconds

PAGE = Path(__file__).parent / "scale.md"
RESULTS = Path(__file__).parent.parent / "bench" / "results" / "scale.json"
GPUS = (1, 8, 64)
MODELS = {
    "SmolLM2 135M": Shape(576, 30, 9, 3, 64, 1536, 49152, True),
    "SmolLM2 1.7B": Shape(2048, 24, 32, 32, 64, 8192, 49152, True),
    "Llama 3.1 8B": Shape(4096, 32, 32, 8, 128, 14336, 128256, False),
    "Llama 3.1 70B": Shape(8192, 80, 64, 8, 128, 28672, 128256, False),
}
PEAK, BANDWIDTH, SHARE = 989e12, 3.35e12, 0.4
TOKENS, LONGEST, RANK = 8192, 4096, 16


def memory_table() -> str:
    """GiB per GPU of methods and models."""
    lines = [
        "| model | what trains | SFT, DPO, reward | GRPO | PPO |",
        "|---|---|---|---|---|",
    ]
    for name, shape in MODELS.items():
        for words, rank in (("adapters", RANK), ("every weight", None)):
            cells = [
                " / ".join(_gib(shape, method, rank, count) for count in GPUS) for method in ("sft", "grpo", "ppo")
            ]
            lines.append(f"| {name} | {words} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def _gib(shape: Shape, method: str, rank: int | None, count: int) -> str:
    kept, again = (
        training_memory(
            shape, tokens=TOKENS, longest=LONGEST, rank=rank, processes=count, recompute=recompute, method=method
        ).total
        / 2**30
        for recompute in (False, True)
    )
    if kept <= 72:
        return f"{kept:.0f}"
    return f"{again:.0f}*" if again <= 72 else f"**{again:.0f}**"


def time_table() -> str:
    """Seconds per million tokens of training, and of sampling."""
    lines = ["| model | SFT, every weight | SFT, adapters | sampling, 256 rows |", "|---|---|---|---|"]
    for name, shape in MODELS.items():
        full, adapters = (training_seconds(shape, 10**6, 1024, rank, PEAK, SHARE) for rank in (None, RANK))
        sampled = sampling_seconds(shape, 256, 10**6 // 256, PEAK * SHARE, BANDWIDTH * 0.6)
        lines.append(f"| {name} | {_seconds(full)} | {_seconds(adapters)} | {_seconds(sampled)} |")
    return "\n".join(lines)


def _seconds(value: float) -> str:
    return f"{value:.1f} s" if value < 100 else f"{value / 60:.0f} min"


def check_table() -> str:
    """The estimator beside what was measured on this kind of machine."""
    rows = json.loads(RESULTS.read_text())
    lines = ["| run | memory measured | estimated | seconds measured | estimated |", "|---|---|---|---|---|"]
    for row in rows:
        measured, expected = row["measured"], row["estimated"]
        lines.append(
            f"| {row['row']} | {measured['bytes'] / 2**30:.2f} GiB | {expected['bytes'] / 2**30:.2f} GiB "
            f"| {measured['seconds']:.1f} | {expected['seconds']:.1f} |"
        )
    return "\n".join(lines)


TABLES: dict[str, Callable[[], str]] = {"memory": memory_table, "time": time_table, "check": check_table}


def filled(text: str) -> str:
    """A page with the tables put between their marks."""
    for name, make in TABLES.items():
        start, end = f"<!-- {name} -->\n", f"<!-- end of {name} -->\n"
        before, _, rest = text.partition(start)
        after = rest.partition(end)[2]
        text = f"{before}{start}{make()}\n{end}{after}"
    return text


def main() -> None:
    """Write the page."""
    old = PAGE.read_text()
    text = filled(old)
    if "--check" in sys.argv:
        sys.exit(int(text != old))
    PAGE.write_text(text)


if __name__ == "__main__":
    main()
