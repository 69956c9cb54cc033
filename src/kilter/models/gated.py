"""The gate of an MLP: activation(gate) * up, SwiGLU (arXiv 2002.05202) where the activation is SiLU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from kilter.models import native


def is_silu(activate: Any) -> bool:
    """Whether an activation is x * sigmoid(x); transformers has a class of its own for it."""
    return isinstance(activate, nn.SiLU) or type(activate).__name__ == "SiLUActivation"


class Gated:
    """The gate for passes without gradients."""

    def __init__(self, activate: Callable[[Tensor], Tensor]) -> None:
        self._activate, self._silu = activate, is_silu(activate)

    def __call__(self, both: Tensor) -> Tensor:
        """Gate and up next to one another, [N, 2 I], to [N, I]."""
        gate, up = both.chunk(2, -1)
        if self._silu and native.takes(both):
            return native.gated(gate, up)
        return self._activate(gate) * up


class _SwiGLU(torch.autograd.Function):
    """silu(gate) * up by native kernels; keeps gate and up only."""

    @staticmethod
    def forward(ctx: Any, gate: Tensor, up: Tensor) -> Tensor:
        ctx.save_for_backward(gate, up)
        return native.gated(gate.flatten(0, -2), up.flatten(0, -2)).view(gate.shape)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor]:
        gate, up = ctx.saved_tensors
        return native.gated_backward(gate, up, grad.contiguous())


def swiglu(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of dense tensors [..., I] that the kernels take, with gradients."""
    out: Tensor = _SwiGLU.apply(gate, up)  # type: ignore[no-untyped-call]
    return out
