"""Frozen lower layers, computed once: a pass over a text that was read before starts where the adapters do.

When adapters begin at decoder layer k, the hidden states that enter layer k are the same in every epoch, for every
adapter from k up, and without any: for a policy before and after an update, its reference, its value model. They are
computed the first time that a text is read and kept, in memory or else in a mapped file; later passes start from them.

A text is known by its tokens: a prompt, or a response and the prompt before it. Texts are cut into packs once, and a
pack is computed when one of its texts is first needed, always whole: what a run computes does not depend on when it
was stopped and went on.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

import numpy as np
import torch
from torch import Tensor, nn

from kilter.models import processes
from kilter.models.flops import Compute, reading_flops
from kilter.models.free_memory import free_memory
from kilter.models.pack import Item, Packed, Text, micro_batches, pack

if TYPE_CHECKING:
    from kilter.models.language_model import LanguageModel

OF_MEMORY, OF_HOST, OF_DISK = 0.1, 0.5, 0.25
"""Shares of what is free that may be taken: of memory where the model is, beside an accelerator, and of the disk."""
UNKNOWN = 1 << 30
"""Bytes that are taken of memory where the system cannot tell what is free."""
PROBE = Item([0, 1, 2], [[1, 3], [0]])

_dtypes: WeakKeyDictionary[nn.Module, dict[int, torch.dtype | None]] = WeakKeyDictionary()  # keeps no model alive


class FrozenStates:
    """Hidden states [T, D] that enter layer `first`, of the texts of some items.

    Attributes:
        first: decoder layers below it are not computed again.
    """

    def __init__(self, lm: LanguageModel, first: int, items: Sequence[Item], max_tokens: int, states: Tensor) -> None:
        self.first = first
        self._lm = lm
        self._items = items
        self._states = states
        self._packs = micro_batches([item.length for item in items], max_tokens)
        self._read: set[int] = set()
        self._places: dict[Text, tuple[int, int]] = {}  # number of the pack that computes a text, its first row
        rows = 0
        for number, indices in enumerate(self._packs):
            for text in (text for index in indices for text in items[index].texts):
                if text not in self._places:
                    self._places[text] = number, rows
                    rows += _length(text)

    @property
    def flops(self) -> float:
        """Operations of computing all of them."""
        return reading_flops(self._lm, self._items, self.first)

    def knows(self, packed: Packed) -> bool:
        """Whether all texts of a packed row are among those that are kept."""
        return all(text in self._places for text in packed.texts)

    def states(self, packed: Packed) -> Tensor:
        """[N, D] of a packed row whose texts are known, on its device; computed if this is the first time."""
        places = [self._places[text] for text in packed.texts]
        for number in sorted({number for number, _ in places} - self._read):
            self._compute(number)
        parts = [
            self._states[row : row + segment.length] for (_, row), segment in zip(places, packed.segments, strict=True)
        ]
        return torch.cat(parts).to(packed.tokens.device)

    def _compute(self, number: int) -> None:
        packed = pack([self._items[index] for index in self._packs[number]], self._lm.device)
        found = entering(self._lm, packed, self.first)
        for text, segment in zip(packed.texts, packed.segments, strict=True):
            owner, row = self._places[text]
            if owner == number:
                self._states[row : row + segment.length] = found[segment.start : segment.start + segment.length]
        self._read.add(number)


@contextmanager
def reusing_frozen(
    lm: LanguageModel, adapter: str | None, items: Sequence[Item], *, reads: float, max_tokens: int, folder: Path,
    compute: Compute,
) -> Iterator[None]:  # fmt: skip
    """Inside the block, passes over `items` compute what lies below `adapter` once.

    Where that cannot be, everything is as it was: every weight trains, the adapter begins at the lowest layer, items
    are read once only, neither memory nor disk have room, the model's layers exchange more than hidden states, or
    several processes divide the weights.

    Args:
        adapter: the one that trains; None when every weight does.
        reads: passes over an item, references and probes included.
        max_tokens: read at once.
        folder: of the run; for a file without a name, gone with the process, where memory is short.
        compute: gets the operations of computing the lower layers once.
    """
    former, lm.frozen = lm.frozen, None
    try:
        if adapter is not None and reads > 1 and processes.world_size() == 1:
            with lm.adapters.use(adapter):
                lm.frozen = _made(lm, lm.adapters.first_layer(adapter), items, max_tokens, folder)
        yield
        if lm.frozen is not None:  # all, even where a run that went on needed fewer: the count of one never stopped
            compute.add(lm.frozen.flops, 0)
    finally:
        lm.frozen = former


def _made(lm: LanguageModel, first: int, items: Sequence[Item], max_tokens: int, folder: Path) -> FrozenStates | None:
    known = _dtypes.setdefault(lm.model, {})
    if first and first not in known:
        known[first] = _dtype_at(lm, first)
    dtype = known[first] if first else None
    if dtype is None:
        return None
    once = list({tuple(item.texts): item for item in items}.values())
    rows = sum(map(_length, {text for item in once for text in item.texts}))
    states = _room(rows, lm.hidden_size, dtype, folder if lm.device.type == "cpu" else None)
    return None if states is None else FrozenStates(lm, first, once, max_tokens, states)


def entering(lm: LanguageModel, packed: Packed, first: int) -> Tensor:
    """Hidden states [N, D] that enter decoder layer `first`, computed by the layers below it.

    Raises:
        TypeError: a layer gives something else than hidden states.
    """
    layers = list(lm.model.base_model.layers)
    found: list[Tensor] = []

    def keep(*given: Any, **named: Any) -> Any:
        out = last(*given, **named)
        if not isinstance(out, Tensor):
            raise TypeError(f"a layer of {lm.name} returns a {type(out).__name__}")
        found.append(out[0])
        return out

    last = layers[first - 1].forward
    former, lm.frozen = lm.frozen, None
    try:
        with torch.no_grad(), lm.adapters.use(None), _computing(layers[first - 1 :], [keep], _pass_on):
            lm.hidden_states(packed)
    finally:
        lm.frozen = former
    return found[0]


@contextmanager
def starting_from(layers: Sequence[nn.Module], states: Tensor | None) -> Iterator[None]:
    """Let `layers`, the lowest, give `states` [N, D] instead of computing them, if there are any.

    The model's own forward pass runs around them, so that whatever else it hands to the layers above (masks, rotations
    by the layer's number) is right.
    """
    if states is None:
        yield
        return
    with _computing(layers[::-1], [lambda *_, **__: states[None]], _pass_on):
        yield


@contextmanager
def _computing(
    layers: Sequence[nn.Module], forwards: Sequence[Callable[..., Any]], rest: Callable[..., Any]
) -> Iterator[None]:
    """Give the first of `layers` these forward methods, and the others `rest`."""
    try:
        for number, layer in enumerate(layers):
            layer.forward = forwards[number] if number < len(forwards) else rest
        yield
    finally:
        for layer in layers:
            vars(layer).pop("forward", None)


def _pass_on(hidden_states: Tensor, *_: Any, **__: Any) -> Tensor:
    return hidden_states


def _dtype_at(lm: LanguageModel, first: int) -> torch.dtype | None:
    """Of the states that enter layer `first`, if a pass that starts from them gives what a whole pass gives."""
    packed = pack([PROBE], lm.device)
    with torch.no_grad():
        expected = lm.hidden_states(packed).float()
        try:
            states = entering(lm, packed, first)
            with starting_from(list(lm.model.base_model.layers)[:first], states):
                found = lm.hidden_states(packed).float()
        except (AttributeError, TypeError, ValueError, IndexError):  # of a model that is built otherwise
            return None
    same = float((found - expected).norm()) <= 1e-3 * float(expected.norm())
    return states.dtype if same and states.shape[1] == lm.hidden_size else None


def _room(rows: int, width: int, dtype: torch.dtype, folder: Path | None) -> Tensor | None:
    """An empty tensor [rows, width]: in memory, or a mapped file in `folder`; None if there is no room for either.

    An accelerator computes the states about as fast as a disk gives them, so there is no `folder` for it.
    """
    size, free = rows * width * dtype.itemsize, free_memory(torch.device("cpu"))
    if size <= (UNKNOWN if free is None else free * (OF_MEMORY if folder is not None else OF_HOST)):
        return torch.empty(rows, width, dtype=dtype)
    if folder is None:
        return None
    folder.mkdir(parents=True, exist_ok=True)
    if size > OF_DISK * shutil.disk_usage(folder).free:
        return None
    try:
        with tempfile.TemporaryFile(dir=folder) as file:
            if hasattr(os, "posix_fallocate"):  # else a disk that fills up would kill the process at some write
                os.posix_fallocate(file.fileno(), 0, size)
            mapped = np.memmap(file, np.uint8, "w+", shape=(size,))
    except OSError:
        return None
    return torch.from_numpy(mapped).view(dtype).view(rows, width)


def _length(text: Text) -> int:
    return len(text[1]) // 4
