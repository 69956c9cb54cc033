"""Simulated raters and the program judge in parts that may be done anywhere.

Who judges a comparison and how depends on its content and the seed alone, so parts may be cut at will.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from kilter.judges import (
    Candidate,
    Comparison,
    Label,
    Opinion,
    ProgramJudge,
    SimulatedRater,
    label_with_pool,
    rater_pool,
)
from kilter.recipes.parts import Part, cut
from kilter.recipes.rows import PromptRow, Written
from kilter.testbeds.instructions import Instruction


@dataclass(frozen=True)
class Judged:
    """What was said of all comparisons: labels ordered by item, and each comparison's gold scores."""

    labels: list[Label]
    gold: list[tuple[float, ...]]


def judging_parts(
    prompts: Sequence[PromptRow], responses: Sequence[Sequence[Written]], seed: int, per_item: int, overlap: float,
    slots: int,
) -> list[Part]:  # fmt: skip
    """The work of judging, in at most `slots` parts."""
    rows = [
        {"prompt": one.text, "responses": [[x.text, x.finished] for x in group], "instruction": one.instruction}
        for one, group in zip(prompts, responses, strict=True)
    ]
    return [
        Part(
            f"judging comparisons {some.start + 1} to {some.stop}",
            {"seed": seed, "per_item": per_item, "overlap": overlap, "comparisons": rows[some.start : some.stop]},
        )
        for some in cut(len(rows), slots)
    ]


def judge_part(data: Mapping[str, Any]) -> dict[str, Any]:
    """The job: opinions of the raters as (item, rater, value, sides), and the gold scores."""
    comparisons = [_comparison(one) for one in data["comparisons"]]
    labels = label_with_pool(
        rater_pool(data["seed"]), comparisons, data["seed"], per_item=data["per_item"], overlap=data["overlap"]
    )
    gold = ProgramJudge().judge(comparisons, 0)
    return {
        "labels": [[one.item, one.judge.name, one.opinion.value, one.opinion.side_shown] for one in labels],
        "gold": [one.ratings for one in gold],
    }


def read_judgments(results: Iterable[dict[str, Any]], pool: Sequence[SimulatedRater], seed: int) -> Judged:
    """The parts' results as one, items numbered through."""
    raters = {one.name: one for one in pool}
    judged = Judged([], [])
    for part in results:
        first = len(judged.gold)
        for item, name, value, sides in part["labels"]:
            opinion = Opinion(tuple(value) if isinstance(value, list | tuple) else value, None, tuple(sides), seed)
            judged.labels.append(Label(first + item, raters[name], opinion))
        judged.gold.extend(tuple(one) for one in part["gold"])
    return judged


def _comparison(row: Mapping[str, Any]) -> Comparison:
    instruction = None if row["instruction"] is None else Instruction.from_dict(row["instruction"])
    return Comparison(row["prompt"], tuple(Candidate(*one) for one in row["responses"]), instruction)
