"""Losses that learn from preferences without a reward model, pure: log-probabilities in, one loss per pair out.

`policy` and `reference` are summed log-probabilities of whole responses. A log-ratio is policy minus reference; where
a loss has no reference, none is passed. beta is each paper's.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, relu


def dpo_loss(better: Tensor, worse: Tensor, beta: float, smoothing: float = 0.0) -> Tensor:
    """Direct preference optimization (arXiv 2305.18290, eq. 7) on log-ratios [P] of better and worse responses.

    `smoothing` is the assumed share of swapped labels (conservative DPO, E. Mitchell, 2023). With log-ratios divided by
    the responses' lengths this is length-normalized DPO (Tulu 3, arXiv 2411.15124).
    """
    margin = beta * (better - worse)
    return -(1 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin)


def robust_dpo_loss(better: Tensor, worse: Tensor, beta: float, noise: float) -> Tensor:
    """Unbiased under a share `noise` < 1/2 of swapped labels (arXiv 2403.00409)."""
    margin = beta * (better - worse)
    return (-(1 - noise) * logsigmoid(margin) + noise * logsigmoid(-margin)) / (1 - 2 * noise)


def ipo_loss(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """Identity preference optimization (arXiv 2310.12036, eq. 17): the margin shall be 1 / (2 beta), no more."""
    return (better - worse - 1 / (2 * beta)).square()


def hinge_loss(better: Tensor, worse: Tensor, beta: float) -> Tensor:
    """Hinge on the log-ratio margin (SLiC, arXiv 2305.10425, on DPO's implicit reward)."""
    return relu(1 - beta * (better - worse))


def simpo_loss(better: Tensor, worse: Tensor, beta: float, margin: float) -> Tensor:
    """SimPO (arXiv 2405.14734, eq. 6) on mean log-probabilities per token [P]; needs no reference."""
    return -logsigmoid(beta * (better - worse) - margin)


def odds_ratio_loss(better: Tensor, worse: Tensor) -> Tensor:
    """ORPO's preference term (arXiv 2403.07691, eq. 7) on mean log-probabilities per token [P], all below zero."""
    return -logsigmoid(_log_odds(better) - _log_odds(worse))


def kto_loss(ratio: Tensor, desirable: Tensor, zero: Tensor, beta: float) -> Tensor:
    """Kahneman-Tversky optimization (arXiv 2402.01306, eq. 8) per response [R], unweighted.

    Args:
        ratio: [R] log-ratios.
        desirable: [R] bool.
        zero: the reference point, an estimate of KL(policy || reference), without gradient.
    """
    gain = beta * (ratio - zero)
    return 1 - torch.sigmoid(torch.where(desirable, gain, -gain))


def _log_odds(logprob: Tensor) -> Tensor:
    """log(p / (1 - p)) from log p; float32 stays finite until p rounds to one."""
    return logprob - torch.log(-torch.expm1(logprob.clamp(max=-1e-6)))
