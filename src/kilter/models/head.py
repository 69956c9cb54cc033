"""The language-model head, run only where it counts.

Logits cost vocabulary x tokens, far more memory than the model itself (trl#3678), so they are made for labeled
positions only. They are kept in the compute dtype between the passes when they are few and made again when they are
many; in float32 only a few rows exist at a time, in one buffer that stays in the processor's cache.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

MATMUL_ROWS = 256
"""Rows of one matrix product: near the peak rate, and 25 MB of bf16 logits at a vocabulary of 49,152. The C library
gives blocks beyond 32 MB back to the system at once, and clearing them anew took a tenth of a training step."""
CACHE_ROWS = 32
"""Rows held in float32 at once: 6 MB, so that five passes over them read cache rather than memory."""
KEEP_BYTES = 256 << 20
"""Logits up to this size are kept for the backward pass; more are computed again."""


class _TokenLogprobs(torch.autograd.Function):
    """log softmax(hidden @ weight^T / temperature)[target], and optionally the entropy of that distribution."""

    @staticmethod
    def forward(
        ctx: Any, hidden: Tensor, weight: Tensor, targets: Tensor, temperature: float, entropy: bool
    ) -> tuple[Tensor, Tensor]:
        rows, vocabulary = hidden.shape[0], weight.shape[0]
        keep = rows * vocabulary * hidden.element_size() <= KEEP_BYTES and any(ctx.needs_input_grad)
        work = torch.empty(2, min(rows, CACHE_ROWS), vocabulary, device=hidden.device)
        logprobs, log_total, entropies = (torch.zeros(rows, device=hidden.device) for _ in range(3))
        kept: list[Tensor] = []
        block = hidden.new_empty(min(rows, MATMUL_ROWS), vocabulary)
        for part in _chunks(0, rows, MATMUL_ROWS):
            if keep and kept:
                block = torch.empty_like(block)
            count = part.stop - part.start
            kept.append(torch.mm(hidden[part], weight.t(), out=block[:count]))
            for few in _chunks(part.start, part.stop, CACHE_ROWS):
                logits, normalized = work[0, : few.stop - few.start], work[1, : few.stop - few.start]
                logits.copy_(block[few.start - part.start : few.stop - part.start]).div_(temperature)
                torch.log_softmax(logits, dim=1, out=normalized)
                logprobs[few] = normalized.gather(1, targets[few, None])[:, 0]
                log_total[few] = logits[:, 0] - normalized[:, 0]
                if entropy:
                    entropies[few] = -torch.linalg.vecdot(torch.exp(normalized, out=logits), normalized)
        ctx.save_for_backward(hidden, weight, targets, log_total, *(kept if keep else ()))
        ctx.temperature = temperature
        ctx.mark_non_differentiable(entropies)
        return logprobs, entropies

    @staticmethod
    def backward(ctx: Any, grad: Tensor, _: Tensor) -> tuple[Tensor | None, ...]:
        hidden, weight, targets, log_total, *kept = ctx.saved_tensors
        rows, vocabulary = hidden.shape[0], weight.shape[0]
        d_hidden = torch.empty_like(hidden)
        d_weight = torch.empty_like(weight) if ctx.needs_input_grad[1] else None
        work = torch.empty(min(rows, CACHE_ROWS), vocabulary, device=hidden.device)
        again = None if kept else hidden.new_empty(min(rows, MATMUL_ROWS), vocabulary)
        scale = (grad / ctx.temperature)[:, None]
        for number, part in enumerate(_chunks(0, rows, MATMUL_ROWS)):
            # The gradient takes the place of the logits: kept ones, or those made again for these rows.
            if again is None:
                block = kept[number]
            else:
                block = torch.mm(hidden[part], weight.t(), out=again[: part.stop - part.start])
            for few in _chunks(part.start, part.stop, CACHE_ROWS):
                here = slice(few.start - part.start, few.stop - part.start)
                p = work[: few.stop - few.start].copy_(block[here]).div_(ctx.temperature)
                p.sub_(log_total[few, None]).exp_().mul_(-scale[few])
                block[here] = p.scatter_add_(1, targets[few, None], scale[few])
            torch.mm(block, weight, out=d_hidden[part])
            if d_weight is not None:
                d_weight.addmm_(block.t(), hidden[part], beta=min(part.start, 1))  # beta 0: what was there is ignored
        if d_weight is not None and not rows:
            d_weight.zero_()
        return d_hidden, d_weight, None, None, None


def _chunks(start: int, stop: int, size: int) -> list[slice]:
    return [slice(first, min(first + size, stop)) for first in range(start, stop, size)]


def token_logprobs(
    hidden: Tensor, weight: Tensor, targets: Tensor, *, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probability of each target, and the entropy of the distribution that it was drawn from.

    Args:
        hidden: [M, D] hidden states that predict the targets, in the compute dtype.
        weight: [V, D] the head's weight.
        targets: [M] token ids.
        temperature: the logits are divided by it.
        entropy: whether to compute entropies; zeros otherwise.

    Returns:
        logprobs [M] float32, differentiable; entropy [M] float32 in nats, for reports only (no gradient).
    """
    logprobs, entropies = _TokenLogprobs.apply(hidden, weight, targets, temperature, entropy)  # type: ignore[no-untyped-call]
    return logprobs, entropies
