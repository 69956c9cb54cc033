"""The columns that say of every exported row where it comes from."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from kilter import __version__
from kilter.feedback.exchange.verdicts import Verdict

COLUMNS = {
    "kilter_dataset": pa.string(), "kilter_task": pa.string(), "kilter_question": pa.string(),
    "kilter_asked": pa.string(), "kilter_item": pa.string(), "kilter_use": pa.string(),
    "kilter_judgments": pa.list_(pa.string()), "kilter_judges": pa.list_(pa.string()),
    "kilter_principals": pa.list_(pa.string()), "kilter_n": pa.int64(), "kilter_share": pa.float64(),
    "kilter_posterior": pa.float64(), "kilter_aggregate": pa.string(), "kilter_started": pa.list_(pa.string()),
    "kilter_active_ms": pa.list_(pa.int64()), "kilter_sides_shown": pa.list_(pa.list_(pa.int64())),
    "kilter_arms": pa.list_(pa.string()), "kilter_meta": pa.string(), "kilter_record_root": pa.string(),
    "kilter_record_size": pa.int64(), "kilter_version": pa.string(),
}  # fmt: skip
"""Name and type of each; lists hold one entry per judgment, in the same order."""


@dataclass(frozen=True)
class Stamp:
    """What all rows of an export have in common.

    Attributes:
        dataset: id of the export on the record, as a data set.
        task, question, asked: names, and the question as raters read it.
        root, size: of the record's log at export, for `kilter record verify --since SIZE:ROOT`.
        arms: by judgment the arm of an experiment on help in which it was given; none of other judgments.
    """

    dataset: str
    task: str
    question: str
    asked: str
    root: str
    size: int
    arms: Mapping[str, str] = field(default_factory=dict)


def provenance(verdict: Verdict, stamp: Stamp) -> dict[str, Any]:
    """The columns of one row."""
    judgments = [one.judgment for one in verdict.results]
    return {
        "kilter_dataset": stamp.dataset, "kilter_task": stamp.task, "kilter_question": stamp.question,
        "kilter_asked": stamp.asked, "kilter_item": verdict.artifact, "kilter_use": verdict.item.use,
        "kilter_judgments": [one.id for one in verdict.results],
        "kilter_judges": [one.judge for one in judgments],
        "kilter_principals": [one.principal for one in judgments],
        "kilter_n": len(judgments), "kilter_share": verdict.share, "kilter_posterior": verdict.posterior,
        "kilter_aggregate": verdict.method, "kilter_started": [one.started for one in judgments],
        "kilter_active_ms": [one.active_ms for one in judgments],
        "kilter_sides_shown": [one.side_shown for one in judgments],
        "kilter_arms": [stamp.arms.get(one.id) for one in verdict.results],
        "kilter_meta": json.dumps(dict(verdict.item.meta), ensure_ascii=False, sort_keys=True),
        "kilter_record_root": stamp.root, "kilter_record_size": stamp.size, "kilter_version": __version__,
    }  # fmt: skip
