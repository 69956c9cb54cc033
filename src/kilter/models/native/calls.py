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
    "attend": (
        *[POINTER] * 3, *[LONG] * 3, *[POINTER] * 4, LONG, *[POINTER] * 4, *[LONG] * 6, FLOAT, INT,
    ),
}  # fmt: skip
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
