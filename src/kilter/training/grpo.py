"""Policy gradients without a value model: GRPO and its corrections, RLOO, REINFORCE++.

One step: sample n responses to each of a batch of prompts, reward them, compare each with its siblings, and raise the
probability of what was better. The named variants differ in four choices, listed in VARIANTS:

- grpo (DeepSeekMath, arXiv 2402.03300): advantage (r - mean) / std of the group; mean over each response's tokens.
- dr_grpo (arXiv 2503.20783): neither divides by the standard deviation nor by the response's length, which favor easy
  prompts and long wrong answers.
- dapo (arXiv 2503.14476): clip higher upward, mean over all tokens, cut-off responses and groups without variance left
  out (they are not sampled again until the batch is full, as the paper does).
- gspo (arXiv 2507.18071): one probability ratio for the whole response.
- rloo (arXiv 2402.14740): each response against the mean of the others; the KL is part of the reward.
- reinforce++ (arXiv 2501.03262): no group; returns with a KL penalty per token, whitened over the batch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import torch
from pydantic import Field
from torch import Tensor

from kilter.errors import SettingsError
from kilter.models import LanguageModel, Response
from kilter.models.ensemble import RewardModel
from kilter.training.episodes import Draw, Environment, as_environment, play, rewards_of_episodes
from kilter.training.group_losses import (
    Advantage,
    Normalize,
    clipped_loss,
    group_advantages,
    kl_loss,
    returns_to_go,
    sequence_ratio,
    token_weights,
)
from kilter.training.guards import require_varied
from kilter.training.loop import Loop, Progress, finished_result, no_progress
from kilter.training.losses import kl_k3, whiten
from kilter.training.optimizer import Optimizer
from kilter.training.overoptimization import Monitor, length_cost, linear
from kilter.training.policy import Policy
from kilter.training.prepare import prepare
from kilter.training.rewards import Prompt, Rewards, Weighted, as_weighted, content_of, described, reward_of
from kilter.training.rollout import Rollout, RolloutSettings, rollout_items
from kilter.training.rollout_loop import Observe, Part, improve_by_rollouts, update_policy
from kilter.training.settings import fingerprint, weights_digest
from kilter.training.sft import check_lengths
from kilter.training.step_rewards import StepReward, step_advantages, step_rewards

PATIENCE = 5
"""Steps from the start in which all rewards may be the same before the run stops."""


@dataclass(frozen=True)
class Variant:
    """What the named algorithms differ in.

    Attributes:
        advantage: how a response is compared with its siblings; "returns" is per token and over the batch.
        normalize: what the sum over tokens is divided by.
        clip: how far the probability ratio may go down and up.
        by_sequence: one ratio per response instead of one per token.
        kl_in_reward: the KL penalty is part of the reward instead of the loss.
        drop: leave out cut-off responses and groups without variance.
    """

    advantage: Advantage
    normalize: Normalize
    clip: tuple[float, float] = (0.2, 0.2)
    by_sequence: bool = False
    kl_in_reward: bool = False
    drop: bool = False


VARIANTS: dict[str, Variant] = {
    "grpo": Variant("standardized", "response"),
    "dr_grpo": Variant("centered", "constant"),
    "dapo": Variant("standardized", "token", clip=(0.2, 0.28), drop=True),
    "gspo": Variant("standardized", "response", clip=(3e-4, 4e-4), by_sequence=True),
    "rloo": Variant("leave_one_out", "sequence", kl_in_reward=True),
    "reinforce++": Variant("returns", "token", kl_in_reward=True),
}


class GRPOSettings(RolloutSettings):
    """GRPO and its relatives."""

    variant: Literal["grpo", "dr_grpo", "dapo", "gspo", "rloo", "reinforce++"] = Field(
        "grpo", description="Named algorithm: how responses are compared and the loss is averaged."
    )
    samples: int = Field(8, ge=1, description="Responses per prompt, the group.")
    minibatches: int = Field(1, ge=1, description="Updates per pass.")
    kl_coef: float = Field(0.04, ge=0, description="Weight of the KL penalty (beta); 0 turns it off.")
    kl_coef_end: float | None = Field(None, ge=0, description="Let kl_coef go linearly to this; null: constant.")
    kl_gradient: Literal["exact", "k3"] = Field(
        "exact", description="A KL in the loss pushes along its true gradient, or along that of k3 as GRPO wrote it."
    )
    clip: float | None = Field(None, gt=0, description="Clip range both ways; null takes the variant's own.")
    turns: int = Field(1, ge=1, description="Most replies of the policy in an episode, with an environment as reward.")

    @property
    def longest(self) -> int:
        """Tokens of all replies that an episode can have."""
        return self.max_new_tokens * self.turns


def train_grpo(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    reward: Rewards | type[Environment],
    settings: GRPOSettings,
    folder: Path,
    *,
    step_reward: StepReward | None = None,
    observe: Observe | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Improve `lm` by any reward; the trained policy is active on return and lies in `folder/model`.

        train_grpo(lm, prompts, lambda prompts, responses: [-abs(len(one.split()) - 20) for one in responses],
                   GRPOSettings(steps=20), Path("short"))

    Args:
        lm: the model to start from, which is the KL's reference too.
        prompts: texts or chats.
        reward: a function (prompts, responses) -> numbers, a reward model on the same trunk, or several with weights;
            or an `Environment`, with which the policy talks for up to `settings.turns` turns.
        step_reward: rewards of single steps (lines), learned from beside `reward`: a function (prompts, steps) -> for
            each response one number per step, such as `ProcessRewardModel.steps`.
        observe: sees every step's responses, for a gold judge that is not trained on.

    Raises:
        DataError: there are no prompts, one leaves no room for a response, or a reward is not a finite number.
        SettingsError: several turns without an environment, a group of one with a variant that compares siblings, or a
            KL with full fine-tuning and a reward model on the trunk that is trained.
        TrainingStopped: divergence, KL beyond its bound, collapsed entropy, rewards that never differ.
    """
    source = _Source.of(reward, step_reward)
    variant = VARIANTS[settings.variant]
    _check(lm, source, settings, variant)
    encoded = [lm.encode_prompt(prompt) for prompt in prompts]
    check_lengths(rollout_items(encoded, settings, lm.context), lm)
    policy, reference = Policy.with_reference(lm, "grpo", settings.lora, settings.seed)
    start = [str(lm.dtype), weights_digest(policy.parameters()), source.content()]
    identity = fingerprint("grpo", settings, encoded, lm.weights_hash, start)
    done = finished_result(folder, identity)
    if done is not None:
        policy.load(folder / "model")
        return done
    prepare(settings, settings.lora, rollout_items(encoded, settings, lm.context), lm, reference.lm)
    optimizer = Optimizer(policy.parameters(), settings, settings.updates, eps=1e-5, betas=(0.9, 0.999))
    monitor = Monitor(policy, settings)
    loop = Loop(folder, "grpo", settings.steps, identity, {"optimizer": optimizer, "best": monitor}, progress,
                settings.checkpoint_seconds, counters={"constant": 0})  # fmt: skip

    def estimate(rollout: Rollout, numbers: Sequence[int], step: int) -> tuple[Tensor, dict[str, float]]:
        given = [prompts[number] for number in numbers for _ in range(settings.samples)]
        return _estimate(lm, rollout, given, source, _at(settings, step), variant, loop, step)

    def improve(rollout: Rollout, advantages: Tensor, step: int) -> dict[str, float]:
        now = _at(settings, step)
        return update_policy(
            policy, rollout, settings, step, optimizer, loop,
            lambda part: _backward(part, rollout, advantages, now, variant),
        )  # fmt: skip

    environment = source.environment
    return improve_by_rollouts(
        loop, policy, reference, encoded, settings, estimate, improve, monitor, observe, score=not settings.on_policy,
        play=partial(_play, lm, environment, prompts, encoded, settings) if environment is not None else None,
    )  # fmt: skip


