"""Step `kto`: improve the policy on the best and the worst response of each comparison, each marked by itself."""

from __future__ import annotations

from typing import Any

from kilter.models import Item, LanguageModel, load
from kilter.recipes import rows
from kilter.recipes.step import Context, Kind
from kilter.recipes.trained import record_model
from kilter.training import KTOSettings, MarkedItem, train_kto


def run(settings: KTOSettings, context: Context) -> dict[str, Any]:
    """Train on what won and lost no comparison, and on what lost and won none."""
    lm = load(context.input("policy").result["model"])
    compared = rows.read_comparisons(context.input("comparisons").folder / rows.COMPARISONS)
    items = [marked for one in compared for marked in _marked(one, lm)]
    folder = context.folder / "train"
    own = settings.model_copy(update={"seed": context.seed})
    result = train_kto(lm, items, own, folder, progress=context.progress)
    return record_model(context, folder, result, parents=("policy", "comparisons"))


def _marked(row: rows.ComparisonRow, lm: LanguageModel) -> list[MarkedItem]:
    winners, losers = ({pair[side] for pair in row.pairs} for side in (0, 1))
    prompt = lm.encode_prompt(row.prompt)
    return [
        MarkedItem(Item(prompt, [row.responses[number].ids(lm)]), number in winners)
        for number in sorted(winners ^ losers)
    ]


KIND = Kind("kto", KTOSettings, run, inputs=("policy", "comparisons"))
