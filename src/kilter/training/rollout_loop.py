"""The loop of every algorithm that learns from its own samples: sample, read, judge, improve, look out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, TypeVar

from torch import Tensor

from kilter.models import Packed, Response, packed_logprobs, processes
from kilter.models.frozen import reusing_frozen
from kilter.training.episodes import Draw
from kilter.training.guards import require_entropy, require_finite
from kilter.training.loop import Loop
from kilter.training.optimizer import Optimizer
from kilter.training.overoptimization import Monitor
from kilter.training.policy import Policy
from kilter.training.rollout import (
    Rollout,
    RolloutSettings,
    agreement,
    micro_packs,
    minibatches,
    read_rollout,
    sample_responses,
    sampled_items,
)
from kilter.training.sampler import ServerSampler, kept_on_server_error, open_sampler
from kilter.training.seeds import batch_indices, derive_seed

Observe = Callable[[int, Sequence[int], Sequence[Sequence[Response]]], Mapping[str, float]]
"""Called with (step, numbers of the prompts, their responses); what it returns is logged and never trained on."""

PlayNumbers = Callable[[Sequence[int], Draw, int], list[list[Response]]]
"""Plays the episodes of (numbers of the prompts, draw, seed)."""

Signal = TypeVar("Signal")
Estimate = Callable[[Rollout, Sequence[int], int], tuple[Signal, Mapping[str, float]]]
"""What an algorithm will learn from, made of (rollout, numbers of the prompts, step); and metrics with the reward."""
Improve = Callable[[Rollout, Signal, int], Mapping[str, float]]
"""The update: (rollout, what it learns from, step) to metrics."""


@dataclass(frozen=True)
class Part:
    """As much of a minibatch as memory holds at once.

    Attributes:
        chosen: numbers of the minibatch's items.
        packed: some of these items.
        tokens, responses: where theirs are among the rollout's M and R.
        logprobs: of the part's tokens under the policy that learns, with gradient.
    """

    chosen: Sequence[int]
    packed: Packed
    tokens: Tensor
    responses: Tensor
    logprobs: Tensor


Backward = Callable[[Part], dict[str, float]]
"""Adds the gradient of a part's share of the loss; returns the part's shares of the minibatch's metrics."""

Update = Callable[[int, Sequence[int]], Mapping[str, float]]
"""One optimizer step: (its number in the run, numbers of the minibatch's items) to metrics."""


def improve_by_rollouts(
    loop: Loop, policy: Policy, reference: Policy, prompts: Sequence[Sequence[int]], settings: RolloutSettings,
    estimate: Estimate[Signal], improve: Improve[Signal], monitor: Monitor, observe: Observe | None, *,
    score: bool = True, play: PlayNumbers | None = None,
) -> dict[str, Any]:  # fmt: skip
    """Do the steps of `loop`, save the policy in `loop.folder/model`, and return the run's result.

    Args:
        prompts: token ids of each prompt.
        score: see `read_rollout`; where a server samples it is always done.
        play: where responses are episodes, plays those of (numbers of the prompts, draw, seed).
    """
    with open_sampler(settings, loop.folder) as server:
        score = score or server is not None
        _do_steps(loop, policy, reference, prompts, settings, estimate, improve, monitor, observe, server, score, play)
    monitor.restore()
    policy.save(loop.folder / "model")
    row = monitor.kept_row(loop)
    shown = {key: row[key] for key in ("reward", "kl", "entropy", "length") if key in row}
    return loop.finish(shown | monitor.result(loop) | (server.result() if server is not None else {}))


