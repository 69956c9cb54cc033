"""PPO with a KL penalty and a pretraining term: PPO-ptx (InstructGPT, arXiv 2203.02155, sections 3.5 and C.4).

One step: sample n responses to each of a batch of prompts; score them with the reward model; subtract
kl_coef * log(policy / reference) from the reward of every token; estimate advantages; improve policy and value
model on minibatches of the responses; add a step of plain language modeling (ptx). The details that decide whether
it works are from Huang et al., "The N implementation details of RLHF with PPO" (arXiv 2403.17031):

- the value model is its own adapter, started from the reward model with its head at zero; its gradient never
  reaches the policy (learning to summarize, arXiv 2009.01325, G.1, found that sharing destroys the policy);
- the score belongs to the response's true last token; a response without EOS scores `no_eos_score` instead;
- advantages are whitened over the batch; rewards are not shifted; Adam's eps is 1e-5; there is no dropout.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field, model_validator
from torch import Tensor

from kilter.errors import DataError, SettingsError
from kilter.models import Item, LanguageModel, pack, packed_logprobs, processes
from kilter.models.ensemble import RewardEnsemble, RewardModel
from kilter.models.scalar import ScalarModel
from kilter.training.guards import require_varied
from kilter.training.loop import Loop, Progress, Stateful, finished_result, no_progress
from kilter.training.losses import (
    adapt_kl_coef,
    gae,
    kl_k3,
    per_token_rewards,
    ppo_policy_loss,
    ppo_value_loss,
    whiten,
)
from kilter.training.optimizer import Optimizer
from kilter.training.overoptimization import Monitor, length_cost, linear
from kilter.training.policy import Policy
from kilter.training.prepare import prepare
from kilter.training.rewards import as_weighted, described, scores_of
from kilter.training.rollout import Rollout, RolloutSettings, micro_packs, rollout_items
from kilter.training.rollout_loop import Observe, improve_by_rollouts, over_minibatches
from kilter.training.seeds import permutation
from kilter.training.settings import fingerprint, weights_digest
from kilter.training.sft import check_lengths
from kilter.training.shares import own_batches, read_items


class PPOSettings(RolloutSettings):
    """PPO-ptx."""

    value_lr: float = Field(2e-4, gt=0, description="Peak learning rate of the value model.")
    clip: float = Field(0.2, gt=0, description="Clip range of the probability ratio.")
    value_clip: float = Field(0.2, gt=0, description="Clip range of the value's change.")
    gamma: float = Field(1.0, gt=0, le=1, description="Discount.")
    lam: float = Field(0.95, ge=0, le=1, description="GAE's lambda.")
    kl_coef: float = Field(0.05, ge=0, description="Weight of the KL penalty in the reward.")
    kl_coef_end: float | None = Field(None, ge=0, description="Let kl_coef go linearly to this; null: constant.")
    kl_target: float | None = Field(None, gt=0, description="Adapt kl_coef towards this KL per response; null: fixed.")
    kl_horizon: int = Field(10_000, ge=1, description="Episodes over which the adaptive coefficient reacts.")
    no_eos_score: float = Field(-1.0, description="Score of a response that was cut off.")
    whiten_rewards: bool = Field(False, description="Scale rewards to unit variance without shifting their mean.")
    ptx_coef: float = Field(0.1, ge=0, description="Weight of language modeling on plain text; 0 turns it off.")
    ptx_tokens: int = Field(256, ge=16, description="Tokens of plain text per update.")

    @model_validator(mode="after")
    def _one_schedule(self) -> PPOSettings:
        if self.kl_target is not None and self.kl_coef_end is not None:
            raise ValueError("kl_target adapts kl_coef, and kl_coef_end schedules it; give one of them")
        return self


@dataclass
class Estimates:
    """What PPO adds to a rollout, [M] each."""

    values: Tensor
    advantages: Tensor
    returns: Tensor


@dataclass
class Models:
    """The four models of PPO; policy, reward, value and reference may share one trunk."""

    policy: Policy
    reference: Policy
    reward: RewardModel
    value: ScalarModel


def train_ppo(
    models: Models,
    prompts: Sequence[Sequence[int]],
    settings: PPOSettings,
    folder: Path,
    *,
    texts: Sequence[Sequence[int]] = (),
    observe: Observe | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Improve `models.policy` against `models.reward`; the policy lies in `folder/model`.

    Args:
        prompts: token ids of each prompt.
        texts: token ids of plain text for the ptx term; needed when ptx_coef is not zero.
        observe: sees every step's responses, for a gold judge that is not trained on.

    Raises:
        DataError: there are no prompts, or a prompt leaves no room for a response, or the texts are missing.
        TrainingStopped: divergence, KL beyond its bound, collapsed entropy, constant rewards.
    """
    lm = models.policy.lm
    check_lengths(rollout_items(prompts, settings, lm.context), lm)
    texts = [text for text in texts if len(text) > 1]  # one token predicts nothing
    if settings.ptx_coef and not texts:
        raise DataError("The ptx term needs plain text: give some (texts=FILE) or turn it off with ptx_coef=0.")
    identity = fingerprint(
        "ppo", settings, [list(one) for one in prompts], [list(one) for one in texts], lm.weights_hash,
        str(lm.dtype), _digest(models),
    )  # fmt: skip
    done = finished_result(folder, identity)
    if done is not None:
        models.policy.load(folder / "model")
        return done
    others = (models.value.lm, models.reference.lm, models.reward.lm)
    prepare(settings, settings.lora, rollout_items(prompts, settings, lm.context), lm, *others, method="ppo")
    models.value.lm.recompute = lm.recompute
    adam: dict[str, Any] = {"eps": 1e-5, "betas": (0.9, 0.999)}
    optimizers = {
        "policy": Optimizer(models.policy.parameters(), settings, settings.updates, **adam),
        "value": Optimizer(models.value.parameters(), settings, settings.updates, lr=settings.value_lr, **adam),
    }
    monitor = Monitor(models.policy, settings)
    kept: dict[str, Stateful] = {**optimizers, "best": monitor}
    loop = Loop(folder, "ppo", settings.steps, identity, kept, progress, settings.checkpoint_seconds)
    loop.counters.update(kl_coef=settings.kl_coef)

    def estimate(rollout: Rollout, numbers: Sequence[int], step: int) -> tuple[Estimates, dict[str, float]]:
        if settings.kl_coef_end is not None:
            loop.counters["kl_coef"] = linear(settings.kl_coef, settings.kl_coef_end, step, settings.steps)
        return _estimate(models, rollout, settings, step, loop)

    def improve(rollout: Rollout, estimates: Estimates, step: int) -> dict[str, float]:
        coef = loop.counters["kl_coef"]
        if settings.kl_target is not None:
            kl, episodes = rollout.kl, settings.prompts * settings.samples
            loop.counters["kl_coef"] = adapt_kl_coef(coef, kl, settings.kl_target, settings.kl_horizon, episodes)
        metrics = _improve(models, rollout, estimates, texts, settings, step, optimizers, loop)
        return {**metrics, "kl_coef": loop.counters["kl_coef"]}

    return improve_by_rollouts(
        loop, models.policy, models.reference, prompts, settings, estimate, improve, monitor, observe
    )


