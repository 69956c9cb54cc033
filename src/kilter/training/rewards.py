"""Rewards for policy gradients: any function of prompts and responses, any reward model, weighted and added."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from numbers import Real

import numpy as np
import torch
from torch import Tensor

from kilter.errors import DataError, KilterError
from kilter.models import Item, Message, Response, processes
from kilter.models.ensemble import RewardEnsemble, RewardModel, disagreement
from kilter.models.scalar import ScalarModel
from kilter.training.settings import weights_digest
from kilter.training.shares import read_items

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
    owner = _owner(reward)
    if hasattr(owner, "fingerprint_content"):  # a model that judges
        return owner.fingerprint_content()
    try:
        return inspect.getsource(reward)
    except (OSError, TypeError):  # typed at a prompt, or an object that can be called
        return getattr(reward, "__qualname__", type(reward).__qualname__)


@torch.no_grad()
def reward_of(
    rewards: Sequence[Weighted], items: Sequence[Item], responses: Sequence[Response], prompts: Sequence[Prompt],
    max_tokens: int,
) -> tuple[Tensor, dict[str, float]]:  # fmt: skip
    """Weighted sum [R] on the CPU of the rewards of sampled responses, and the mean of each under its name.

    Args:
        items: the responses' tokens with their prompts, for reward models.
        responses: [R], in the order of the items.
        prompts: of each response [R], as the user gave it.
        max_tokens: read at once by a reward model.

    Raises:
        DataError: a reward failed, gave the wrong number of values, or something that is not a finite number.
    """
    texts = [one.text for one in responses]
    total = torch.zeros(len(texts))
    means = {}
    for one in rewards:
        if isinstance(one.reward, RewardModel):
            scores, spread = scores_of(one.reward, items, max_tokens)
            values = scores.cpu()
            if spread is not None:
                means[f"{one.name}_disagreement"] = float(spread.mean())
        else:
            values = torch.tensor(judged(one.reward, one.name, prompts, texts))
        total += one.weight * values
        means[one.name] = float(values.mean())
    return total, means


def scores_of(model: RewardModel, items: Sequence[Item], max_tokens: int) -> tuple[Tensor, Tensor | None]:
    """Scores [R] of the items' responses, and for an ensemble how far its members' opinions spread, [R]."""
    found = read_items(
        items, model.lm.device, max_tokens,
        lambda packed: [one for one in disagreement(model, packed) if one is not None],
        [len(item.responses) for item in items],
    )  # fmt: skip
    return found[0], found[1] if len(found) > 1 else None


def judged(reward: RewardFunction, name: str, prompts: Sequence[Prompt], texts: Sequence[str]) -> list[float]:
    """What a user's function gives to responses, checked.

    Raises:
        DataError: it failed, gave the wrong number of values, or something that is not a finite number.
    """
    what, form = f"reward '{name}'", "reward(prompts, responses)"
    given = called(reward, what, form, lambda: reward(list(prompts), list(texts)))
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


def called(function: Callable[..., object], what: str, form: str, call: Callable[[], object]) -> object:
    """What a user's function returns, a tensor as lists; of several processes the main one calls it for all.

    Only a model that judges is called everywhere, because its weights may be divided over the processes.

    Raises:
        DataError: it failed; `what` names it, `form` says how it is called.
    """
    everywhere = hasattr(_owner(function), "fingerprint_content")
    try:
        given = _plain(call()) if everywhere else processes.on_main(lambda: _plain(call()))
    except KilterError:
        raise
    except Exception as error:
        raise DataError(
            f"The {what} failed with {type(error).__name__}: {error}. It is called as {form} with two lists of the "
            "same length; KILTER_DEBUG=1 shows where it failed."
        ) from error
    return given


def _plain(given: object) -> object:
    """As JSON can hold it, which is how processes tell it one another; what it cannot is left for the checks."""
    if isinstance(given, Tensor | np.ndarray | np.generic):
        return given.tolist()
    if isinstance(given, list | tuple):
        return [_plain(one) for one in given]
    return given


def _owner(function: Callable[..., object]) -> object:
    return getattr(function, "__self__", function)
