"""The decoder read without gradients: the adapter merged in, weights laid out for the processor, few operations.

Layers built like Llama's are computed here, because in transformers' own modules a decoding step on CPU spends most
of its time between the matrix products. All other architectures run through their own code, with the same weights.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

import torch
from torch import Tensor, nn

from kilter.models.attention import Layout, require_window
from kilter.models.gated import Gated
from kilter.models.language_model import LanguageModel
from kilter.models.layers import LIKE_LLAMA, window_of
from kilter.models.lora import LoraLinear
from kilter.models.norm import normed_sum
from kilter.models.rotary import Angles
from kilter.models.shard import gathered

Product = Callable[[Tensor], Tensor]


class Trunk(Protocol):
    """A decoder ready for reading."""

    def hidden(self, tokens: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        """Final hidden states [N, D] of token ids [N] at `positions` [N]."""

    def logits(self, hidden: Tensor) -> Tensor:
        """Logits [B, V] in float32 of hidden states [B, D]."""


@contextmanager
def reading(lm: LanguageModel) -> Iterator[Trunk]:
    """The model with its active adapter merged in, for passes without gradients; it is as before on leaving."""
    kinds = {type(layer).__name__.removeprefix("FSDP") for layer in getattr(lm.model.base_model, "layers", [None])}
    with gathered(lm.model):
        weights = _Weights(lm)
        with torch.inference_mode():
            if kinds <= set(LIKE_LLAMA):
                yield _LikeLlama(lm, weights)
            else:
                with _borrowed(lm, weights):
                    yield _ByTransformers(lm)


class _Weights:
    """Linear layers as products with their merged weights, several with the same input as one."""

    def __init__(self, lm: LanguageModel) -> None:
        self._merged = lm.adapters.merged_weights()
        # On CPU in bfloat16 a product with few rows spends most of its time rearranging the weight; oneDNN's own
        # layout, made once, removes that (1.5 to 2 times faster at 1 to 32 rows).
        self.lays_out = lm.device.type == "cpu" and lm.dtype == torch.bfloat16 and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]

    def product(self, *layers: nn.Linear | LoraLinear) -> Product:
        """x [N, I] to [N, O], the outputs of `layers` one after another."""
        weights = [self._merged.get(layer, layer.weight.detach()) for layer in layers]
        if len(weights) > 1 and not self.lays_out:  # joined weights would be a second copy of the model
            parts = [(weight, layer.bias) for weight, layer in zip(weights, layers, strict=True)]
            return lambda x: torch.cat([nn.functional.linear(x, *part) for part in parts], -1)
        weight, bias = torch.cat(weights) if len(weights) > 1 else weights[0], _joined_bias(layers)
        if not self.lays_out:
            return lambda x: nn.functional.linear(x, weight, bias)
        laid_out = torch.ops.mkldnn._reorder_linear_weight(weight, 32)
        product = torch.ops.mkldnn._linear_pointwise
        return lambda x: product(x, laid_out, bias, "none", [], "")


def _joined_bias(layers: Sequence[nn.Linear | LoraLinear]) -> Tensor | None:
    if all(layer.bias is None for layer in layers):
        return None
    every = [layer.weight.new_zeros(len(layer.weight)) if layer.bias is None else layer.bias for layer in layers]
    return torch.cat(every).detach()


class _LikeLlama:
    """Layers of attention with rotary positions and a gated MLP, each after an RMSNorm."""

    def __init__(self, lm: LanguageModel, weights: _Weights) -> None:
        base = lm.model.base_model
        self._embed, self._rotary, self._norm = base.embed_tokens, base.rotary_emb, base.norm
        self._layers = [_Layer(number, layer, weights) for number, layer in enumerate(base.layers)]
        self._head = weights.product(lm.model.get_output_embeddings())

    def hidden(self, tokens: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        x, more = self._embed(tokens), None
        angles = Angles(*(one[0] for one in self._rotary(x, positions[None])))
        for layer in self._layers:
            more = layer(x, more, angles, layout)
        return normed_sum(self._norm, x, more)

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden).float()


class _Layer:
    """One such layer: what it adds to the hidden states x [N, D].

    The last addition of a layer is left to the norm that follows it in the next one.
    """

    def __init__(self, number: int, layer: Any, weights: _Weights) -> None:
        attention, mlp = layer.self_attn, layer.mlp
        self._number, self._size, self._scale = number, attention.head_dim, attention.scaling
        self._heads, self._key_heads = (len(one.weight) // self._size for one in (attention.q_proj, attention.k_proj))
        self._window = window_of(attention)
        self._norms = getattr(attention, "q_norm", None), getattr(attention, "k_norm", None)
        self._enter, self._leave = layer.input_layernorm, layer.post_attention_layernorm
        self._gated = Gated(mlp.act_fn)
        self._qkv = weights.product(attention.q_proj, attention.k_proj, attention.v_proj)
        self._out = weights.product(attention.o_proj)
        self._gate_up = weights.product(mlp.gate_proj, mlp.up_proj)
        self._down = weights.product(mlp.down_proj)

    def __call__(self, x: Tensor, more: Tensor | None, angles: Angles, layout: Layout) -> Tensor:
        """Add `more` and what attention finds to x, in place; returns what the MLP says to that."""
        require_window(self._window, layout)
        h, both = self._heads, self._heads + self._key_heads
        heads = self._qkv(normed_sum(self._enter, x, more)).view(len(x), both + self._key_heads, self._size)
        of_q, of_k = self._norms
        if of_q is None:
            qk = angles.turn(heads[:, :both])
            q, k = qk[:, :h], qk[:, h:]
        else:
            q, k = angles.turn(heads[:, :h], of_q), angles.turn(heads[:, h:both], of_k)
        attended = layout.attend(self._number, q, k, heads[:, both:], self._scale)
        more = self._out(attended.reshape(len(x), -1))
        return self._down(self._gated(self._gate_up(normed_sum(self._leave, x, more))))


class _ByTransformers:
    """Any other architecture, through transformers' own code."""

    def __init__(self, lm: LanguageModel) -> None:
        self._base, self._head = lm.model.base_model, lm.model.get_output_embeddings()

    def hidden(self, tokens: Tensor, positions: Tensor, layout: Layout) -> Tensor:
        out = self._base(input_ids=tokens[None], position_ids=positions[None], use_cache=False, layout=layout)
        return out.last_hidden_state[0]  # type: ignore[no-any-return]

    def logits(self, hidden: Tensor) -> Tensor:
        return self._head(hidden).float()  # type: ignore[no-any-return]


@contextmanager
def _borrowed(lm: LanguageModel, weights: _Weights) -> Iterator[None]:
    """Let the model's own linear layers compute with `weights`."""
    changed: list[nn.Module] = []
    try:
        for module in lm.model.modules():
            if isinstance(module, LoraLinear) or type(module) is nn.Linear:
                module.forward = weights.product(module)  # type: ignore[method-assign, assignment]
                changed.append(module)
        yield
    finally:
        for module in changed:
            del module.forward
