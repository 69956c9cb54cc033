"""Step `check`: people say, blind, which of two models' responses to test prompts they would rather have.

Both models answer the same prompts with the same random numbers. Which side is which stays on the server. Where both
wrote the same, nobody is asked: it is a tie.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random
from typing import Any

from pydantic import Field

from kilter.errors import SettingsError
from kilter.feedback.tasks import Overlap, Task, TaskItem
from kilter.feedback.tasks.questions import ComparisonQuestion
from kilter.feedback.work import Result
from kilter.recipes import rows
from kilter.recipes.outcome import outcome
from kilter.recipes.parts import fan_out
from kilter.recipes.people import ask_people, guidelines, task_name
from kilter.recipes.sampling import Sampling, read_samples, sample_part, sampling_parts
from kilter.recipes.step import Context, Kind
from kilter.recipes.verdicts import LEVEL, judges_of
from kilter.record import NewArtifact
from kilter.settings import Settings
from kilter.training.seeds import derive_seed


class CheckStep(Settings):
    """A blind check by people of after against before."""

    prompts: int = Field(20, ge=1, description="Test prompts that both models answer.")
    temperature: float = Field(0.7, gt=0, description="Sampling temperature.")
    max_new_tokens: int = Field(64, ge=1, description="Longest response.")
    raters_per_item: int = Field(1, ge=1, le=100, description="People who judge each pair of responses.")
    guidelines: str | None = Field(None, max_length=200_000, description="Markdown; null: Kilter's own.")


def run(settings: CheckStep, context: Context) -> dict[str, Any]:
    """Sample, ask, and put the win rate on the record as evidence."""
    before = _before(context)
    lines = _responses(settings, context, before)
    asked = [line for line in lines if line["asked"]]
    targets = context.record.add_artifacts(NewArtifact(one.kind, one.body()) for one in map(_item, asked))
    by_target = dict(zip(targets, asked, strict=True))
    results = _ask(settings, context, asked) if asked else []
    for one in results:
        by_target[one.artifact]["said"].append(_said(one, by_target[one.artifact]))
    rows.write_rows(context.folder / "check.jsonl", lines)
    found = outcome(lines)
    for name, estimate in found["figures"].items():
        context.record.add_evidence(name, run=context.run, **estimate)
    artifacts = {}
    if results:
        artifacts["check"] = context.record.add_dataset(
            list(by_target), [one.id for one in results], meta={"name": "blind check"},
            parents=[context.input(name).result["artifacts"]["model"] for name in ("policy", before)],
        )  # fmt: skip
    judges = judges_of((one.judge, one.judgment.principal) for one in results)
    return {"artifacts": artifacts, "judges": judges, "before": context.input(before).name, **found}


def _before(context: Context) -> str:
    """The input whose model is compared with: named `before`, or else the SFT model, or else the start."""
    for name in ("before", "sft", "model"):
        if name in context.inputs:
            return name
    raise SettingsError(
        "A check compares the policy with a model before it, and there is no step called sft or model. Write "
        "inputs: {before: STEP} in the step of the check."
    )


def _responses(settings: CheckStep, context: Context, before: str) -> list[dict[str, Any]]:
    """What both models wrote, sampled once: what people are judging must not change when the run is stopped."""
    file = context.folder / "sampled.jsonl"
    if not file.exists():
        prompts = rows.read_prompts(context.input("data").folder / rows.TEST)[: settings.prompts]
        sampling = Sampling(
            1, settings.temperature, settings.max_new_tokens, derive_seed(context.seed, "sample")
        )  # the same random numbers for both
        written = [_sample(context, name, prompts, sampling) for name in (before, "policy")]
        random = Random(f"{context.seed} order")
        lines = []
        for prompt, old, new in zip(prompts, *written, strict=True):
            lines.append({
                "prompt": prompt.prompt, "text": prompt.text, "before": _told(old), "after": _told(new),
                "asked": old.text.strip() != new.text.strip(), "after_is": random.randrange(2), "said": [],
            })  # fmt: skip
        rows.write_rows(file, lines)
    return rows.read_dicts(file)


def _sample(context: Context, name: str, prompts: Sequence[rows.PromptRow], sampling: Sampling) -> list[rows.Written]:
    what = f"sampling from {context.input(name).name}"
    parts = sampling_parts(what, context.input(name).result["model"], prompts, sampling, context.workers.slots)
    found = read_samples(context.follow(what, len(parts), fan_out(sample_part, parts, context.workers)))
    return [group[0] for group in found]


def _told(one: rows.Written) -> dict[str, Any]:
    return {"text": one.text, "finished": one.finished, "tokens": len(one.tokens or [])}


def _item(line: Mapping[str, Any]) -> TaskItem:
    """The item; the order of its responses, which is kept for ever, says nothing of them."""
    texts = [line["before"]["text"], line["after"]["text"]]
    return TaskItem(tuple(line["prompt"]), tuple(texts if line["after_is"] else reversed(texts)))


def _ask(settings: CheckStep, context: Context, asked: Sequence[Mapping[str, Any]]) -> list[Result]:
    task = Task(
        name=task_name(context), title="Which reply is better? (blind check)",
        guidelines=settings.guidelines or guidelines("check"),
        questions=(ComparisonQuestion(name="better", both_bad=True),),
        overlap=Overlap(judges=settings.raters_per_item),
    )  # fmt: skip
    return ask_people(context, task, [_item(line) for line in asked], "blind check by people")


def _said(one: Result, line: Mapping[str, Any]) -> dict[str, Any]:
    """Whether the one after won, and where it stood: 0 left, 1 right."""
    after = line["after_is"]
    won = 0.5 if one.value in LEVEL else float(one.value == after)
    side = (one.judgment.side_shown or [0, 1]).index(after)
    return {"judge": one.judge, "principal": one.judgment.principal, "won": won, "side": side, "judgment": one.id}


KIND = Kind("check", CheckStep, run, inputs=("policy", "data"), optional=("before", "sft", "model"))