@torch.no_grad()
def _estimate(
    models: Models, rollout: Rollout, settings: PPOSettings, step: int, loop: Loop
) -> tuple[Estimates, dict[str, float]]:
    """Score the responses, and estimate the advantage of each token."""
    packed, counts = rollout.packed, rollout.counts
    raw, spread = scores_of(models.reward, rollout.items, settings.max_tokens)
    [values] = read_items(
        rollout.items, rollout.old.device, settings.max_tokens,
        lambda part: [models.value.values(part, part.sources)], [item.targets for item in rollout.items],
    )  # fmt: skip
    for model in (models.reward, models.value) if processes.is_main() else ():  # counts for all
        loop.compute.add(model.read_flops(packed), packed.size)
    scores = raw.where(rollout.finished, torch.full_like(raw, settings.no_eos_score))
    scores = scores - length_cost(rollout, settings)
    require_varied(raw.tolist(), step)
    rewards = per_token_rewards(scores, rollout.old, rollout.ref, counts, loop.counters["kl_coef"])
    if settings.whiten_rewards:
        rewards = whiten(rewards, shift_mean=False)
    advantages, returns = gae(rewards.cpu(), values.cpu(), counts, settings.gamma, settings.lam)
    metrics = {
        "reward": float(raw.mean()),
        "reward_std": float(raw.std()),
        "score": float(scores.mean()),
        "value_error": float((values.cpu() - returns).square().mean()),
        "explained_variance": _explained(values.cpu(), returns),
    }
    if spread is not None:
        metrics["reward_disagreement"] = float(spread.mean())
    device = rollout.old.device
    return Estimates(values, whiten(advantages).to(device), returns.to(device)), metrics


def _improve(
    models: Models, rollout: Rollout, estimates: Estimates, texts: Sequence[Sequence[int]], settings: PPOSettings,
    step: int, optimizers: Mapping[str, Optimizer], loop: Loop,
) -> dict[str, float]:  # fmt: skip
    """Update policy and value model on minibatches of whole prompts."""

    def improve(number: int, chosen: Sequence[int]) -> dict[str, float]:
        metrics = _update(models, rollout, estimates, chosen, settings, loop)
        if settings.ptx_coef:
            metrics["ptx_loss"] = _ptx(models.policy, texts, settings, number, loop)
        for name, optimizer in optimizers.items():
            metrics[f"{name}_grad_norm"] = optimizer.step(number)
        return metrics

    return over_minibatches(rollout, settings, step, improve)


