"""Step `compare`: sample K responses to each prompt and let a pool of simulated raters rank them."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from pydantic import Field

from kilter.judges import Label, labels_to_judgments, rater_pool
from kilter.recipes import rows
from kilter.recipes.judging import Judged, judge_part, judging_parts, read_judgments
from kilter.recipes.parts import fan_out
from kilter.recipes.sampling import Sampling, read_samples, sample_part, sampling_parts
from kilter.recipes.step import Context, Kind
from kilter.record import NewArtifact
from kilter.settings import Settings
from kilter.training.seeds import derive_seed


class CompareStep(Settings):
    """Comparisons by simulated raters, called simulated wherever they are shown."""

    samples: int = Field(4, ge=2, le=9, description="Responses per prompt, ranked together.")
    temperature: float = Field(0.7, gt=0, description="Sampling temperature.")
    max_new_tokens: int = Field(64, ge=1, description="Longest response.")
    raters_per_item: int = Field(1, ge=1, le=6, description="Raters who rank the responses to one prompt.")
    overlap: float = Field(0.2, ge=0, le=1, description="Share of prompts given to three raters, for agreement.")
    heldout: float = Field(0.2, gt=0, lt=1, description="Share of prompts kept aside to measure the reward model on.")


def run(settings: CompareStep, context: Context) -> dict[str, Any]:
    """Sample, judge, and put comparisons and judgments on the record."""
    prompts = rows.read_prompts(context.input("data").folder / rows.COMPARISON_PROMPTS)
    written = _sample(settings, context, prompts)
    pool = rater_pool(context.seed)
    judged = _judge(settings, context, prompts, written)
    labels = judged.labels
    targets = context.record.add_artifacts(
        NewArtifact("comparison", {"prompt": one.prompt, "responses": [x.text for x in group]})
        for one, group in zip(prompts, written, strict=True)
    )
    judgments = context.record.add_judgments(labels_to_judgments(labels, targets))
    aside = round(len(prompts) * settings.heldout)
    artifacts = {}
    for name, kept in (("heldout", range(aside)), ("comparisons", range(aside, len(prompts)))):
        own = set(kept)
        mine = [judgment for label, judgment in zip(labels, judgments, strict=True) if label.item in own]
        artifacts[name] = context.record.add_dataset(
            [targets[index] for index in kept], mine, meta={"name": f"simulated {name}"},
            parents=list(context.input("policy").result["artifacts"].values()),
        )  # fmt: skip
        file = rows.HELDOUT if name == "heldout" else rows.COMPARISONS
        by_item = _by_item(labels, own)
        rows.write_rows(
            context.folder / file,
            (
                rows.ComparisonRow(prompts[i].prompt, written[i], pairs, targets[i], prompts[i].instruction)
                for i, pairs in by_item
            ),
        )
    triples = [
        [label.judge.name, f"{label.item}:{a}:{b}", int(a == better)]
        for label in labels
        for a, b, better in _ordered_pairs(label)
    ]
    rows.write_rows(context.folder / "labels.jsonl", ({"triple": triple} for triple in triples))
    rows.write_rows(context.folder / "raters.jsonl", (one.as_dict() for one in pool))
    return {
        "artifacts": artifacts, "rows": len(prompts) - aside, "heldout": aside, "judgments": len(judgments),
        "simulated": True, "tokens": sum(len(x.tokens or []) for group in written for x in group),
        "gold_spread": statistics.mean(statistics.pstdev(one) for one in judged.gold),
    }  # fmt: skip


def _sample(settings: CompareStep, context: Context, prompts: Sequence[rows.PromptRow]) -> list[list[rows.Written]]:
    """The responses to each prompt, sampled in as many parts as there are workers."""
    what = "sampling responses to compare"
    seed = derive_seed(context.seed, "sample")
    sampling = Sampling(settings.samples, settings.temperature, settings.max_new_tokens, seed)
    model = context.input("policy").result["model"]
    parts = sampling_parts(what, model, prompts, sampling, context.workers.slots)
    return read_samples(context.follow(what, len(parts), fan_out(sample_part, parts, context.workers)))


def _judge(
    settings: CompareStep, context: Context, prompts: Sequence[rows.PromptRow], written: list[list[rows.Written]]
) -> Judged:
    """What the raters and the gold judge say of the responses, also in parts."""
    per_item, overlap, slots = settings.raters_per_item, settings.overlap, context.workers.slots
    parts = judging_parts(prompts, written, context.seed, per_item, overlap, slots)
    return read_judgments(fan_out(judge_part, parts, context.workers), rater_pool(context.seed), context.seed)


def _ordered_pairs(label: Label) -> list[tuple[int, int, int]]:
    """For each pair a < b of a label's responses, (a, b, the better one)."""
    value = label.opinion.value
    if isinstance(value, int):
        return [(0, 1, value)]
    if value == "tie":
        return []
    place = {index: position for position, index in enumerate(value)}
    indices = sorted(place)
    return [(a, b, a if place[a] < place[b] else b) for a in indices for b in indices if a < b]


def _by_item(labels: Sequence[Label], items: set[int]) -> list[tuple[int, list[tuple[int, int]]]]:
    """For each item, the pairs (better, worse) that all its raters gave; a disagreement gives both ways."""
    pairs: dict[int, list[tuple[int, int]]] = {item: [] for item in sorted(items)}
    for label in labels:
        if label.item in items:
            pairs[label.item] += [(better, b if better == a else a) for a, b, better in _ordered_pairs(label)]
    return list(pairs.items())


KIND = Kind("compare", CompareStep, run, inputs=("policy", "data"))
