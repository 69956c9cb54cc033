"""Online DPO (arXiv 2402.04792): the policy's own responses, compared by a judge, learned by DPO's loss.

One step: sample n responses to each of a batch of prompts, let the judge choose between two of each, and raise the
chosen one against the other and the reference. There are no old comparisons that the policy leaves behind, and no
reward model need be trained: the judge may be a function, a reward model, or anybody who follows the judges' protocol.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field
from torch import Tensor

from kilter.errors import DataError
from kilter.judges import Candidate, Comparison, Judge
from kilter.models import Item, LanguageModel, packed_logprobs
from kilter.training.guards import require_entropy, require_finite
from kilter.training.loop import Loop, Progress, finished_result, no_progress
from kilter.training.optimizer import Optimizer
from kilter.training.overoptimization import Watch, length_cost
from kilter.training.policy import Policy
from kilter.training.preference_losses import dpo_loss, hinge_loss, ipo_loss
from kilter.training.rewards import Prompt, Rewards, Weighted, as_weighted, described, reward_of
from kilter.training.rollout import Rollout, RolloutSettings, agreement, micro_packs, minibatches
from kilter.training.rollout_loop import Observe, improve_by_rollouts
from kilter.training.seeds import derive_seed
from kilter.training.settings import fingerprint, weights_digest
from kilter.training.sft import check_lengths

LOSSES = {"dpo": dpo_loss, "ipo": ipo_loss, "hinge": hinge_loss}


class OnlineDPOSettings(RolloutSettings):
    """Online DPO."""

    samples: int = Field(2, ge=2, description="Responses per prompt; of more than two, best and worst are a pair.")
    minibatches: int = Field(1, ge=1, description="Updates per pass.")
    loss: Literal["dpo", "ipo", "hinge"] = Field("dpo", description="Which loss; ipo takes log-ratios per token.")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference.")


def train_online_dpo(
    lm: LanguageModel,
    prompts: Sequence[Prompt],
    judge: Rewards | Judge,
    settings: OnlineDPOSettings,
    folder: Path,
    *,
    observe: Observe | None = None,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Improve `lm` by a judge's choices; the trained policy is active on return and lies in `folder/model`.

    Args:
        lm: the model to start from, which is the reference too.
        prompts: texts or chats.
        judge: whoever orders a prompt's responses: a `Judge`, or a reward as `train_grpo` takes it. The best and the
            worst response are a pair.
        observe: sees every step's responses, for a held-out judge.

    Raises:
        DataError: there are no prompts, one leaves no room for a response, or the judge gave no valid answer.
        TrainingStopped: divergence, KL beyond its bound, collapsed entropy.
    """
    rewards = None if isinstance(judge, Judge) else as_weighted(judge)
    encoded = [lm.encode_prompt(prompt) for prompt in prompts]
    check_lengths([Item(prompt, [[0] * settings.max_new_tokens]) for prompt in encoded], lm)
    policy, reference = Policy.with_reference(lm, "online-dpo", settings.lora, settings.seed)
    who = judge.name if isinstance(judge, Judge) else described(rewards or [])
    start = [str(lm.dtype), weights_digest(policy.parameters()), who]
    identity = fingerprint("online_dpo", settings, encoded, lm.weights_hash, start)
    done = finished_result(folder, identity)
    if done is not None:
        policy.load(folder / "model")
        return done
    optimizer, watch = Optimizer(policy.parameters(), settings, settings.updates), Watch(policy, settings)
    loop = Loop(folder, "online-dpo", settings.steps, identity, {"optimizer": optimizer, "best": watch}, progress,
                settings.checkpoint_seconds)  # fmt: skip

    def choose(rollout: Rollout, numbers: Sequence[int], step: int) -> tuple[Tensor, dict[str, float]]:
        given = [prompts[number] for number in numbers]
        if isinstance(judge, Judge):
            return _judged(judge, rollout, given, settings, step)
        return _rewarded(rewards or [], rollout, given, settings)

    def improve(rollout: Rollout, pairs: Tensor, step: int) -> dict[str, float]:
        return _improve(policy, rollout, pairs, settings, step, optimizer, loop)

    return improve_by_rollouts(
        loop, policy, reference, encoded, settings, choose, improve, watch, observe, score=not settings.on_policy
    )