@dataclass(frozen=True)
class _Source:
    """Where rewards come from: judges of whole responses or an environment, and perhaps a judge of single steps."""

    rewards: Sequence[Weighted]
    environment: Callable[[], Environment] | None
    step_reward: StepReward | None

    @staticmethod
    def of(reward: Rewards | type[Environment], step_reward: StepReward | None) -> _Source:
        environment = as_environment(reward)
        rewards = as_weighted(cast("Rewards", reward)) if environment is None else []
        return _Source(rewards, environment, step_reward)

    def content(self) -> list[object]:
        """What decides the rewards, for the run's fingerprint."""
        others = [content_of(one) for one in (self.step_reward, self.environment) if one is not None]
        return described(self.rewards) + others


def _at(settings: GRPOSettings, step: int) -> GRPOSettings:
    """The settings with the KL's weight at this step."""
    return settings.model_copy(update={"kl_coef": linear(settings.kl_coef, settings.kl_coef_end, step, settings.steps)})


def _play(
    lm: LanguageModel, environment: Callable[[], Environment], prompts: Sequence[Prompt],
    encoded: Sequence[Sequence[int]], settings: GRPOSettings, numbers: Sequence[int], draw: Draw, seed: int,
) -> list[list[Response]]:  # fmt: skip
    """Episodes from the prompts of these numbers."""
    groups = play(
        lm, draw, environment, [prompts[one] for one in numbers], [encoded[one] for one in numbers],
        n=settings.samples, turns=settings.turns, room=settings.max_new_tokens, seed=seed,
    )  # fmt: skip
    return [[*group] for group in groups]


