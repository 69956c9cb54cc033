"""Step `dpo`: improve the policy on comparisons directly, without a reward model."""

from __future__ import annotations

from typing import Any

from kilter.models import load
from kilter.recipes import rows
from kilter.recipes.step import Context, Kind
from kilter.recipes.trained import record_model
from kilter.training import DPOSettings, train_dpo


def run(settings: DPOSettings, context: Context) -> dict[str, Any]:
    """Train on the comparisons, and measure on those held out, if any are."""
    lm = load(context.input("policy").result["model"])
    source = context.input("comparisons").folder
    learn, aside = (
        [one.ranked(lm) for one in rows.read_comparisons(source / file)] for file in (rows.COMPARISONS, rows.HELDOUT)
    )
    folder = context.folder / "train"
    own = settings.model_copy(update={"seed": context.seed})
    result = train_dpo(lm, learn, own, folder, heldout=aside, progress=context.progress)
    return record_model(context, folder, result, parents=("policy", "comparisons"))


KIND = Kind("dpo", DPOSettings, run, inputs=("policy", "comparisons"))
