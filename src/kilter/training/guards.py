"""When a run should stop by itself: it diverges, collapses, or has nothing to learn from."""

from __future__ import annotations

import math
from collections.abc import Sequence

from kilter.errors import TrainingStopped

KEPT = "The last checkpoint, if one was due before, is kept."


def require_finite(name: str, value: float, step: int) -> None:
    """Stop when `value` is not a number or infinite."""
    if not math.isfinite(value):
        raise TrainingStopped(
            f"The {name} at step {step} is {value}: the run diverged. {KEPT} Lower the learning rate (lr), or compute "
            "in float32 (dtype=float32)."
        )


def require_kl_within(kl: float, bound: float, step: int) -> None:
    """Stop when the policy has gone further from its reference than allowed (nats per response)."""
    if kl > bound:
        raise TrainingStopped(
            f"At step {step} the policy is {kl:.1f} nats per response from its reference, beyond the bound of "
            f"{bound:g} (max_kl). {KEPT} Raise kl_coef, lower lr, train for fewer steps, or raise max_kl if you want "
            "to see over-optimization."
        )


def require_entropy(entropy: float, floor: float, step: int) -> None:
    """Stop when the policy hardly samples any more (nats per token)."""
    if entropy < floor:
        raise TrainingStopped(
            f"At step {step} the policy's entropy is {entropy:.3f} nats per token, below {floor:g} (min_entropy): it "
            f"gives almost the same answer every time and learns no more. {KEPT} Lower lr, raise kl_coef, or raise "
            "the temperature."
        )


def require_varied(rewards: Sequence[float], step: int) -> None:
    """Stop when every response of a batch got the very same reward."""
    if len(rewards) > 1 and max(rewards) - min(rewards) < 1e-9:
        raise TrainingStopped(
            f"At step {step} all {len(rewards)} rewards are {rewards[0]:g}: there is nothing to learn from. {KEPT} "
            "Check the reward model or function on two different responses to one prompt."
        )
