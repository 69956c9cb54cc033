"""Step `compare`: sample K responses to each prompt and let people, or a pool of simulated raters, rank them."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any, Literal, Self

from pydantic import Field, model_validator

from kilter.errors import DataError
from kilter.feedback.tasks import Overlap, Task, TaskItem
from kilter.feedback.tasks.questions import ComparisonQuestion, RankingQuestion
from kilter.feedback.work import Result
from kilter.judges import labels_to_judgments, rater_pool
from kilter.recipes import rows
from kilter.recipes.judging import judge_part, judging_parts, read_judgments
from kilter.recipes.parts import fan_out
from kilter.recipes.people import ask_people, guidelines, task_name
from kilter.recipes.sampling import Sampling, read_samples, sample_part, sampling_parts
from kilter.recipes.step import Context, Kind
from kilter.recipes.verdicts import Verdict, agree, judges_of, order_of
from kilter.record import NewArtifact
from kilter.settings import Settings
from kilter.training.seeds import derive_seed

SPARE = 1.25
"""So many prompts are sampled for each that is to be judged: of some, all responses are the same."""


class CompareStep(Settings):
    """Comparisons by people, or by simulated raters, who are called simulated wherever they are shown."""

    judge: Literal["simulated", "people"] = Field("simulated", description="Who compares.")
    items: int | None = Field(
        None, ge=1, description="Comparisons to be judged, of prompts whose responses differ; null: all prompts."
    )
    samples: int = Field(4, ge=2, le=9, description="Responses per prompt, ranked together; 2 are compared.")
    temperature: float = Field(0.7, gt=0, description="Sampling temperature.")
    max_new_tokens: int = Field(64, ge=1, description="Longest response.")
    raters_per_item: int = Field(1, ge=1, le=6, description="Raters who rank the responses to one prompt.")
    overlap: float = Field(0.2, ge=0, le=1, description="Share of prompts given to three raters, for agreement.")
    heldout: float = Field(0.2, ge=0, lt=1, description="Share of prompts kept aside to measure the reward model on.")
    guidelines: str | None = Field(None, max_length=200_000, description="For people: Markdown; null: Kilter's own.")
    until_agreement: float | None = Field(
        None, ge=-1, le=1, description="People may stop once Krippendorff's alpha is surely at least this; null: never."
    )

    @model_validator(mode="after")
    def _used(self) -> Self:
        if self.judge == "simulated":
            for name in ("guidelines", "until_agreement"):
                if getattr(self, name) is not None:
                    raise ValueError(f"{name} is for people; write judge: people, or leave it out")
        if self.until_agreement is not None and not self.overlap and self.raters_per_item == 1:
            raise ValueError("until_agreement needs an overlap, for with one rater per item nobody can agree")
        return self


def run(settings: CompareStep, context: Context) -> dict[str, Any]:
    """Sample, have it judged, and put comparisons and judgments on the record."""
    prompts, written = _responses(settings, context)
    targets = context.record.add_artifacts(
        NewArtifact("comparison", {"prompt": one.prompt, "responses": [x.text for x in group]})
        for one, group in zip(prompts, written, strict=True)
    )
    judge = _ask_people if settings.judge == "people" else _ask_simulated
    verdicts, found = judge(settings, context, prompts, written, targets)
    by_item: dict[int, list[Verdict]] = {}
    for one in verdicts:
        by_item.setdefault(one.item, []).append(one)
    judged = sorted(by_item)
    aside = round(len(judged) * settings.heldout)
    artifacts = {}
    for name, file, kept in (
        ("heldout", rows.HELDOUT, judged[:aside]), ("comparisons", rows.COMPARISONS, judged[aside:])
    ):  # fmt: skip
        lines = [_row(prompts[item], written[item], targets[item], by_item[item]) for item in kept]
        rows.write_rows(context.folder / file, lines)
        if kept:
            artifacts[name] = context.record.add_dataset(
                [targets[item] for item in kept], [one.judgment for item in kept for one in by_item[item]],
                meta={"name": f"{settings.judge} {name}"},
                parents=list(context.input("policy").result["artifacts"].values()),
            )  # fmt: skip
    triples = [triple for one in verdicts for triple in one.triples]
    rows.write_rows(context.folder / "labels.jsonl", ({"triple": triple} for triple in triples))
    judges = judges_of((one.judge, one.principal) for one in verdicts)
    return {
        "artifacts": artifacts, "rows": len(judged) - aside, "heldout": aside, "judgments": len(verdicts),
        "simulated": any(one["principal"] == "simulated" for one in judges.values()), "judges": judges, **found,
    }  # fmt: skip


Prompts = Sequence[rows.PromptRow]
Groups = Sequence[Sequence[rows.Written]]


def _responses(settings: CompareStep, context: Context) -> tuple[Prompts, Groups]:
    """The prompts that are to be judged, and their responses."""
    prompts = rows.read_prompts(context.input("data").folder / rows.COMPARISON_PROMPTS)
    if settings.judge == "simulated" and settings.items is None:
        return prompts, _sample(settings, context, prompts)
    wanted = settings.items or len(prompts)
    file = context.folder / "sampled.jsonl"
    if not file.exists():  # sampled once: what people are judging must not change when the run is stopped
        some = prompts[: math.ceil(SPARE * wanted)]
        groups = enumerate(_sample(settings, context, some))
        differ = [(number, group) for number, group in groups if len({one.text.strip() for one in group}) > 1]
        rows.write_rows(file, ({"number": number, "responses": _dicts(group)} for number, group in differ[:wanted]))
    kept = rows.read_dicts(file)
    if not kept:
        raise DataError(
            f"There is nothing to compare: to each prompt, all {settings.samples} responses are the same. Raise the "
            "temperature of the step, or start from another model."
        )
    if settings.items is not None and len(kept) < settings.items:
        context.tell(
            f"Only {len(kept)} of the {settings.items} comparisons can be had: too few prompts, or equal responses."
        )
    return [prompts[one["number"]] for one in kept], [[rows.Written(**x) for x in one["responses"]] for one in kept]


def _dicts(group: Sequence[rows.Written]) -> list[dict[str, Any]]:
    return [asdict(one) for one in group]


def _sample(settings: CompareStep, context: Context, prompts: Prompts) -> list[list[rows.Written]]:
    """The responses to each prompt, sampled in as many parts as there are workers."""
    what = "sampling responses to compare"
    seed = derive_seed(context.seed, "sample")
    sampling = Sampling(settings.samples, settings.temperature, settings.max_new_tokens, seed)
    model = context.input("policy").result["model"]
    parts = sampling_parts(what, model, prompts, sampling, context.workers.slots)
    return read_samples(context.follow(what, len(parts), fan_out(sample_part, parts, context.workers)))


def _ask_simulated(
    settings: CompareStep, context: Context, prompts: Prompts, written: Groups, targets: Sequence[str]
) -> tuple[list[Verdict], dict[str, Any]]:
    """What a pool of simulated raters says of the responses, judged in parts, and what the gold judge says."""
    per_item, overlap, slots = settings.raters_per_item, settings.overlap, context.workers.slots
    parts = judging_parts(prompts, written, context.seed, per_item, overlap, slots)
    pool = rater_pool(context.seed)
    judged = read_judgments(fan_out(judge_part, parts, context.workers), pool, context.seed)
    ids = context.record.add_judgments(labels_to_judgments(judged.labels, targets))
    rows.write_rows(context.folder / "raters.jsonl", (one.as_dict() for one in pool))
    verdicts = [
        Verdict(label.item, label.judge.name, label.judge.principal, judgment, order_of(label.opinion.value))
        for label, judgment in zip(judged.labels, ids, strict=True)
    ]
    return verdicts, {
        "tokens": sum(len(x.tokens or []) for group in written for x in group),
        "gold_spread": statistics.mean(statistics.pstdev(one) for one in judged.gold),
    }


def _ask_people(
    settings: CompareStep, context: Context, prompts: Prompts, written: Groups, targets: Sequence[str]
) -> tuple[list[Verdict], dict[str, Any]]:
    """What people say of the responses, once enough of them have said it."""
    two = settings.samples == 2
    task = Task(
        name=task_name(context), title="Which reply is better?" if two else "Rank the replies",
        guidelines=settings.guidelines or guidelines("compare"),
        questions=(ComparisonQuestion(name="better", both_bad=True) if two else RankingQuestion(name="ranking"),),
        overlap=Overlap(
            judges=settings.raters_per_item, sample=settings.overlap, sample_judges=max(3, settings.raters_per_item)
        ),
    )  # fmt: skip
    items = [
        TaskItem(tuple(one.prompt), tuple(x.text for x in group)) for one, group in zip(prompts, written, strict=True)
    ]
    number = {target: item for item, target in enumerate(targets)}
    least = settings.until_agreement

    def read(results: Sequence[Result]) -> list[Verdict]:
        return [
            Verdict(number[one.artifact], one.judge, one.judgment.principal, one.id, order_of(one.value))
            for one in results
        ]

    enough = None if least is None else lambda results: agree(read(results), least)
    verdicts = read(ask_people(context, task, items, "comparisons by people", enough))
    return sorted(verdicts, key=lambda one: one.item), {"task": task.name, "asked": len(items)}


def _row(
    prompt: rows.PromptRow, group: Sequence[rows.Written], target: str, said: Sequence[Verdict]
) -> rows.ComparisonRow:
    """A comparison with all that was said of it; a disagreement gives both ways."""
    pairs = [pair for one in said for pair in one.pairs]
    ties = [pair for one in said for pair in one.ties]
    return rows.ComparisonRow(prompt.prompt, list(group), pairs, target, prompt.instruction, ties)


KIND = Kind("compare", CompareStep, run, inputs=("policy", "data"))
