"""Activation checkpointing (arXiv 1604.06174): keep a layer's input, and compute the rest again for its gradient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import partial

from torch import nn
from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputing(layers: Sequence[nn.Module]) -> Iterator[None]:
    """Let these decoder layers forget, in a pass inside the block, what they can compute again."""
    try:
        for layer in layers:
            # The layer's own method, without the hooks around it, which put divided weights together.
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for layer in layers:
            del layer.forward
