"""Step `sft`: fine-tune on demonstrations."""

from __future__ import annotations

from typing import Any

from kilter.models import load
from kilter.recipes import rows
from kilter.recipes.step import Context, Kind
from kilter.recipes.trained import record_model
from kilter.training import SFTSettings, train_sft


def run(settings: SFTSettings, context: Context) -> dict[str, Any]:
    """Train and put the model on the record with its base and its demonstrations as parents."""
    lm = load(context.input("model").result["model"])
    demonstrations = rows.read_demonstrations(context.input("data").folder / rows.DEMONSTRATIONS)
    items = rows.items_of(demonstrations, lm)
    aside = max(1, len(items) // 20) if len(items) > 1 else 0
    settings = settings.model_copy(update={"seed": context.seed})
    folder = context.folder / "train"
    result = train_sft(lm, items[aside:], settings, folder, heldout=items[:aside], progress=context.progress)
    return record_model(context, folder, result, parents=("model", "data"))


KIND = Kind("sft", SFTSettings, run, inputs=("model", "data"), version=2)
