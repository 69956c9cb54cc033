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

from kilter.errors import DataError, SettingsError
from kilter.judges import Candidate, Comparison, Judge, PromptedJudge
from kilter.models import LanguageModel, processes
from kilter.training.loop import Loop, Progress, finished_result, no_progress
from kilter.training.optimizer import Optimizer
from kilter.training.overoptimization import Monitor, length_cost
from kilter.training.policy import Policy
from kilter.training.preference_losses import dpo_loss, hinge_loss, ipo_loss
from kilter.training.prepare import prepare
from kilter.training.rewards import Prompt, Rewards, Weighted, as_weighted, described, reward_of
from kilter.training.rollout import Rollout, RolloutSettings, rollout_items
from kilter.training.rollout_loop import Observe, Part, improve_by_rollouts, update_policy
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
        SettingsError: a cost of length with a judge that gives no reward.
        TrainingStopped: divergence, KL beyond its bound, collapsed entropy.
    """
    if isinstance(judge, Judge) and settings.length_coef:
        raise SettingsError("length_coef is taken from a reward, and this judge compares without one; leave it out.")
    rewards = None if isinstance(judge, Judge) else as_weighted(judge)
    encoded = [lm.encode_prompt(prompt) for prompt in prompts]
    check_lengths(rollout_items(encoded, settings, lm.context), lm)
    policy, reference = Policy.with_reference(lm, "online-dpo", settings.lora, settings.seed)
    who = judge.name if isinstance(judge, Judge) else described(rewards or [])
    start = [str(lm.dtype), weights_digest(policy.parameters()), who]
    identity = fingerprint("online_dpo", settings, encoded, lm.weights_hash, start)
    done = finished_result(folder, identity)
    if done is not None:
        policy.load(folder / "model")
        return done
    prepare(settings, settings.lora, rollout_items(encoded, settings, lm.context), lm, reference.lm)
    optimizer, monitor = Optimizer(policy.parameters(), settings, settings.updates), Monitor(policy, settings)
    loop = Loop(folder, "online-dpo", settings.steps, identity, {"optimizer": optimizer, "best": monitor}, progress,
                settings.checkpoint_seconds)  # fmt: skip

    def choose(rollout: Rollout, numbers: Sequence[int], step: int) -> tuple[Tensor, dict[str, float]]:
        given = [prompts[number] for number in numbers]
        if isinstance(judge, Judge):
            return _judged(judge, rollout, given, settings, step)
        return _rewarded(rewards or [], rollout, given, settings)

    def improve(rollout: Rollout, pairs: Tensor, step: int) -> dict[str, float]:
        return update_policy(
            policy, rollout, settings, step, optimizer, loop, lambda part: _backward(part, rollout, pairs, settings)
        )

    return improve_by_rollouts(
        loop, policy, reference, encoded, settings, choose, improve, monitor, observe, score=not settings.on_policy
    )


def _rewarded(
    rewards: Sequence[Weighted], rollout: Rollout, prompts: Sequence[Prompt], settings: OnlineDPOSettings
) -> tuple[Tensor, dict[str, float]]:
    """Of each prompt's responses the best and the worst by reward, [P, 2]; -1 where all are alike."""
    every = [prompt for prompt in prompts for _ in range(settings.samples)]
    values, means = reward_of(rewards, rollout.items, rollout.responses, every, settings.max_tokens)
    groups = (values - length_cost(rollout, settings).cpu()).view(len(prompts), -1)
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
    pairs = processes.on_main(lambda: _choices(judge, comparisons, derive_seed(settings.seed, "judge", step)))
    unread = {"unreadable": judge.unreadable} if isinstance(judge, PromptedJudge) and processes.is_main() else {}
    ties = sum(best < 0 for best, _ in pairs) / len(pairs)
    return torch.tensor(pairs), {"ties": ties, **unread}


def _choices(judge: Judge, comparisons: Sequence[Comparison], seed: int) -> list[tuple[int, int]]:
    opinions = judge.judge(comparisons, seed)
    if len(opinions) != len(comparisons):
        raise DataError(
            f"{judge.name} gave {len(opinions)} opinions on {len(comparisons)} comparisons; each needs one."
        )
    pairs = []
    for one in opinions:
        best = one.best
        worst = one.value[-1] if isinstance(one.value, tuple) else None if best is None else 1 - best
        pairs.append((-1, -1) if best is None or worst is None else (best, worst))
    return pairs


def _backward(part: Part, rollout: Rollout, pairs: Tensor, settings: OnlineDPOSettings) -> dict[str, float]:
    """Add the gradient of a part of a minibatch."""
    decided = max(int((pairs[list(part.chosen)] >= 0).all(1).sum()), 1)
    ratio = part.packed.summed(part.logprobs - rollout.ref[part.tokens])
    if settings.loss == "ipo":
        ratio = ratio / part.packed.counts.clamp(min=1)
    some = pairs[part.responses[:: settings.samples].cpu() // settings.samples].to(ratio.device)
    kept = some[:, 0] >= 0
    better, worse = ratio.view(-1, settings.samples).gather(1, some.clamp(min=0))[kept].unbind(1)
    loss = LOSSES[settings.loss](better, worse, settings.beta).sum() / decided
    loss.backward()  # type: ignore[no-untyped-call]
    return {"loss": float(loss.detach()), "margin": float((better - worse).detach().sum()) / decided}
