"""The loss functions, pure: tensors in, tensors out; no files, devices or logging.

Per-token tensors are flat, [M] over all response tokens of a batch; `counts` [R] says how many tokens each of the R
responses has.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid, softplus


def preference_loss(margin: Tensor, tied: Tensor, smoothing: float = 0.0, tie: float = 0.0) -> Tensor:
    """Minus the log-likelihood [P] of judged pairs: Bradley-Terry, and with ties Davidson's extension of it.

    The first wins with probability proportional to exp(margin / 2), loses with exp(-margin / 2) and ties with nu, where
    nu is such that equals tie with probability `tie` (R. R. Davidson, On extending the Bradley-Terry model to
    accommodate ties, 1970). Without ties this is the loss of InstructGPT (arXiv 2203.02155, eq. 1).

    Args:
        margin: [P] score of the better minus score of the worse response.
        tied: [P] bool, pairs that were found equally good; there are none where `tie` is 0.
        smoothing: probability that a label is the wrong way round; keeps scores from growing without bound.
        tie: share of ties among equally good responses, below 1.
    """
    if not tie:
        return -(1 - smoothing) * logsigmoid(margin) - smoothing * logsigmoid(-margin)
    nu = torch.full_like(margin, math.log(2 * tie / (1 - tie)))
    wins, loses, ties = torch.log_softmax(torch.stack([margin / 2, -margin / 2, nu]), 0)
    return torch.where(tied, -ties, -(1 - smoothing) * wins - smoothing * loses)


def per_token_rewards(
    scores: Tensor, logprobs: Tensor, ref_logprobs: Tensor, counts: Sequence[int], kl_coef: float
) -> Tensor:
    """Reward [M] of each token: minus the KL penalty, plus the response's score on its last token.

    The last token is the true one (EOS where it was sampled), never a padding token after it (trl#3750).
    """
    rewards = -kl_coef * (logprobs - ref_logprobs)
    last = torch.tensor(counts, device=scores.device).cumsum(0) - 1
    return rewards.index_add(0, last, scores)


def gae(rewards: Tensor, values: Tensor, counts: Sequence[int], gamma: float, lam: float) -> tuple[Tensor, Tensor]:
    """Generalized advantage estimation (arXiv 1506.02438) within each response.

    Args:
        rewards, values: [M]; the value of a token's state is read before the token is chosen. After the last token
            the episode is over and the value is zero.

    Returns:
        advantages [M] and returns [M] (advantages + values).
    """
    advantages = torch.zeros_like(rewards)
    start = 0
    for count in counts:
        running = rewards.new_zeros(())
        following = rewards.new_zeros(())
        for t in range(start + count - 1, start - 1, -1):
            delta = rewards[t] + gamma * following - values[t]
            running = delta + gamma * lam * running
            following = values[t]
            advantages[t] = running
        start += count
    return advantages, advantages + values


def whiten(values: Tensor, shift_mean: bool = True) -> Tensor:
    """Scale to unit variance; without `shift_mean` the mean stays (for rewards, whose sign matters)."""
    mean = values.mean()
    whitened = (values - mean) * torch.rsqrt(values.var(unbiased=False) + 1e-8)
    return whitened if shift_mean else whitened + mean


def ppo_policy_loss(logprobs: Tensor, old: Tensor, advantages: Tensor, clip: float) -> tuple[Tensor, Tensor]:
    """Clipped surrogate (arXiv 1707.06347, eq. 7), per token [M]; also [M] whether the clip was active."""
    ratio = torch.exp(logprobs - old)
    plain = -advantages * ratio
    clipped = -advantages * ratio.clamp(1 - clip, 1 + clip)
    return torch.maximum(plain, clipped), (clipped > plain).detach()


def ppo_value_loss(values: Tensor, old: Tensor, returns: Tensor, clip: float) -> Tensor:
    """Half the squared error with the change of the value clipped, per token [M]."""
    clipped = torch.maximum(torch.minimum(values, old + clip), old - clip)
    return 0.5 * torch.maximum((values - returns).square(), (clipped - returns).square())


def kl_k3(logprobs: Tensor, ref_logprobs: Tensor) -> Tensor:
    """Per-token estimate [M] of KL(policy || ref) under the policy's samples: unbiased, never negative.

    Schulman's k3, exp(r) - 1 - r with r = ref - policy. For reports; its gradient is not the KL's (verl#2953).
    """
    log_ratio = ref_logprobs - logprobs
    return torch.expm1(log_ratio) - log_ratio


def preference_probability(margin: Tensor) -> Tensor:
    """Probability that the first is preferred, from the difference of two scores."""
    return torch.exp(-softplus(-margin))


def adapt_kl_coef(coef: float, kl: float, target: float, horizon: int, episodes: int) -> float:
    """Proportional controller of Ziegler et al. (arXiv 1909.08593, section 2.2): error clipped to +-0.2."""
    error = min(max(kl / target - 1, -0.2), 0.2)
    return coef * (1 + error * episodes / horizon)
