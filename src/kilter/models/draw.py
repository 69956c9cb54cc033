"""Drawing a token from logits: temperature, top-k, top-p, min-p and repetition penalty."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from kilter.errors import SettingsError

BLOCK = 256
"""Tokens of the vocabulary whose weights are summed together when one is drawn."""


@dataclass(frozen=True)
class Choice:
    """How a token is drawn from logits.

    Attributes:
        temperature: logits are divided by it; 0 is greedy.
        top_k: keep this many most probable tokens; 0 keeps all.
        top_p: keep the most probable tokens that make up this mass (arXiv 1904.09751); 1 keeps all.
        min_p: keep tokens at least this fraction as probable as the most probable one (arXiv 2407.01082).
        repetition_penalty: logits of tokens that were already there are divided by it where positive, multiplied where
            negative (CTRL, arXiv 1909.05858); 1 does nothing.

    Raises:
        SettingsError: one of them is out of range.
    """

    temperature: float = 1.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    repetition_penalty: float = 1.0

    def __post_init__(self) -> None:
        fits = self.temperature >= 0 and self.top_k >= 0 and 0 < self.top_p <= 1 and 0 <= self.min_p < 1
        if not fits or self.repetition_penalty <= 0:
            raise SettingsError(
                "Sampling needs temperature and top_k of at least 0, top_p in (0, 1], min_p in [0, 1) and a "
                f"repetition_penalty above 0; given: temperature={self.temperature}, top_k={self.top_k}, "
                f"top_p={self.top_p}, min_p={self.min_p}, repetition_penalty={self.repetition_penalty}."
            )

    def draw(self, logits: Tensor, u: Tensor, seen: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """Draw by inverse transform.

        Args:
            logits: [B, V] float32; may be overwritten.
            u: [B] uniform random numbers.
            seen: [B, V] bool, the tokens that the repetition penalty is about.

        Returns:
            tokens [B], and their log-probabilities [B] at the temperature, before any truncation or penalty.
        """
        if seen is not None and self.repetition_penalty != 1:
            plain = logits if self.temperature == 0 else logits / self.temperature
            penalized = torch.where(logits > 0, logits / self.repetition_penalty, logits * self.repetition_penalty)
            tokens, _ = self._draw(torch.where(seen, penalized, logits), u)
            return tokens, torch.log_softmax(plain, 1).gather(1, tokens[:, None])[:, 0]
        return self._draw(logits, u)

    def _draw(self, logits: Tensor, u: Tensor) -> tuple[Tensor, Tensor]:
        if self.temperature == 0:
            tokens = logits.argmax(1)
            return tokens, torch.log_softmax(logits, 1).gather(1, tokens[:, None])[:, 0]
        # log_softmax and a running sum over the whole vocabulary cost more than the draw itself: weights are summed
        # in blocks, the block is drawn first and the token within it second, which is the same distribution. Every
        # pass is in place, because fresh memory of this size costs as much as the arithmetic.
        scaled = logits if self.temperature == 1 else logits.div_(self.temperature)
        weights = scaled.sub_(scaled.amax(1, keepdim=True)).exp_()
        p = self._truncate(weights)
        blocks = nn.functional.pad(p, (0, -p.shape[1] % BLOCK)) if p.shape[1] % BLOCK else p
        blocks = blocks.view(p.shape[0], -1, BLOCK)
        sums = blocks.sum(2).cumsum(1)
        wanted = u[:, None] * sums[:, -1:]
        block = torch.searchsorted(sums, wanted, right=True).clamp_(max=sums.shape[1] - 1)
        rest = wanted - torch.where(block > 0, sums.gather(1, (block - 1).clamp_(min=0)), 0)
        inside = blocks.gather(1, block[:, :, None].expand(-1, 1, BLOCK))[:, 0].cumsum(1)
        # Rounding can put `rest` at the block's very end; the last token with any weight is then the right one.
        rest = torch.minimum(rest, inside[:, -1:] * (1 - 1e-6))
        tokens = (block * BLOCK + torch.searchsorted(inside, rest, right=True))[:, 0].clamp_(max=p.shape[1] - 1)
        total = sums[:, -1] if p is weights else weights.sum(1)
        return tokens, (weights.gather(1, tokens[:, None])[:, 0] / total).log_()

    def _truncate(self, p: Tensor) -> Tensor:
        """Zero the weights [B, V] of what is not kept; the largest weight of a row is 1."""
        if self.top_k:
            p = p.where(p >= p.topk(min(self.top_k, p.shape[1]), 1).values[:, -1:], 0)
        if self.top_p < 1:
            ordered = p.sort(1, descending=True)
            before = ordered.values.cumsum(1) - ordered.values
            kept = ordered.values.where(before < self.top_p * ordered.values.sum(1, keepdim=True), 0)
            p = torch.zeros_like(p).scatter_(1, ordered.indices, kept)
        return p.where(p >= self.min_p, 0) if self.min_p else p


def seen_tokens(prompts: Sequence[Sequence[int]], n: int, vocabulary: int, device: torch.device) -> Tensor:
    """Which tokens each of n rows per prompt holds, [B, V] bool."""
    seen = torch.zeros(len(prompts) * n, vocabulary, dtype=torch.bool, device=device)
    for number, prompt in enumerate(prompts):
        seen[number * n : (number + 1) * n, torch.tensor(sorted(set(prompt)), device=device)] = True
    return seen
