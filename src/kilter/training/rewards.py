"""Rewards for policy gradients: any function of prompts and responses, any reward model, weighted and added."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import torch
from torch import Tensor

from kilter.errors import DataError
from kilter.models import Message, Packed, Response
from kilter.models.ensemble import RewardEnsemble, RewardModel, disagreement
from kilter.models.scalar import ScalarModel
from kilter.training.settings import weights_digest

Prompt = str | Sequence[Message]
RewardFunction = Callable[[list[Prompt], list[str]], Sequence[float]]
"""reward(prompts, responses) -> one number per response; a prompt is given as the caller gave it, once per response."""


@dataclass(frozen=True)
class Weighted:
    """A reward and its weight in the sum; `name` is what the metrics call it."""

    reward: RewardFunction | RewardModel
    weight: float = 1.0
    name: str = "reward"


Rewards = RewardFunction | RewardModel | Sequence[Weighted]


def as_weighted(rewards: Rewards) -> list[Weighted]:
    """A function or a reward model alone is the whole reward.

    Raises:
        DataError: there is no reward, or two have one name.
    """
    if isinstance(rewards, RewardModel) or callable(rewards):
        return [Weighted(rewards)]
    listed = list(rewards)
    names = [one.name for one in listed]
    if not listed or len(set(names)) < len(names):
        raise DataError(f"Give at least one reward, each with a name of its own; given: {', '.join(names) or 'none'}.")
    return listed


def described(rewards: Sequence[Weighted]) -> list[object]:
    """What the rewards are, for a run's fingerprint: with another reward it is another run."""
    return [[one.name, one.weight, content_of(one.reward)] for one in rewards]


def content_of(reward: Callable[..., object] | RewardModel) -> object:
    """What decides a reward's values, as far as can be known: its weights, its source or its name."""
    if isinstance(reward, RewardEnsemble):
        return [reward.combine, reward.penalty, *map(content_of, reward.members)]
    if isinstance(reward, ScalarModel):
        return [weights_digest(reward.parameters()), reward.layers, reward.pooling, reward.mean, reward.std]
    owner = getattr(reward, "__self__", reward)
    if hasattr(owner, "fingerprint_content"):  # a model that judges
        return owner.fingerprint_content()
    try:
        return inspect.getsource(reward)
    except (OSError, TypeError):  # typed at a prompt, or an object that can be called
        return getattr(reward, "__qualname__", type(reward).__qualname__)


@torch.no_grad()
def reward_of(
    rewards: Sequence[Weighted], packed: Packed, responses: Sequence[Response], prompts: Sequence[Prompt]
) -> tuple[Tensor, dict[str, float]]:
    """Weighted sum [R] of the rewards of sampled responses, and the mean of each under its name.

    Args:
        packed: the responses' tokens with their prompts, for reward models.
        responses: [R], in pack order.
        prompts: of each response [R], as the user gave it.

    Raises:
        DataError: a reward failed, gave the wrong number of values, or something that is not a finite number.
    """
    texts = [one.text for one in responses]
    total = torch.zeros(len(texts), device=packed.tokens.device)
    means = {}
    for one in rewards:
        if isinstance(one.reward, RewardModel):
            scores, spread = disagreement(one.reward, packed)
            values = scores.to(total.device)
            if spread is not None:
                means[f"{one.name}_disagreement"] = float(spread.mean())
        else:
            values = torch.tensor(judged(one.reward, one.name, prompts, texts), device=total.device)
        total += one.weight * values
        means[one.name] = float(values.mean())
    return total, means


def judged(reward: RewardFunction, name: str, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
    """What a user's function gives to responses, checked.

    Raises:
        DataError: it failed, gave the wrong number of values, or something that is not a finite number.
    """
    given = called(f"reward '{name}'", lambda: reward(list(prompts), list(texts)), "reward(prompts, responses)")
    if not isinstance(given, Sequence) or len(given) != len(texts):
        what = f"{len(given)} values" if isinstance(given, Sequence) else f"a {type(given).__name__}"
        raise DataError(
            f"The reward '{name}' gave {what} for {len(texts)} responses. It is called as reward(prompts, responses) "
            "and must return one number per response, in order."
        )
    for value, text in zip(given, texts, strict=True):
        if not isinstance(value, Real) or not math.isfinite(value):
            raise DataError(
                f"The reward '{name}' gave {value!r} for the response {text[:60]!r}. Every reward must be a finite "
                "number; give a low one to a response that cannot be judged."
            )
    return [float(value) for value in given]


def called(what: str, call: Callable[[], object], form: str) -> object:
    """What a user's function returns, a tensor as lists.

    Raises:
        DataError: it failed; `what` names it, `form` says how it is called.
    """
    try:
        given = call()
    except Exception as error:
        raise DataError(
            f"The {what} failed with {type(error).__name__}: {error}. It is called as {form} with two lists of the "
            "same length; KILTER_DEBUG=1 shows where it failed."
        ) from error
    return given.tolist() if isinstance(given, Tensor) else given
