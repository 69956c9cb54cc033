"""Truncated importance sampling: what is owed to a sampler that is not quite the policy that learns.

A server rounds otherwise than the trainer, or still has the weights of the step before. A token that it drew with
probability q and that the policy would have drawn with p counts p / q times in the policy gradient, up to CAP, beyond
which the variance costs more than the bias (Ionides 2008; for language models Yao et al. 2025, "Your efficient RL
framework secretly brings you off-policy RL training").
"""

from __future__ import annotations

import torch
from torch import Tensor

CAP = 2.0


def importance_weights(old: Tensor, sampled: Tensor, cap: float = CAP) -> Tensor:
    """Weight of each token, [M]: min(exp(old - sampled), cap), and 1 where the sampler's value is not known.

    Args:
        old: [M] log-probabilities under the policy as it was when the responses were sampled, by the trainer.
        sampled: [M] the sampler's own; NaN where it gave none.
    """
    weights = torch.exp(old - sampled).clamp(max=cap)
    return torch.where(sampled.isnan(), 1.0, weights)


def importance_metrics(weights: Tensor, cap: float = CAP) -> dict[str, float]:
    """What a run logs of its weights: their mean, and the share of tokens at the cap."""
    return {"importance": float(weights.mean()), "importance_capped": float((weights >= cap).float().mean())}