def _estimate(
    lm: LanguageModel, rollout: Rollout, prompts: Sequence[Prompt], source: _Source, settings: GRPOSettings,
    variant: Variant, loop: Loop, step: int,
) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
    """Reward the responses, whose `prompts` are [R], and compare them: advantage of each token, [M]."""
    if source.environment is None:
        values, means = reward_of(source.rewards, rollout.items, rollout.responses, prompts, settings.max_tokens)
    else:
        values, means = rewards_of_episodes(rollout.responses)
    values = values.to(rollout.old.device)
    paid = values - length_cost(rollout, settings)
    shown = {"reward": float(values.mean()), "reward_std": float(values.std())}
    advantages, signal = _advantages(rollout, paid, settings, variant), paid
    if source.step_reward is not None:
        per_token, ends = step_rewards(source.step_reward, lm, rollout, prompts)
        shown["step_reward"] = float(per_token[ends].mean())
        standardize = variant.advantage == "standardized"
        advantages = advantages + step_advantages(per_token, ends, rollout.counts, settings.samples, standardize)
        signal = paid + rollout.packed.summed(per_token)
    _require_signal(signal, loop, step)
    return advantages, means | shown


def _advantages(rollout: Rollout, rewards: Tensor, settings: GRPOSettings, variant: Variant) -> Tensor:
    """Advantage of each token, [M]; zero where the variant leaves a response out."""
    response = rollout.packed.response
    kl = rollout.old - rollout.ref
    if variant.advantage == "returns":
        returns = returns_to_go(rewards, -settings.kl_coef * kl, rollout.counts)
        return whiten(returns)
    if variant.kl_in_reward:
        rewards = rewards - settings.kl_coef * rollout.packed.summed(kl)
    advantages = group_advantages(rewards, settings.samples, variant.advantage)
    if variant.drop:
        advantages = advantages.where(rollout.finished, 0.0)
    return advantages[response]


