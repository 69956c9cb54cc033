"""The gate of an MLP: activation(gate) * up, SwiGLU (arXiv 2002.05202) where the activation is SiLU."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

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
