"""The kernels as functions on tensors."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Sequence
from functools import cache
from typing import Any

import torch
from torch import Tensor, nn

from kilter.models.native.build import library

SUFFIX = {torch.bfloat16: "bf16", torch.float32: "f32"}
POINTER, LONG, INT, FLOAT = ctypes.c_void_p, ctypes.c_long, ctypes.c_int, ctypes.c_float
ARGUMENTS: dict[str, Sequence[Any]] = {
    "norm": (*[POINTER] * 4, LONG, LONG, FLOAT, INT),
    "gated": (*[POINTER] * 3, LONG, LONG, LONG, INT),
    "rotate": (*[POINTER] * 4, FLOAT, POINTER, *[LONG] * 5, FLOAT, INT),
    "norm_backward": (*[POINTER] * 5, LONG, LONG, FLOAT, INT),
    "gated_backward": (*[POINTER] * 5, LONG, INT),
    "gather": (*[POINTER] * 3, *[LONG] * 5, INT),
    "scatter": (*[POINTER] * 3, *[LONG] * 4, INT, INT),
    "softmax": (*[POINTER] * 2, *[LONG] * 4, FLOAT, INT),
    "softmax_backward": (*[POINTER] * 3, *[LONG] * 4, FLOAT, INT),
    "attend": (
        *[POINTER] * 3, *[LONG] * 3, *[POINTER] * 4, LONG, *[POINTER] * 4, *[LONG] * 6, FLOAT, INT,
    ),
}  # fmt: skip
PART = 64
"""Rows whose weight gradients `norm_backward` sums together, as in `kernels.c`."""
_forked = False


def _after_fork() -> None:
    global _forked
    _forked = True


if hasattr(os, "register_at_fork"):  # OpenMP's threads do not survive a fork; waiting for them would never end
    os.register_at_fork(after_in_child=_after_fork)


@cache
def _kernel(name: str, dtype: torch.dtype) -> Callable[..., None]:
    function = getattr(library(), f"{name}_{SUFFIX[dtype]}")
    function.argtypes, function.restype = ARGUMENTS[name], None
    return function  # type: ignore[no-any-return]


def _threads() -> int:
    return 1 if _forked else torch.get_num_threads()


def takes(*tensors: Tensor) -> bool:
    """Whether the kernels can compute with these: on the CPU, all in bfloat16 or all in float32, laid out densely.

    Divided tensors (DTensor) and other subclasses are left to PyTorch, and everything is where there are no kernels.
    """
    dtype = tensors[0].dtype
    return (
        library() is not None
        and dtype in SUFFIX
        and all(
            type(one) in (Tensor, nn.Parameter) and one.dtype == dtype and one.is_cpu and one.is_contiguous()
            for one in tensors
        )
    )


def norm(x: Tensor, weight: Tensor, eps: float, add: Tensor | None = None) -> Tensor:
    """RMSNorm of x [..., D] with weight [D]; with `add` [..., D], x becomes x + add first, in place."""
    out, d = torch.empty_like(x), weight.numel()
    _kernel("norm", x.dtype)(
        x.data_ptr(), None if add is None else add.data_ptr(), weight.data_ptr(), out.data_ptr(), x.numel() // d, d,
        eps, _threads(),
    )  # fmt: skip
    return out


def gated(gate: Tensor, up: Tensor) -> Tensor:
    """silu(gate) * up of [N, I] tensors, which may be columns of one wider tensor."""
    out = gate.new_empty(gate.shape)
    _kernel("gated", gate.dtype)(
        gate.data_ptr(), up.data_ptr(), out.data_ptr(), *gate.shape, gate.stride(0), _threads()
    )  # fmt: skip
    return out


def norm_backward(
    x: Tensor, weight: Tensor, grad: Tensor, eps: float, *, of_weight: bool
) -> tuple[Tensor, Tensor | None]:
    """Gradients of `norm` without `add`: of x, and of the weight where it is wanted."""
    dx, d = torch.empty_like(x), weight.numel()
    rows = x.numel() // d
    parts = torch.empty(-(-rows // PART), d) if of_weight else None
    _kernel("norm_backward", x.dtype)(
        x.data_ptr(), weight.data_ptr(), grad.data_ptr(), dx.data_ptr(), None if parts is None else parts.data_ptr(),
        rows, d, eps, _threads(),
    )  # fmt: skip
    return dx, None if parts is None else parts.sum(0).to(weight.dtype)


def gated_backward(gate: Tensor, up: Tensor, grad: Tensor) -> tuple[Tensor, Tensor]:
    """Gradients of `gated` with respect to gate and up; all dense and of one shape."""
    dgate, dup = torch.empty_like(gate), torch.empty_like(up)
    _kernel("gated_backward", gate.dtype)(
        gate.data_ptr(), up.data_ptr(), grad.data_ptr(), dgate.data_ptr(), dup.data_ptr(), gate.numel(), _threads()
    )
    return dgate, dup


def gather(x: Tensor, at: Tensor, groups: int) -> Tensor:
    """Heads of tokens as a dense block.

    Args:
        x: [N, H, D], dense in its last two dimensions.
        at: [S, Q] int64 indices into N; -1 gives zeros.
        groups: G, of which H is a multiple.

    Returns:
        [S * G, H / G * Q, D], the heads of a group one after another.
    """
    (_, h, d), (s, q) = x.shape, at.shape
    out = x.new_empty(s * groups, h // groups * q, d)
    _kernel("gather", x.dtype)(x.data_ptr(), at.data_ptr(), out.data_ptr(), s, q, h, d, x.stride(0), _threads())
    return out


def scatter(block: Tensor, at: Tensor, out: Tensor, *, add: bool) -> None:
    """Put a block as `gather` makes them into out [N, H, D], dense, or add it where tokens are in it more than once."""
    _kernel("scatter", out.dtype)(
        block.data_ptr(), at.data_ptr(), out.data_ptr(), *at.shape, *out.shape[1:], int(add), _threads()
    )


def softmax(scores: Tensor, seen: Tensor, scale: float) -> None:
    """softmax(scale * scores), in place, over the first `seen` keys of each query; zero behind them.

    Args:
        scores: [S * G, R * Q, K], dense.
        seen: [S, Q] int64, at least 1 each.
        scale: above 0.
    """
    (s, q), k = seen.shape, scores.shape[2]
    each = scores.numel() // max(s * q * k, 1)
    _kernel("softmax", scores.dtype)(scores.data_ptr(), seen.data_ptr(), s, each, q, k, scale, _threads())


def softmax_backward(p: Tensor, grad: Tensor, seen: Tensor, scale: float) -> None:
    """The gradient of `softmax` with respect to the scores, in place of `grad`, that of its result p."""
    (s, q), k = seen.shape, p.shape[2]
    each = p.numel() // max(s * q * k, 1)
    _kernel("softmax_backward", p.dtype)(
        p.data_ptr(), grad.data_ptr(), seen.data_ptr(), s, each, q, k, scale, _threads()
    )


def rotate(
    heads: Tensor, cos: Tensor, sin: Tensor, weight: Tensor | None = None, eps: float = 0.0, *, back: bool = False,
    out: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """Turn the halves of each head by its token's angles (RoPE, arXiv 2104.09864).

    Args:
        heads: [N, H, D], the last two dimensions dense.
        cos, sin: [N, D].
        weight: [D] of a norm that each head goes through first.
        back: turn the other way, as the gradient does.
        out: where the result goes, dense in its last two dimensions; may be `heads`. New memory if it is None.
    """
    (n, h, d), out = heads.shape, heads.new_empty(heads.shape) if out is None else out
    _kernel("rotate", heads.dtype)(
        heads.data_ptr(), cos.data_ptr(), sin.data_ptr(), None if weight is None else weight.data_ptr(), eps,
        out.data_ptr(), n, h, d, heads.stride(0), out.stride(0), -1.0 if back else 1.0, _threads(),
    )  # fmt: skip
    return out


def attend(
    q: Tensor, k: Tensor, v: Tensor, prompt: tuple[Tensor, Tensor, Tensor] | None, prompt_of: Tensor | None,
    own: tuple[Tensor, Tensor, Tensor], column: int, scale: float,
) -> Tensor:  # fmt: skip
    """Attention of one new token per row over its prompt's columns and its own, where its key and value are put first.

    Args:
        q: [B, H, D]; k and v: [B, G, D].
        prompt: keys [P * G, D, W], values [P * G, W, D] and mask [P * G, 1, W], or None.
        prompt_of: [B] int64, which of the P prompts each row continues.
        own: the same of the B rows, [B * G, ...].
        column: where among the own columns the new token goes; those behind it are not read.

    Returns:
        [B, H, D]
    """
    (b, h, d), g = q.shape, k.shape[1]
    q, k, v = (one if one.stride()[1:] == (d, 1) else one.contiguous() for one in (q, k, v))
    out = q.new_empty(b, h, d)
    of_prompt = (None, None, None) if prompt is None else tuple(one.data_ptr() for one in prompt)
    _kernel("attend", q.dtype)(
        q.data_ptr(), k.data_ptr(), v.data_ptr(), q.stride(0), k.stride(0), v.stride(0), out.data_ptr(), *of_prompt,
        0 if prompt is None else prompt[2].shape[2], None if prompt_of is None else prompt_of.data_ptr(),
        *(one.data_ptr() for one in own), own[2].shape[2], column, b, h, g, d, scale, _threads(),
    )  # fmt: skip
    return out
