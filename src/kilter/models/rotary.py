"""Rotary positions (RoPE, arXiv 2104.09864): the halves of each head are turned by its token's angles."""

from __future__ import annotations

from functools import cached_property
from typing import Any

import torch
from torch import Tensor

from kilter.models import native
from kilter.models.norm import is_ours


class Angles:
    """Cosines and sines [N, D] of N tokens, each angle twice."""

    def __init__(self, cos: Tensor, sin: Tensor) -> None:
        self.cos, self.sin = cos.contiguous(), sin.contiguous()

    @cached_property
    def _wide(self) -> tuple[Tensor, Tensor]:
        half = self.sin.shape[-1] // 2
        return self.cos[:, None], torch.cat([-self.sin[:, :half], self.sin[:, half:]], -1)[:, None]

    def turn(self, heads: Tensor, norm: Any = None) -> Tensor:
        """Turn heads [N, H, D], dense in the last two dimensions, each after its `norm` if any; perhaps in place."""
        if norm is None:
            weight, eps = None, 0.0
            known = native.takes(self.cos, self.sin)
        else:
            weight, eps = norm.weight, getattr(norm, "variance_epsilon", 0.0)
            known = is_ours(norm) and native.takes(self.cos, self.sin, weight)
        if known and heads.dtype == self.cos.dtype:
            return native.rotate(heads, self.cos, self.sin, weight, eps, out=heads)
        heads = heads if norm is None else norm(heads)
        cos, sin = self._wide
        return torch.addcmul(heads * cos, heads.roll(heads.shape[-1] // 2, -1), sin)


class _Rotate(torch.autograd.Function):
    """Heads [N, H, D] turned by cos and sin [N, D], by native kernels; the gradient is turned back."""

    @staticmethod
    def forward(ctx: Any, heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
        ctx.save_for_backward(cos, sin)
        return native.rotate(heads, cos, sin)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None, None]:
        return native.rotate(grad.contiguous(), *ctx.saved_tensors, back=True), None, None


def rotate(heads: Tensor, cos: Tensor, sin: Tensor) -> Tensor:
    """Dense heads [N, H, D] that the kernels take, turned by cos and sin [N, D], with gradients."""
    out: Tensor = _Rotate.apply(heads, cos, sin)  # type: ignore[no-untyped-call]
    return out
