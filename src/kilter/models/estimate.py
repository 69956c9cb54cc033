"""What training takes: memory and operations from a model's shape, before anything is loaded.

The trainer asks the same functions whether a micro-batch fits or its activations must be computed twice;
`docs/scale.md` tabulates them for larger machines. What a decoder layer keeps for its backward pass was counted
tensor by tensor (`tests/models/test_training_memory.py` counts again); weights and moments follow from the optimizer.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from kilter.errors import ModelError
from kilter.models.attention import LONG
from kilter.models.catalogue import resolve
from kilter.models.describe import read_json

LOGITS = 256 << 20
"""Logits kept between the passes (`head.py`), and as much again while they become gradients."""
PROCESS = 400 << 20
"""What a process holds before it has loaded a model: Python, torch and its kernels."""


_NEEDED = ("hidden_size", "num_hidden_layers", "num_attention_heads", "intermediate_size", "vocab_size")


@dataclass(frozen=True)
class Shape:
    """The sizes of a Llama-like decoder that memory and time depend on."""

    hidden: int
    layers: int
    heads: int
    key_heads: int
    head_size: int
    mlp: int
    vocabulary: int
    tied: bool

    @staticmethod
    def of(config: Any) -> Shape:
        """From a transformers config."""
        heads = config.num_attention_heads
        return Shape(
            config.hidden_size, config.num_hidden_layers, heads, getattr(config, "num_key_value_heads", None) or heads,
            getattr(config, "head_dim", None) or config.hidden_size // heads, config.intermediate_size,
            config.vocab_size, bool(getattr(config, "tie_word_embeddings", False)),
        )  # fmt: skip

    @staticmethod
    def read(folder: Path) -> Shape:
        """From a model folder's config.json; an adapter has the shape of its base.

        Raises:
            ModelError: the file does not say what is needed, or the adapter's base is not there.
        """
        adapter = folder / "adapter_config.json"
        if adapter.exists():
            base = read_json(adapter).get("base_model_name_or_path")
            if not base:
                raise ModelError(f"{adapter} does not name the adapter's base model; make or fetch the adapter again.")
            folder = resolve(str(base))
        file = folder / "config.json"
        config = read_json(file)
        missing = [name for name in _NEEDED if not isinstance(config.get(name), int)]
        if missing:
            raise ModelError(
                f"{file} does not say {', '.join(missing)}, from which memory is estimated: it is damaged, or the "
                "model is no Llama-like decoder. Make or fetch it again, or choose another model."
            )
        return Shape.of(SimpleNamespace(**config))

    @property
    def layer(self) -> int:
        """Weights of one layer's matrices."""
        attention = 2 * self.hidden * self.head_size * (self.heads + self.key_heads)
        return attention + 3 * self.hidden * self.mlp

    @property
    def outside(self) -> int:
        """Weights outside of the layers: embeddings and head."""
        return self.vocabulary * self.hidden * (1 if self.tied else 2)

    @property
    def weights(self) -> int:
        """All weights but norms and biases."""
        return self.layers * self.layer + self.outside

    def adapter(self, rank: int) -> int:
        """Weights of an adapter of this rank on every linear map."""
        heads = self.head_size * (self.heads + self.key_heads)
        return self.layers * rank * (4 * self.hidden + 2 * heads + 3 * (self.hidden + self.mlp))


METHODS = {
    "sft": (1, 0),
    "reward": (1, 0),
    "dpo": (1, 0),  # the reference's log-probabilities are computed before the first step and kept on disk
    "grpo": (1, 1),
    "ppo": (2, 2),
}
"""Models that train, and models that are only read, where every weight trains; with adapters all share one trunk."""


@dataclass(frozen=True)
class Memory:
    """Bytes that one process holds at its peak.

    Attributes:
        weights: as they are computed with, those put together for a layer included.
        masters: float32 values that the optimizer moves: beside the weights of one process in bfloat16, in place of
            them where several processes divide them, and adapters themselves.
        gradients, moments: of what trains.
        activations: kept for the backward pass.
        head: logits and their gradients.
    """

    weights: int
    masters: int
    gradients: int
    moments: int
    activations: int
    head: int

    @property
    def total(self) -> int:
        """All of it, the empty process included."""
        return PROCESS + self.weights + self.masters + self.gradients + self.moments + self.activations + self.head


def training_memory(
    shape: Shape, *, tokens: int, longest: int, rank: int | None, element: int = 2, processes: int = 1,
    recompute: bool = False, method: str = "sft",
) -> Memory:  # fmt: skip
    """What a step needs with AdamW and float32 masters.

    Args:
        tokens: of a micro-batch.
        longest: tokens of its longest sequence, prompt and response together.
        rank: of the adapters that train; None when every weight does.
        element: bytes of a number that is computed with, 2 or 4.
        processes: over which weights, gradients and moments are divided.
        recompute: whether layers keep their input only and compute the rest again.
        method: one of `METHODS`; a reward model is counted as large as the policy.
    """
    learners, frozen = METHODS[method]
    trained = learners * (shape.weights if rank is None else shape.adapter(rank))
    masters = 4 * trained if rank is not None or element == 2 or processes > 1 else 0
    copies = 1 if rank is not None else frozen + (learners if processes == 1 else 0)
    gathered = element * (2 * shape.layer + shape.outside) if processes > 1 else 0
    passing = element * shape.outside if rank is None else 0  # the head's gradient, before it is in float32
    return Memory(
        weights=element * shape.weights * copies // processes + gathered,
        masters=masters // processes,
        gradients=4 * trained // processes + passing,
        moments=8 * trained // processes,
        activations=activation_memory(shape, tokens, longest, element, recompute),
        head=2 * min(LOGITS, tokens * shape.vocabulary * element),
    )


def activation_memory(shape: Shape, tokens: int, longest: int, element: int, recompute: bool = False) -> int:
    """Bytes that the layers keep for the backward pass over `tokens`, in sequences of up to `longest`."""
    if not recompute:
        return element * tokens * shape.layers * _kept(shape, longest)
    return element * tokens * (shape.layers * shape.hidden + _kept(shape, longest))


def _kept(shape: Shape, longest: int) -> int:
    """Numbers that a layer keeps for each token: norms, q, k, v before and after rotation, probabilities, the MLP.

    Beyond `LONG` the fused kernel attends, which keeps no probabilities; other segments then are the shorter ones.
    """
    heads = 3 * shape.head_size * (shape.heads + shape.key_heads)
    return 4 * (shape.hidden + shape.mlp) + heads + shape.heads * min(longest, LONG)


def training_seconds(shape: Shape, tokens: int, longest: int, rank: int | None, peak: float, share: float) -> float:
    """Seconds of a forward and backward pass over `tokens` at a `share` of `peak` operations per second."""
    seen = shape.layers * shape.heads * shape.head_size * longest * tokens
    forward = 2.0 * shape.weights * tokens + 2.0 * seen
    return forward * (3 if rank is None else 2) / (peak * share)


def sampling_seconds(shape: Shape, rows: int, steps: int, peak: float, bandwidth: float, element: int = 2) -> float:
    """Seconds of `steps` decoding steps of `rows` rows: each reads all weights once, and computes with them."""
    return steps * max(element * shape.weights / bandwidth, 2.0 * shape.weights * rows / peak)