def _backward(
    part: Part, rollout: Rollout, advantages: Tensor, settings: GRPOSettings, variant: Variant
) -> dict[str, float]:
    """Add the gradient of a part of a minibatch."""
    low, high = (settings.clip, settings.clip) if settings.clip is not None else variant.clip
    weight, size = _weights(part, rollout, advantages, settings, variant)
    # On policy the policy that sampled is this one: the ratio is one, its gradient is not zero.
    old = part.logprobs.detach() if settings.on_policy else rollout.old[part.tokens]
    ratio = sequence_ratio(part.logprobs, old, part.packed) if variant.by_sequence else torch.exp(part.logprobs - old)
    per_token, clipped = clipped_loss(ratio, advantages[part.tokens], low, high)
    loss, metrics = (per_token * rollout.importance[part.tokens] * weight).sum(), {}
    metrics["policy_loss"] = float(loss.detach())
    if settings.kl_coef and not variant.kl_in_reward:
        kl = (kl_loss(part.logprobs, rollout.ref[part.tokens], old, settings.kl_gradient) * weight).sum()
        metrics["kl_loss"] = float(kl.detach())
        loss = loss + settings.kl_coef * kl
    loss.backward()  # type: ignore[no-untyped-call]
    metrics["clipped"] = float(clipped.float().sum()) / size
    metrics["approx_kl"] = float(kl_k3(old, part.logprobs.detach()).sum()) / size
    return metrics


def _weights(
    part: Part, rollout: Rollout, advantages: Tensor, settings: GRPOSettings, variant: Variant
) -> tuple[Tensor, int]:
    """Weight of each of the part's tokens in the minibatch's mean, and how many tokens the minibatch has."""
    tokens, responses = rollout.ranges()
    mine = torch.cat([tokens[number] for number in part.chosen])
    own = torch.cat([responses[number] for number in part.chosen])
    kept = _kept(rollout, advantages, settings, variant)
    weights = torch.zeros_like(rollout.old)
    weights[mine] = token_weights(rollout.packed.counts[own], kept[own], variant.normalize, settings.longest)
    return weights[part.tokens], len(mine)


def _kept(rollout: Rollout, advantages: Tensor, settings: GRPOSettings, variant: Variant) -> Tensor:
    """Which responses count in the average, [R] bool."""
    if not variant.drop:
        return torch.ones_like(rollout.finished)
    groups = rollout.packed.summed(advantages.abs()).view(-1, settings.samples)
    return (groups.amax(1) > 0).repeat_interleave(settings.samples) & rollout.finished


def _require_signal(rewards: Tensor, loop: Loop, step: int) -> None:
    """Stop when no two rewards have differed in the first steps; later a batch may well be all right or all wrong."""
    constant = float(rewards.max() - rewards.min()) < 1e-9
    if loop.counters["constant"] is None:
        return
    loop.counters["constant"] = loop.counters["constant"] + 1 if constant else None
    if constant and loop.counters["constant"] >= PATIENCE:
        require_varied(rewards.tolist(), step)


def _check(lm: LanguageModel, source: _Source, settings: GRPOSettings, variant: Variant) -> None:
    if source.environment is None and settings.turns > 1:
        raise SettingsError("turns has no effect without an environment: a class with reset(prompt) and step(reply).")
    if source.environment is not None and source.step_reward is not None:
        raise SettingsError("An environment's episodes are not cut into lines; let its step give the rewards.")
    if settings.samples < 2 and variant.advantage != "returns":
        raise SettingsError(
            f"{settings.variant} compares the responses to one prompt with one another, so samples must be at least 2 "
            "(given: 1); or choose variant: reinforce++."
        )
    if settings.kl_gradient != "exact" and (variant.kl_in_reward or not settings.kl_coef):
        raise SettingsError(
            "kl_gradient has no effect where the KL is part of the reward or kl_coef is 0; leave it out."
        )
    shared = any(isinstance(one.reward, RewardModel) and one.reward.lm is lm for one in source.rewards)
    if settings.lora is None and shared:
        raise SettingsError(
            "With lora: null the whole trunk changes, so a reward model needs a trunk of its own; load the model a "
            "second time for it."
        )
