"""Step `reward`: train the reward model on comparisons."""

from __future__ import annotations

from typing import Any

from kilter.models import load
from kilter.recipes import rows
from kilter.recipes.step import Context, Kind
from kilter.recipes.trained import record_model
from kilter.training import RewardSettings, train_reward
from kilter.training.reward import pair_margins


def run(settings: RewardSettings, context: Context) -> dict[str, Any]:
    """Train, put the model on the record, and keep its margins on the held-out comparisons."""
    lm = load(context.input("policy").result["model"])
    source = context.input("comparisons").folder
    items = [one.ranked(lm) for one in rows.read_comparisons(source / rows.COMPARISONS)]
    aside = rows.read_comparisons(source / rows.HELDOUT)
    settings = settings.model_copy(update={"seed": context.seed})
    folder = context.folder / "train"
    model, result = train_reward(lm, items, settings, folder, progress=context.progress)
    heldout = [one.ranked(lm) for one in aside]
    margins = pair_margins(model, heldout)
    rows.write_rows(
        context.folder / "heldout_margins.jsonl",
        (
            # Scores were normalized for PPO; times std the margin is the logit that the loss was about.
            {"prompt": number, "better": better, "worse": worse, "logit": float(margin) * model.std}
            for number, (row, values) in enumerate(zip(aside, margins, strict=True))
            for (better, worse), margin in zip(row.pairs, values, strict=True)
        ),
    )
    return record_model(context, folder, result, parents=("policy", "comparisons"))


KIND = Kind("reward", RewardSettings, run, inputs=("policy", "comparisons"), version=2)