def _rewarded(
    rewards: Sequence[Weighted], rollout: Rollout, prompts: Sequence[Prompt], settings: OnlineDPOSettings
) -> tuple[Tensor, dict[str, float]]:
    """Of each prompt's responses the best and the worst by reward, [P, 2]; -1 where all are alike."""
    every = [prompt for prompt in prompts for _ in range(settings.samples)]
    values, means = reward_of(rewards, rollout.packed, rollout.responses, every)
    groups = (values - length_cost(rollout, settings)).view(len(prompts), -1)
    pairs = torch.stack([groups.argmax(1), groups.argmin(1)], 1)
    alike = groups.amax(1) == groups.amin(1)
    shown = {"reward": float(values.mean()), "reward_std": float(values.std()), "ties": float(alike.float().mean())}
    return pairs.masked_fill(alike[:, None], -1), means | shown


def _judged(
    judge: Judge, rollout: Rollout, prompts: Sequence[Prompt], settings: OnlineDPOSettings, step: int
) -> tuple[Tensor, dict[str, float]]:
    """Of each prompt's responses the judge's best and worst, [P, 2]; -1 for a tie."""
    size, comparisons = settings.samples, []
    for number, prompt in enumerate(prompts):
        group = rollout.responses[number * size : (number + 1) * size]
        text = prompt if isinstance(prompt, str) else "\n\n".join(one["content"] for one in prompt)
        comparisons.append(Comparison(text, tuple(Candidate(one.text, one.finished) for one in group)))
    opinions = judge.judge(comparisons, derive_seed(settings.seed, "judge", step))
    if len(opinions) != len(comparisons):
        raise DataError(
            f"{judge.name} gave {len(opinions)} opinions on {len(comparisons)} comparisons; each needs one."
        )
    pairs = []
    for one in opinions:
        best = one.best
        worst = one.value[-1] if isinstance(one.value, tuple) else None if best is None else 1 - best
        pairs.append((-1, -1) if best is None or worst is None else (best, worst))
    ties = sum(best < 0 for best, _ in pairs) / len(pairs)
    return torch.tensor(pairs), {"ties": ties}


def _improve(
    policy: Policy, rollout: Rollout, pairs: Tensor, settings: OnlineDPOSettings, step: int, optimizer: Optimizer,
    loop: Loop,
) -> dict[str, float]:  # fmt: skip
    """Update the policy on minibatches of whole prompts."""
    sums: dict[str, float] = {}
    updates = list(minibatches(len(rollout.items), settings, step))
    for number, chosen in updates:
        metrics = _update(policy, rollout, pairs, chosen, settings, loop)
        require_finite("loss", metrics["loss"], step)
        if settings.on_policy:
            require_entropy(metrics["entropy"], settings.min_entropy, step)
        metrics["grad_norm"] = optimizer.step(number)
        for key, value in metrics.items():
            sums[key] = sums.get(key, 0.0) + value / len(updates)
    return sums


def _update(
    policy: Policy, rollout: Rollout, pairs: Tensor, chosen: Sequence[int], settings: OnlineDPOSettings, loop: Loop
) -> dict[str, float]:
    """Add up the gradients of one minibatch; `chosen` are the numbers of its items."""
    tokens, responses = rollout.ranges()
    mine = sum(len(tokens[number]) for number in chosen)
    decided = max(int((pairs[list(chosen)] >= 0).all(1).sum()), 1)
    sums = dict.fromkeys(("loss", "margin"), 0.0)
    place = {int(one): number for number in chosen for one in responses[number]}
    for packed, own, own_responses in micro_packs(rollout, chosen, settings):
        with policy.active():
            logprobs, entropy = packed_logprobs(
                policy.lm, packed, temperature=settings.temperature, entropy=settings.on_policy
            )
        if settings.on_policy:
            shown = agreement(logprobs, rollout.sampled[own], mine) | {"entropy": float(entropy.sum()) / mine}
            for key, value in shown.items():
                sums[key] = sums.get(key, 0.0) + value
        ratio = packed.summed(logprobs - rollout.ref[own])
        if settings.loss == "ipo":
            ratio = ratio / packed.counts.clamp(min=1)
        numbers = [place[int(one)] for one in own_responses[:: settings.samples]]
        groups, some = ratio.view(-1, settings.samples), pairs[numbers].to(ratio.device)
        kept = some[:, 0] >= 0
        better, worse = groups.gather(1, some.clamp(min=0))[kept].unbind(1)
        loss = LOSSES[settings.loss](better, worse, settings.beta).sum() / decided
        loss.backward()  # type: ignore[no-untyped-call]
        sums["loss"] += float(loss.detach())
        sums["margin"] += float((better - worse).detach().sum()) / decided
        loop.compute.add(policy.train_flops(packed), packed.size)
    return sums
