"""Layers built like Llama's with fewer passes between the matrix products, where there are native kernels."""

from __future__ import annotations

from functools import partial
from typing import Any

from torch import Tensor, nn

from kilter.models import native
from kilter.models.attention import Layout, require_window
from kilter.models.gated import is_silu, swiglu
from kilter.models.rotary import rotate

LIKE_LLAMA = ("LlamaDecoderLayer", "MistralDecoderLayer", "Qwen2DecoderLayer", "Qwen3DecoderLayer")


def lighten_layers(model: Any) -> int:
    """Let the layers of `model` that are built like Llama's compute with the kernels; returns how many there are.

    What the kernels do not take (another device, another precision, divided tensors) runs through the layers' own code.
    """
    layers = [one for one in getattr(model.base_model, "layers", ()) if type(one).__name__ in LIKE_LLAMA]
    for layer in layers:
        layer.self_attn.forward = partial(_attend, layer.self_attn)
        if is_silu(layer.mlp.act_fn):
            layer.mlp.forward = partial(_mlp, layer.mlp)
    return len(layers)


def window_of(attention: Any) -> int | None:
    """How many tokens an attention module looks back, or None for all."""
    window: int | None = getattr(attention, "sliding_window", getattr(attention.config, "sliding_window", None))
    return window


def _attend(
    module: Any, hidden_states: Tensor, position_embeddings: tuple[Tensor, Tensor] | None = None, **kwargs: Any
) -> tuple[Tensor, Tensor | None]:
    """transformers' forward pass of an attention module: [1, N, D] to [1, N, D]."""
    layout: Layout | None = kwargs.get("layout")
    if layout is None or position_embeddings is None or len(hidden_states) != 1:
        return _as_before(module, hidden_states, position_embeddings=position_embeddings, **kwargs)
    cos, sin = (one[0] for one in position_embeddings)
    if cos.shape[-1] != module.head_dim or not native.takes(hidden_states, cos, sin):
        return _as_before(module, hidden_states, position_embeddings=position_embeddings, **kwargs)
    require_window(window_of(module), layout)
    tokens = hidden_states.shape[1]
    q, k, v = (
        project(hidden_states).view(tokens, -1, module.head_dim)
        for project in (module.q_proj, module.k_proj, module.v_proj)
    )
    if hasattr(module, "q_norm"):
        q, k = module.q_norm(q), module.k_norm(k)
    if not native.takes(q, k, cos, sin):  # projections in another precision than their input (autocast)
        return _as_before(module, hidden_states, position_embeddings=position_embeddings, **kwargs)
    q, k = rotate(q, cos, sin), rotate(k, cos, sin)
    attended = layout.attend(module.layer_idx, q, k, v, module.scaling)
    return module.o_proj(attended.reshape(1, tokens, -1)), None


def _mlp(module: Any, x: Tensor) -> Tensor:
    gate, up = module.gate_proj(x), module.up_proj(x)
    gated = swiglu(gate, up) if native.takes(gate, up) else module.act_fn(gate) * up
    out: Tensor = module.down_proj(gated)
    return out


def _as_before(module: nn.Module, *args: Any, **kwargs: Any) -> tuple[Tensor, Tensor | None]:
    out: tuple[Tensor, Tensor | None] = type(module).forward(module, *args, **kwargs)
    return out