def _do_steps(
    loop: Loop, policy: Policy, reference: Policy, prompts: Sequence[Sequence[int]], settings: RolloutSettings,
    estimate: Estimate[Signal], improve: Improve[Signal], monitor: Monitor, observe: Observe | None,
    server: ServerSampler | None, score: bool, play: PlayNumbers | None,
) -> None:  # fmt: skip
    for step in loop.steps():
        numbers = batch_indices(len(prompts), settings.prompts, step, derive_seed(settings.seed, "prompts"))
        chosen = [prompts[number] for number in numbers]
        with kept_on_server_error(loop, step):
            responses = sample_responses(policy, chosen, settings, step, loop, server, play and partial(play, numbers))
        seen = _seen(observe, step, numbers, responses)
        with reusing_frozen(
            policy.lm, policy.adapter, sampled_items(chosen, responses), reads=2, max_tokens=settings.max_tokens,
            folder=loop.folder, compute=loop.compute,
        ):  # fmt: skip
            rollout, metrics = read_rollout(policy, reference, chosen, responses, settings, step, loop, score=score)
            with kept_on_server_error(loop, step):  # a judge may be a server too
                signal, more = estimate(rollout, numbers, step)
            metrics |= more
            metrics |= monitor.look(loop, metrics, seen)
            if not loop.stopped:  # else the responses were this policy's, and it stays as it is
                metrics |= improve(rollout, signal, step)
        loop.log({**metrics, **seen}, step)
        if loop.stopped:
            break


def _seen(
    observe: Observe | None, step: int, numbers: Sequence[int], responses: Sequence[Sequence[Response]]
) -> dict[str, float]:
    if observe is None:
        return {}
    return processes.on_main(lambda: {key: float(one) for key, one in observe(step, numbers, responses).items()})


def update_policy(
    policy: Policy, rollout: Rollout, settings: RolloutSettings, step: int, optimizer: Optimizer, loop: Loop,
    backward: Backward,
) -> dict[str, float]:  # fmt: skip
    """Improve the policy alone, on minibatches of whole prompts; the mean of each metric over the updates.

    Raises:
        TrainingStopped: a metric that is a loss is not finite, or the entropy has collapsed.
    """

    def improve(number: int, chosen: Sequence[int]) -> dict[str, float]:
        metrics = accumulate(policy, rollout, settings, chosen, loop, backward)
        for name in metrics:
            if name.endswith("loss"):
                require_finite(name, metrics[name], step)
        if settings.on_policy:
            require_entropy(metrics["entropy"], settings.min_entropy, step)
        return {**metrics, "grad_norm": optimizer.step(number)}

    return over_minibatches(rollout, settings, step, improve)


def over_minibatches(rollout: Rollout, settings: RolloutSettings, step: int, update: Update) -> dict[str, float]:
    """Do `update` for each minibatch of whole prompts; the mean of each metric over them."""
    sums: dict[str, float] = {}
    updates = list(minibatches(len(rollout.items), settings, step))
    for number, chosen in updates:
        for key, value in update(number, chosen).items():
            sums[key] = sums.get(key, 0.0) + value / len(updates)
    return sums


def accumulate(
    policy: Policy, rollout: Rollout, settings: RolloutSettings, chosen: Sequence[int], loop: Loop, backward: Backward
) -> dict[str, float]:
    """Add up the gradients of one minibatch; `chosen` are the numbers of its items."""
    sums: dict[str, float] = {}
    tokens, _ = rollout.ranges()
    size = sum(len(tokens[number]) for number in chosen)
    for packed, own, responses in micro_packs(rollout, chosen, settings):
        with policy.active():
            logprobs, entropy = packed_logprobs(
                policy.lm, packed, temperature=settings.temperature, entropy=settings.on_policy
            )
        metrics = backward(Part(chosen, packed, own, responses, logprobs))
        if settings.on_policy:
            metrics = {**metrics, **agreement(logprobs, rollout.sampled[own], size)}
            metrics["entropy"] = float(entropy.sum()) / size
        for key, value in metrics.items():
            sums[key] = sums.get(key, 0.0) + value
        loop.compute.add(policy.train_flops(packed), packed.size)
    return dict(zip(sums, processes.totals(*sums.values()), strict=True))
