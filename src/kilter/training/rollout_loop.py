"""The loop of every algorithm that learns from its own samples: sample, read, judge, improve, look out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

from kilter.models import Response
from kilter.training.loop import Loop
from kilter.training.overoptimization import Watch
from kilter.training.policy import Policy
from kilter.training.rollout import Rollout, RolloutSettings, read_rollout, sample_responses
from kilter.training.seeds import batch_indices, derive_seed

Observe = Callable[[int, Sequence[int], Sequence[Sequence[Response]]], Mapping[str, float]]
"""Called with (step, numbers of the prompts, their responses); what it returns is logged and never trained on."""

Judged = TypeVar("Judged")
Judge = Callable[[Rollout, Sequence[int], int], tuple[Judged, Mapping[str, float]]]
"""What an algorithm makes of (rollout, numbers of the prompts, step) before it learns; and metrics with the reward."""
Improve = Callable[[Rollout, Judged, int], Mapping[str, float]]
"""The update: (rollout, what was judged, step) to metrics."""


def improve_by_rollouts(
    loop: Loop, policy: Policy, reference: Policy, prompts: Sequence[Sequence[int]], settings: RolloutSettings,
    judge: Judge[Judged], improve: Improve[Judged], watch: Watch, observe: Observe | None, *, score: bool = True,
) -> dict[str, Any]:  # fmt: skip
    """Do the steps of `loop`, save the policy in `loop.folder/model`, and return the run's result.

    Args:
        prompts: token ids of each prompt.
        score: see `read_rollout`.
    """
    for step in loop.steps():
        numbers = batch_indices(len(prompts), settings.prompts, step, derive_seed(settings.seed, "prompts"))
        chosen = [prompts[number] for number in numbers]
        responses = sample_responses(policy, chosen, settings, step, loop)
        seen = observe(step, numbers, responses) if observe is not None else {}
        rollout, metrics = read_rollout(policy, reference, chosen, responses, settings, step, loop, score=score)
        judged, more = judge(rollout, numbers, step)
        metrics |= more
        metrics |= watch.look(loop, metrics, seen)
        if not loop.stopped:  # else the responses were this policy's, and it stays as it is
            metrics |= improve(rollout, judged, step)
        loop.log({**metrics, **seen}, step)
        if loop.stopped:
            break
    watch.restore()
    policy.save(loop.folder / "model")
    last = loop.rows[-1]
    shown = {key: last[key] for key in ("reward", "kl", "entropy", "length") if key in last}
    return loop.finish(shown | watch.result(loop))
