"""Step `preferences`: human comparisons from a file, a `datasets` folder or a hub name."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kilter.errors import DataError
from kilter.feedback import Preference, read_preferences, record_preferences, split
from kilter.models import LanguageModel, load
from kilter.recipes import rows
from kilter.recipes.step import Context, Kind, file_hashes
from kilter.settings import Settings
from kilter.training.seeds import permutation


class PreferencesStep(Settings):
    """Human comparisons: hh-rlhf dialogues, {prompt, chosen, rejected}, or K-way rankings."""

    path: str = Field(description="File (JSONL, gzipped or not, JSON, CSV, Parquet), `datasets` folder or hub name.")
    split: str | None = Field(None, description="Split of a `datasets` folder or hub data set.")
    columns: dict[str, str] = Field({}, description="Names of the columns in the file, {prompt: question}.")
    ties: bool = Field(False, description="Keep judgments that found all responses equally good, for reward.ties.")
    judge: str = Field("people", description="Name of those who judged, for the record.")
    extra: list[str] = Field([], description="Further files of the same kind, added to the first.")
    heldout: int = Field(1000, ge=1, description="Comparisons kept aside to measure the reward model on.")
    limit: int | None = Field(None, ge=2, description="Use at most this many comparisons for training.")
    demonstrations: int = Field(512, ge=1, description="Preferred responses used for SFT.")
    test: int = Field(128, ge=2, description="Held-out prompts for the evaluation.")
    max_tokens: int = Field(512, ge=16, description="Leave out longer dialogues (prompt and longest response).")


def run(settings: PreferencesStep, context: Context) -> dict[str, Any]:
    """Read, split by prompt, put on the record, and write the files that training reads."""
    lm = load(context.input("model").result["model"])
    learn: list[rows.ComparisonRow] = []
    aside: list[rows.ComparisonRow] = []
    artifacts, counts, too_long = {}, {}, 0
    sources = [settings.path, *settings.extra]
    wanted = settings.heldout
    for number, source in enumerate(sources):
        data = read_preferences(source, split=settings.split, columns=settings.columns, ties=settings.ties)
        kept = [one for one in data if _length(one, lm) <= settings.max_tokens]
        too_long += len(data) - len(kept)
        share = wanted if number == 0 else 0
        if number == 0 and len(kept) <= wanted:
            raise DataError(
                f"{source} holds {len(kept)} usable comparisons, but {wanted} are to be held out. "
                f"Lower heldout (data.heldout={max(1, len(kept) // 5)}) or give more data."
            )
        train, held = split(kept, share / len(kept), context.seed) if share else (kept, [])
        for name, part in (("comparisons", train), ("heldout", held)):
            if not part:
                continue
            written = record_preferences(context.record, data, part, judge=settings.judge, name=f"{data.source} {name}")
            artifacts[f"{name}{number or ''}"] = written.dataset
            target = learn if name == "comparisons" else aside
            target.extend(_row(one, where) for one, where in zip(part, written.comparisons, strict=True))
        counts[data.source] = {"kept": len(kept), "skipped": dict(data.skipped.counts)}
    held_prompts = {one.prompt[-1]["content"] for one in aside}
    learn = [one for one in learn if one.prompt[-1]["content"] not in held_prompts]
    order = permutation(len(learn), context.seed, "learn")[: settings.limit]
    learn = [learn[index] for index in order]
    aside = [one for one in aside if one.pairs]  # nothing can be right or wrong about a tie
    rows.write_rows(context.folder / rows.COMPARISONS, learn)
    rows.write_rows(context.folder / rows.HELDOUT, aside)
    decided = [one for one in learn if one.pairs]
    demonstrations = [rows.DemonstrationRow(one.prompt, _best(one)) for one in decided[: settings.demonstrations]]
    rows.write_rows(context.folder / rows.DEMONSTRATIONS, demonstrations)
    rows.write_rows(context.folder / rows.PROMPTS, [rows.PromptRow(one.prompt) for one in learn])
    rows.write_rows(context.folder / rows.TEST, [rows.PromptRow(one.prompt) for one in aside[: settings.test]])
    return {
        "artifacts": artifacts, "source": ", ".join(sources), "rows": len(learn), "heldout": len(aside),
        "sources": counts, "too_long": too_long, "judge": settings.judge,
    }  # fmt: skip


def _row(one: Preference, target: str) -> rows.ComparisonRow:
    responses = [rows.Written(text) for text in one.responses]
    return rows.ComparisonRow(list(one.prompt), responses, one.pairs, target, None, one.ties, one.margin)


def _best(row: rows.ComparisonRow) -> str:
    losers = {worse for _, worse in row.pairs}
    best = next((index for index in range(len(row.responses)) if index not in losers), 0)
    return row.responses[best].text


def _length(one: Preference, lm: LanguageModel) -> int:
    return len(lm.encode_prompt(one.prompt)) + max(len(lm.encode_response(text)) for text in one.responses)


def files(settings: PreferencesStep) -> dict[str, str]:
    """Hashes of the files named, so that new content is read anew."""
    return file_hashes(settings.path, *settings.extra)


KIND = Kind("preferences", PreferencesStep, run, inputs=("model",), files=files)
