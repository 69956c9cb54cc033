"""One attention for every architecture: segments of a packed row, each with its shared prefix.

Registered in transformers' attention registry as "kilter". The packed queries, keys and values are gathered into a
few dense blocks of segments of like length (`AttentionLayout`), attended with batched matrix products, and
scattered back. A response's block row holds its prompt's keys followed by its own, so a prompt shared by G
responses is projected and normalized once, and its gradient is the sum over them.

Why not `scaled_dot_product_attention`: on CPU its backward pass is three to four times slower than this at the
lengths of post-training (measured with `make bench`); memory is quadratic in the segment's length, so segments
beyond `LONG` tokens do go through it, one at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from kilter.errors import ModelError
from kilter.models import native
from kilter.models.block_attention import block_attention

NAME = "kilter"
LONG = 1024


class Layout(Protocol):
    """Who sees whom among the N tokens of a forward pass, and how that is computed."""

    @property
    def reach(self) -> int:
        """How many keys a query sees at most."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attend in layer `layer`: q [N, H, D], k and v [N, G, D]; result [N, H, D]."""


@dataclass(frozen=True)
class Segment:
    """A run of tokens `[start, start + length)` that attends causally to itself and fully to its prefix."""

    start: int
    length: int
    prefix_start: int
    prefix_length: int

    @property
    def keys(self) -> int:
        """Number of keys that the last token of the segment sees."""
        return self.prefix_length + self.length


@dataclass(frozen=True)
class Block:
    """Segments of like length as one dense block.

    Attributes:
        queries: [S * Q] index of each query token; padding points at token 0 and its result is dropped.
        keys: [S * K] index of each key token, prefix first; padding points at token 0 and is masked.
        mask: [S, Q, K] zero where a query may look, minus infinity where not; a padded query sees key 0 only.
        flat: [T] position of the block's real queries among S * Q.
        tokens: [T] index of those queries among N.
        query_at: [S, Q] index of each query token, -1 for padding.
        key_at: [S, K] the same of the keys.
        seen: [S, Q] how many of the keys a query sees, from the first on; 1 for padding.
    """

    queries: Tensor
    keys: Tensor
    mask: Tensor
    flat: Tensor
    tokens: Tensor
    query_at: Tensor
    key_at: Tensor
    seen: Tensor


@dataclass(frozen=True)
class AttentionLayout:
    """How one packed row is cut into blocks; `reach` is how many keys a query sees at most.

    Built once, used by every layer and pass.
    """

    blocks: tuple[Block, ...]
    reach: int

    @staticmethod
    def build(segments: Sequence[Segment], dtype: torch.dtype, device: torch.device | str) -> AttentionLayout:
        """Group `segments` into blocks whose padding wastes little."""
        blocks = tuple(_block(group, dtype, device) for group in _group(segments))
        return AttentionLayout(blocks, max(one.keys for one in segments))

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """The packed row's attention, the same in every layer; see `packed_attention`."""
        return packed_attention(q, k, v, self, scale)


def _group(segments: Sequence[Segment]) -> list[list[Segment]]:
    """Cut the segments, longest first, where a further one would waste over a quarter of the block's keys."""
    groups: list[list[Segment]] = []
    for segment in sorted(segments, key=lambda one: (-one.keys, -one.length, one.start)):
        head = groups[-1][0] if groups else None
        fits = head is not None and segment.keys >= 0.75 * head.keys - 8 and segment.length >= 0.6 * head.length - 8
        if fits:
            groups[-1].append(segment)
        else:
            groups.append([segment])
    return groups


def _block(group: list[Segment], dtype: torch.dtype, device: torch.device | str) -> Block:
    length = torch.tensor([one.length for one in group])
    prefix = torch.tensor([one.prefix_length for one in group])
    start = torch.tensor([one.start for one in group])
    prefix_start = torch.tensor([one.prefix_start for one in group])
    q = torch.arange(int(length.max()))
    k = torch.arange(int((prefix + length).max()))
    real = q < length[:, None]
    in_prefix = k < prefix[:, None]
    own = k - prefix[:, None]
    query_at = (start[:, None] + q).where(real, -1)
    key_at = (prefix_start[:, None] + k).where(in_prefix, (start[:, None] + own).where(own < length[:, None], -1))
    seen = (prefix[:, None] + q + 1).where(real, 1)
    mask = torch.zeros(*seen.shape, len(k), dtype=dtype).masked_fill_(k >= seen[:, :, None], float("-inf"))
    queries, keys = (at.clamp(min=0).flatten() for at in (query_at, key_at))
    flat = real.flatten().nonzero().flatten()
    return Block(*(one.to(device) for one in (queries, keys, mask, flat, queries[flat], query_at, key_at, seen)))


