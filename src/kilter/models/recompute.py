"""Activation checkpointing (arXiv 1604.06174): keep a layer's input, and compute the rest again for its gradient."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from torch.utils.checkpoint import checkpoint


@contextmanager
def recomputing(base: Any) -> Iterator[None]:
    """Let the decoder layers of a pass inside the block forget what they can compute again."""
    layers = list(base.layers)
    try:
        for layer in layers:
            # The layer's own method, without the hooks around it, which put divided weights together.
            layer.forward = partial(checkpoint, layer.forward, use_reentrant=False, preserve_rng_state=False)
        yield
    finally:
        for layer in layers:
            del layer.forward
