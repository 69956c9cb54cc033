"""Counting floating-point operations the way papers do, so that shares of a machine's peak can be stated.

Convention: one multiply-add is two operations; every matrix product of the decoder layers that run, the head for
labeled positions only, and attention's two products over the keys that each query really sees (causal). Norms,
activations, embeddings look-ups and the optimizer are left out. A backward pass costs twice the forward pass when
all weights train and once when only the inputs' gradient is needed (LoRA; its small products are left out).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from torch import nn

from kilter.models.lora import LoraLinear
from kilter.models.pack import Item, Packed

if TYPE_CHECKING:
    from kilter.models.language_model import LanguageModel


@dataclass
class Compute:
    """Operations and tokens, added up over passes."""

    flops: float = 0.0
    tokens: int = 0

    def add(self, flops: float, tokens: int) -> None:
        """Add one pass."""
        self.flops += flops
        self.tokens += tokens


_counted: WeakKeyDictionary[nn.Module, tuple[int, int]] = WeakKeyDictionary()  # must not keep a model alive


def _layer_weights(model: nn.Module) -> tuple[int, int]:
    """Weights of all decoder layers' linear maps, and the width of attention (heads x head size)."""
    if model in _counted:
        return _counted[model]
    total = 0
    for name, module in model.named_modules():
        if isinstance(module, nn.Linear | LoraLinear) and not name.endswith(".base"):
            total += module.weight.numel()
    config: Any = model.config
    width = config.num_attention_heads * (
        getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads
    )
    _counted[model] = total, int(width)
    return _counted[model]


def forward_flops(
    lm: LanguageModel, packed: Packed, *, layers: int | None = None, labels: int = 0, start: int = 0
) -> float:
    """Operations of one forward pass over `packed` through `layers` layers, and the head for `labels` positions.

    Layers below `start` are not computed (`LanguageModel.starts_at`).
    """
    share = ((layers or lm.layers) - start) / lm.layers
    seen = sum(_seen(one.prefix_length, one.length) for one in packed.segments)
    return share * _body(lm, packed.size, seen) + 2 * lm.head.numel() * labels


def reading_flops(lm: LanguageModel, items: Sequence[Item], layers: int) -> float:
    """Operations of reading each item once through `layers` layers, without the head."""
    pieces = [(0, len(item.prompt)) for item in items]
    pieces += [(len(item.prompt), len(response)) for item in items for response in item.responses]
    tokens, seen = sum(length for _, length in pieces), sum(_seen(*piece) for piece in pieces)
    return layers / lm.layers * _body(lm, tokens, seen)


def _seen(prefix: int, length: int) -> int:
    """Keys that the queries of a segment see."""
    return length * prefix + length * (length + 1) // 2


def _body(lm: LanguageModel, tokens: int, seen: int) -> float:
    weights, width = _layer_weights(lm.model.base_model)
    return 2.0 * (weights * tokens + 2 * lm.layers * width * seen)


def train_flops(
    lm: LanguageModel, packed: Packed, *, layers: int | None = None, labels: int = 0, full: bool = False,
    first_layer: int = 0, start: int = 0,
) -> float:  # fmt: skip
    """Operations of a forward and backward pass; `full` when every weight trains.

    Below `first_layer`, where no adapter is, nothing is computed back, and below `start` nothing at all.
    """
    head = 2 * lm.head.numel() * labels
    forward = forward_flops(lm, packed, layers=layers, start=start)
    backward = (2 if full else 1) * forward_flops(lm, packed, layers=layers, start=first_layer)
    return forward + backward + (3 if full else 2) * head


def decode_flops(lm: LanguageModel, tokens: int, context: float) -> float:
    """Operations of sampling `tokens` tokens one at a time with `context` keys on average."""
    weights, width = _layer_weights(lm.model.base_model)
    return 2.0 * tokens * (weights + lm.head.numel() + 2 * lm.layers * width * context)
