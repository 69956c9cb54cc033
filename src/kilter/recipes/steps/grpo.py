"""Step `grpo`: improve the policy against the reward model without a value model, or by another variant of GRPO."""

from __future__ import annotations

from typing import Any

from kilter.recipes.rewarded import gold_observer, open_rewarded
from kilter.recipes.step import Context, Kind
from kilter.recipes.trained import record_model
from kilter.training import GRPOSettings, train_grpo


def run(settings: GRPOSettings, context: Context) -> dict[str, Any]:
    """Train; where a testbed knows the truth, log its score of every rollout without training on it."""
    lm, reward, prompts = open_rewarded(context, settings.lora)
    folder = context.folder / "train"
    result = train_grpo(
        lm, [one.prompt for one in prompts], reward, settings.model_copy(update={"seed": context.seed}), folder,
        observe=gold_observer(prompts), progress=context.progress,
    )  # fmt: skip
    return record_model(context, folder, result, parents=("policy", "reward"))


KIND = Kind("grpo", GRPOSettings, run, inputs=("policy", "reward", "data"))
