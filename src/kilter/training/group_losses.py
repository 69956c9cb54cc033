"""What policy gradients without a value model compute, pure: tensors in, tensors out.

Per-token tensors are [M] over all response tokens of a batch, per-response ones [R]; a group is `size` responses to one
prompt, one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import torch
from torch import Tensor

from kilter.models import Packed
from kilter.training.losses import kl_k3

Advantage = Literal["standardized", "centered", "leave_one_out", "returns"]
Normalize = Literal["response", "token", "constant", "sequence"]


def group_advantages(rewards: Tensor, size: int, kind: Advantage) -> Tensor:
    """Each response's reward against its group's, [R].

    standardized: (r - mean) / (std + 1e-4), as GRPO (arXiv 2402.03300, section 4.1.2); a group without variance gets 0.
    centered: r - mean (Dr. GRPO, arXiv 2503.20783). leave_one_out: r - mean of the others (RLOO, arXiv 2402.14740).
    """
    groups = rewards.view(-1, size)
    centered = groups - groups.mean(1, keepdim=True)
    if kind == "standardized":
        centered = centered / (groups.std(1, keepdim=True) + 1e-4)
    elif kind == "leave_one_out":
        centered = centered * size / (size - 1)
    return centered.flatten()


def returns_to_go(rewards: Tensor, per_token: Tensor, counts: Sequence[int]) -> Tensor:
    """Undiscounted return [M] from each token on: rewards of the tokens from it to the end, plus the response's."""
    parts = torch.split(per_token, list(counts))
    return torch.cat([part.flip(0).cumsum(0).flip(0) + reward for part, reward in zip(parts, rewards, strict=True)])


def token_weights(counts: Tensor, kept: Tensor, kind: Normalize, longest: int) -> Tensor:
    """Weight of each token's loss [M] among responses of `counts` [R] tokens, of which only `kept` [R] count.

    response: mean over each response's tokens, then over responses. token: mean over all tokens. constant: sum over
    tokens, divided by the longest possible response and the number of responses. sequence: sum over tokens, mean over
    responses. Weights do not depend on how a batch is cut into micro-batches.
    """
    responses = kept.sum().clamp(min=1)
    each = {
        "response": 1 / (counts.clamp(min=1) * responses),
        "token": torch.ones_like(counts) / (counts * kept).sum().clamp(min=1),
        "constant": torch.ones_like(counts) / (longest * responses),
        "sequence": torch.ones_like(counts) / responses,
    }[kind]
    return (each * kept).repeat_interleave(counts)


def sequence_ratio(logprobs: Tensor, old: Tensor, packed: Packed) -> Tensor:
    """Geometric mean of each response's ratios, given to each of its tokens, [M] (GSPO, arXiv 2507.18071, eq. 7)."""
    mean = packed.summed(logprobs - old) / packed.counts.clamp(min=1)
    return torch.exp(mean)[packed.response]


def clipped_loss(ratio: Tensor, advantages: Tensor, low: float, high: float) -> tuple[Tensor, Tensor]:
    """Clipped surrogate with its own bound upward (DAPO, arXiv 2503.14476, eq. 10); also [M] whether it was clipped."""
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - low, 1 + high)
    return torch.maximum(plain, clipped), (clipped > plain).detach()


def kl_loss(logprobs: Tensor, ref: Tensor, old: Tensor, gradient: Literal["exact", "k3"]) -> Tensor:
    """Per-token loss [M] whose value is k3, an estimate of KL(policy || ref) that is never negative.

    As a loss, k3 does not push along the KL's gradient (verl#2953, NeMo-RL#2506): it is unbiased in value only. "exact"
    has the gradient of half the squared log-ratio: its mean over the policy's samples is the gradient of each token's
    KL given the tokens before it. For samples of an older policy it is weighted by the probability ratio.
    """
    value = kl_k3(logprobs, ref)
    if gradient == "k3":
        return value
    push = torch.exp(logprobs - old).detach() * 0.5 * (logprobs - ref).square()
    return push + (value - push).detach()
