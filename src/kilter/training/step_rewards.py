"""Rewards of single steps in policy gradients (DeepSeekMath, arXiv 2402.03300, section 4.1.3)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from numbers import Real

import torch
from torch import Tensor

from kilter.errors import DataError
from kilter.models import LanguageModel
from kilter.training.group_losses import returns_to_go
from kilter.training.rewards import Prompt, called
from kilter.training.rollout import Rollout

StepReward = Callable[[list[Prompt], list[list[str]]], Sequence[Sequence[float]]]
"""reward(prompts, steps) -> for each response one number per step; `ProcessRewardModel.steps` is one."""


def cut_into_steps(lm: LanguageModel, tokens: Sequence[int]) -> tuple[list[str], list[int]]:
    """The lines of a sampled response, and the place of each one's last token; what follows the last belongs to it."""
    pieces = [lm.decode([token]) for token in tokens]
    breaks = [place + 1 for place, piece in enumerate(pieces) if "\n" in piece]
    cuts = [0, *breaks] if breaks and breaks[-1] == len(tokens) else [0, *breaks, len(tokens)]
    steps: list[str] = []
    ends: list[int] = []
    for first, last in pairwise(cuts):
        text = lm.decode(tokens[first:last]).strip()
        if text:
            steps.append(text)
            ends.append(last - 1)
    if ends:
        ends[-1] = len(tokens) - 1
    return steps, ends


def step_rewards(
    reward: StepReward, lm: LanguageModel, rollout: Rollout, prompts: Sequence[Prompt]
) -> tuple[Tensor, Tensor]:
    """Reward of each token [M], that of the step which it ends or else 0, and [M] where steps end.

    `prompts` [R] are as the user gave them.

    Raises:
        DataError: the reward failed, or did not give one finite number per step.
    """
    cut = [cut_into_steps(lm, one.tokens) for one in rollout.responses]
    given = called(
        reward, "step reward", "reward(prompts, steps)", lambda: reward(list(prompts), [steps for steps, _ in cut])
    )
    per_token = torch.zeros(len(rollout.old))
    ends = torch.zeros(len(rollout.old), dtype=torch.bool)
    first = 0
    if not isinstance(given, Sequence) or len(given) != len(cut):
        what = f"{len(given)} lists" if isinstance(given, Sequence) else f"a {type(given).__name__}"
        raise DataError(f"The step reward gave {what} for {len(cut)} responses; each needs a list of numbers.")
    for (steps, places), values, response in zip(cut, given, rollout.responses, strict=True):
        if not isinstance(values, Sequence) or len(values) != len(steps):
            what = f"{len(values)} values" if isinstance(values, Sequence) else repr(values)
            raise DataError(
                f"The step reward gave {what} for {len(steps)} steps of the response "
                f"{response.text[:60]!r}. It is called as reward(prompts, steps) and must return for each response one "
                "number per step."
            )
        for place, value in zip(places, values, strict=True):
            if not isinstance(value, Real) or not math.isfinite(value):
                raise DataError(
                    f"The step reward gave {value!r} for a step of the response {response.text[:60]!r}. Every step "
                    "needs a finite number."
                )
            per_token[first + place] = float(value)
            ends[first + place] = True
        first += len(response.tokens)
    return per_token.to(rollout.old.device), ends.to(rollout.old.device)


def step_advantages(per_token: Tensor, ends: Tensor, counts: Sequence[int], size: int, standardize: bool) -> Tensor:
    """Advantage [M] of each token: what the steps from it on are worth against all steps of its group.

    Args:
        per_token: [M] rewards at the steps' last tokens.
        ends: [M] bool, where steps end.
        counts: tokens of each response [R].
        size: responses per group.
        standardize: divide by the standard deviation of the group's steps, too.
    """
    centered = torch.zeros_like(per_token)
    group = torch.arange(len(counts), device=ends.device).repeat_interleave(torch.tensor(counts, device=ends.device))
    group = group // size
    for number in range(len(counts) // size):
        mine = ends & (group == number)
        values = per_token[mine]
        if values.numel() == 0:
            continue
        scale = values.std(unbiased=False) + 1e-4 if standardize else 1.0
        centered[mine] = (values - values.mean()) / scale
    return returns_to_go(torch.zeros(len(counts), device=ends.device), centered, counts)