def _update(
    models: Models, rollout: Rollout, estimates: Estimates, chosen: Sequence[int], settings: PPOSettings, loop: Loop
) -> dict[str, float]:
    """Add up the gradients of one minibatch; `chosen` are the numbers of its items."""
    lm = models.policy.lm
    tokens, _ = rollout.ranges()
    total = sum(len(tokens[number]) for number in chosen)
    sums = {"policy_loss": 0.0, "value_loss": 0.0, "clipped": 0.0, "approx_kl": 0.0}
    for packed, own, _ in micro_packs(rollout, chosen, settings):
        old = rollout.old[own]
        with models.policy.active():
            logprobs, _ = packed_logprobs(lm, packed, temperature=settings.temperature)
        per_token, clipped = ppo_policy_loss(logprobs, old, estimates.advantages[own], settings.clip)
        per_token = per_token * rollout.importance[own]
        (per_token.sum() / total).backward()  # type: ignore[no-untyped-call]
        values = models.value.values(packed, packed.sources)
        value_loss = ppo_value_loss(values, estimates.values[own], estimates.returns[own], settings.value_clip)
        (value_loss.sum() / total).backward()  # type: ignore[no-untyped-call]
        with torch.no_grad():
            sums["policy_loss"] += float(per_token.sum()) / total
            sums["value_loss"] += float(value_loss.sum()) / total
            sums["clipped"] += float(clipped.sum()) / total
            sums["approx_kl"] += float(kl_k3(old, logprobs).sum()) / total
        loop.compute.add(models.policy.train_flops(packed), packed.size)
        loop.compute.add(models.value.train_flops(packed), packed.size)
    return dict(zip(sums, processes.totals(*sums.values()), strict=True))


def _ptx(policy: Policy, texts: Sequence[Sequence[int]], settings: PPOSettings, number: int, loop: Loop) -> float:
    """Add the gradient of ptx_coef times the mean loss per token of some plain text; returns that loss."""
    order = permutation(len(texts), settings.seed, "ptx", number)
    chosen: list[Item] = []
    left = settings.ptx_tokens
    for index in order:
        if left <= 1:
            break
        text = texts[index][: min(left, policy.lm.context)]
        chosen.append(Item([], [text]))
        left -= len(text)
    total, summed = sum(item.targets for item in chosen), 0.0
    for indices in own_batches([item.length for item in chosen], settings.max_tokens):
        packed = pack([chosen[index] for index in indices], policy.lm.device)
        with policy.active():
            logprobs, _ = packed_logprobs(policy.lm, packed)
        loss = -logprobs.sum() / total
        (settings.ptx_coef * loss).backward()  # type: ignore[no-untyped-call]
        loop.compute.add(policy.train_flops(packed), packed.size)
        summed += loss.item()
    return processes.totals(summed)[0]


def _explained(values: Tensor, returns: Tensor) -> float:
    variance = float(returns.var(unbiased=False))
    return 1 - float((returns - values).var(unbiased=False)) / variance if variance > 0 else math.nan


def _digest(models: Models) -> list[Any]:
    """What a run starts from, so that a checkpoint of another start is refused."""
    parts = [models.policy.parameters(), models.value.parameters()]
    if models.reference.adapter is not None:
        parts.append(models.reference.parameters())
    return [weights_digest(tensor for part in parts for tensor in part), described(as_weighted(models.reward))]


def make_models(lm: LanguageModel, reward: RewardModel, settings: PPOSettings) -> Models:
    """Policy, reference, reward and value model for PPO.

    With LoRA all four can live on `lm`: the active adapter stays as the reference, the policy starts as a copy of it,
    and the value model as a copy of the reward model's adapter with its head at zero. Without, the reference and the
    value model are models of their own.

    Raises:
        SettingsError: every weight is to train, but the reward model shares the policy's trunk.
    """
    if settings.lora is None and reward.lm is lm:
        raise SettingsError(
            "With lora: null PPO changes the whole trunk, so the reward model needs a trunk of its own; load the "
            "model a second time for it."
        )
    policy, reference = Policy.with_reference(lm, "ppo", settings.lora, settings.seed)
    return Models(policy, reference, reward, _value_model(reward))


def _value_model(reward: RewardModel) -> ScalarModel:
    """A value model that starts from the reward model's body (an ensemble's first), its head at zero."""
    if isinstance(reward, RewardEnsemble):
        reward = reward.members[0]
    if reward.adapter is not None:
        reward.lm.adapters.copy(reward.adapter, "value")
        return ScalarModel.create(reward.lm, "value", reward.layers)
    lm = deepcopy(reward.lm)
    lm.model.requires_grad_(True)
    return ScalarModel.create(lm, None, reward.layers)
