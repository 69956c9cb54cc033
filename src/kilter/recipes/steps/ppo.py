"""Step `ppo`: improve the policy against the reward model."""

from __future__ import annotations

from typing import Any

from pydantic import Field

from kilter.feedback import read_texts
from kilter.recipes.rewarded import gold_observer, open_rewarded
from kilter.recipes.step import Context, Kind, file_hashes
from kilter.recipes.trained import record_model
from kilter.testbeds.plain_text import paragraphs
from kilter.training import PPOSettings, make_models, train_ppo


class PPOStep(PPOSettings):
    """PPO-ptx, with the prompts of the data step."""

    texts: str | None = Field(None, description="Plain text for the ptx term; null takes Kilter's own paragraphs.")


def run(settings: PPOStep, context: Context) -> dict[str, Any]:
    """Train; where a testbed knows the truth, log its score of every rollout without training on it."""
    lm, reward, prompts = open_rewarded(context, settings.lora)
    texts = [one.text for one in paragraphs("train")] if settings.texts is None else list(read_texts(settings.texts))
    own = PPOSettings(**settings.model_dump(exclude={"texts"}) | {"seed": context.seed})
    folder = context.folder / "train"
    result = train_ppo(
        make_models(lm, reward, own),
        [lm.encode_prompt(one.prompt) for one in prompts],
        own,
        folder,
        texts=[lm.encode_text(str(text)) for text in texts],
        observe=gold_observer(prompts),
        progress=context.progress,
    )
    return record_model(context, folder, result, parents=("policy", "reward"))


KIND = Kind(
    "ppo", PPOStep, run, inputs=("policy", "reward", "data"), files=lambda settings: file_hashes(settings.texts)
)