class _BlockAttention(torch.autograd.Function):
    """softmax(scale * q k^T + mask) v over dense blocks, grouped-query heads without repeating keys.

    Shapes: q [S, Q, H, D]; k and v [S, K, G, D] with H a multiple of G; mask [S, Q, K]; result [S, Q, H, D].
    """

    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
        s, n_q, h, d = q.shape
        n_k, g = k.shape[1], k.shape[2]
        rows = h // g * n_q
        # [S, Q, G, H/G, D] -> [S * G, H/G * Q, D]: the query heads of one key head become more rows of it.
        qq = q.view(s, n_q, g, h // g, d).permute(0, 2, 3, 1, 4).reshape(s * g, rows, d)
        kk = k.transpose(1, 2).reshape(s * g, n_k, d)
        vv = v.transpose(1, 2).reshape(s * g, n_k, d)
        bias = mask[:, None, None].expand(s, g, h // g, n_q, n_k).reshape(s * g, rows, n_k)
        p = torch.softmax(torch.baddbmm(bias, qq, kk.transpose(1, 2), alpha=scale), dim=-1)
        ctx.save_for_backward(qq, kk, vv, p)
        ctx.shape, ctx.scale = (s, n_q, h, n_k, g, d), scale
        out = torch.bmm(p, vv)
        return out.view(s, g, h // g, n_q, d).permute(0, 3, 1, 2, 4).reshape(s, n_q, h, d)

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, Tensor, Tensor, None, None]:
        qq, kk, vv, p = ctx.saved_tensors
        s, n_q, h, n_k, g, d = ctx.shape
        go = grad.view(s, n_q, g, h // g, d).permute(0, 2, 3, 1, 4).reshape(s * g, h // g * n_q, d)
        dv = torch.bmm(p.transpose(1, 2), go)
        ds = torch._softmax_backward_data(torch.bmm(go, vv.transpose(1, 2)), p, -1, p.dtype)
        dq = torch.bmm(ds, kk).mul_(ctx.scale)
        dk = torch.bmm(ds.transpose(1, 2), qq).mul_(ctx.scale)
        dq = dq.view(s, g, h // g, n_q, d).permute(0, 3, 1, 2, 4).reshape(s, n_q, h, d)
        dk, dv = (x.view(s, g, n_k, d).transpose(1, 2) for x in (dk, dv))
        return dq, dk, dv, None, None


def packed_attention(q: Tensor, k: Tensor, v: Tensor, layout: AttentionLayout, scale: float) -> Tensor:
    """Attend within the segments of a packed row.

    Args:
        q: [N, H, D]; k and v: [N, G, D], H a multiple of G.
        layout: made for N tokens.
        scale: usually 1 / sqrt(D).

    Returns:
        [N, H, D]
    """
    if all(block.mask.shape[1] <= LONG for block in layout.blocks):
        q, k, v = (one.contiguous() for one in (q, k, v))
        if native.takes(q, k, v):
            return block_attention(q, k, v, layout.blocks, scale)
    out = []
    for block in layout.blocks:
        rows, n_q, n_k = block.mask.shape
        attend = _long_attention if n_q > LONG else _BlockAttention.apply
        result = attend(
            q.index_select(0, block.queries).view(rows, n_q, *q.shape[1:]),
            k.index_select(0, block.keys).view(rows, n_k, *k.shape[1:]),
            v.index_select(0, block.keys).view(rows, n_k, *v.shape[1:]),
            block.mask,
            scale,
        )
        out.append(result.reshape(-1, *q.shape[1:]).index_select(0, block.flat))
    joined = torch.cat(out)
    return torch.empty_like(joined).index_copy(0, torch.cat([block.tokens for block in layout.blocks]), joined)


def _long_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, scale: float) -> Tensor:
    """The same by PyTorch's fused kernel, whose memory is linear in the length."""
    q, k, v = (x.transpose(1, 2) for x in (q, k, v))
    out: Tensor = nn.functional.scaled_dot_product_attention(
        q, k, v, attn_mask=mask[:, None], scale=scale, enable_gqa=q.shape[1] != k.shape[1]
    )
    return out.transpose(1, 2)


def _attend(
    module: nn.Module, query: Tensor, key: Tensor, value: Tensor, attention_mask: Tensor | None, **kwargs: Any
) -> tuple[Tensor, None]:
    """What transformers calls: query [1, H, N, D], key and value [1, G, N, D]; returns ([1, N, H, D], None)."""
    layout: Layout | None = kwargs.get("layout")
    if layout is None:
        raise ModelError("The model was called without a packed layout; use kilter.models.score or sample.")
    scale = kwargs.get("scaling") or query.shape[-1] ** -0.5
    for name in ("softcap", "s_aux", "position_bias"):
        if kwargs.get(name) is not None:
            raise ModelError(
                f"This model's attention uses '{name}', which Kilter's packed attention does not compute; "
                "choose a model without it (Llama, Qwen, Mistral, SmolLM and GPT-NeoX families work)."
            )
    require_window(kwargs.get("sliding_window"), layout)
    q, k, v = (x[0].transpose(0, 1) for x in (query, key, value))
    return layout.attend(getattr(module, "layer_idx", 0), q, k, v, scale)[None], None


def require_window(window: int | None, layout: Layout) -> None:
    """Raise ModelError if a model looks back fewer tokens than the layout asks it to."""
    if window is not None and layout.reach > window:
        raise ModelError(
            f"This model looks back {window} tokens only and the text has {layout.reach}; "
            "choose a model without a window, or shorter texts."
        )


AttentionInterface.register(NAME, _attend)
