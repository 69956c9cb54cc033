"""Attention over blocks with native kernels around the matrix products; it keeps q, k, v and the probabilities."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

import torch
from torch import Tensor

from kilter.models import native


class Block(Protocol):
    """What of an attention layout's block is read here; see there."""

    @property
    def query_at(self) -> Tensor:
        """[S, Q]."""

    @property
    def key_at(self) -> Tensor:
        """[S, K]."""

    @property
    def seen(self) -> Tensor:
        """[S, Q]."""


class _BlockAttention(torch.autograd.Function):
    """As the function of this name in `attention.py`, for all blocks of a row, from tokens to tokens."""

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, blocks: Sequence[Block], scale: float) -> Tensor:
        g, out = k.shape[1], torch.empty_like(q)
        kept = []
        for block in blocks:
            qq = native.gather(q, block.query_at, g)
            kk, vv = (native.gather(one, block.key_at, g) for one in (k, v))
            p = torch.bmm(qq, kk.transpose(1, 2))
            native.softmax(p, block.seen, scale)
            native.scatter(torch.bmm(p, vv), block.query_at, out, add=False)
            kept.append(p)
        ctx.save_for_backward(q, k, v, *kept)
        ctx.blocks, ctx.scale = blocks, scale
        return out

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        q, k, v, *kept = ctx.saved_tensors
        g, grad = k.shape[1], grad.contiguous()
        dq, dk, dv = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        for block, p in zip(ctx.blocks, kept, strict=True):
            qq, go = (native.gather(one, block.query_at, g) for one in (q, grad))
            kk, vv = (native.gather(one, block.key_at, g) for one in (k, v))
            native.scatter(torch.bmm(p.transpose(1, 2), go), block.key_at, dv, add=True)
            ds = torch.bmm(go, vv.transpose(1, 2))
            native.softmax_backward(p, ds, block.seen, ctx.scale)
            native.scatter(torch.bmm(ds, kk), block.query_at, dq, add=False)
            native.scatter(torch.bmm(ds.transpose(1, 2), qq), block.key_at, dk, add=True)
        return dq, dk, dv, None, None


def block_attention(q: Tensor, k: Tensor, v: Tensor, blocks: Sequence[Block], scale: float) -> Tensor:
    """Attend within blocks that hold each token once as a query: q [N, H, D], k and v [N, G, D]; result [N, H, D]."""
    out: Tensor = _BlockAttention.apply(q, k, v, blocks, scale)  # type: ignore[no-untyped-call]
    return out
