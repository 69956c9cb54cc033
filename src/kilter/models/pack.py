"""Packing: many prompts and responses as one row of tokens, each prompt read once.

A `Sequence` is a prompt with any number of responses that continue it: G samples of one prompt, a chosen and a
rejected reply, K ranked ones, or a single text. `pack` lays them out one after another without any padding. Every
piece (a prompt, or one response) is a *segment*; a response's segment attends to its prompt's segment and to
itself, never to its siblings. What each response token is predicted from is kept as an index, so that the language
model's head runs only where it counts.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import torch
from torch import Tensor

from kilter.errors import DataError
from kilter.models.attention import AttentionLayout, Segment

Text = tuple[bytes, bytes]
"""The token ids of a segment's prefix and its own, `as_bytes`; its positions follow from them."""


@dataclass(frozen=True)
class Item:
    """A prompt and the responses that continue it, as token ids.

    Args:
        prompt: token ids; may be empty, and then a response's first token is given rather than predicted.
        responses: token ids of each response, end-of-sequence token included where there is one.
        learn: for each response, which of its tokens carry a loss (a multi-turn mask); None means all.
    """

    prompt: Sequence[int]
    responses: Sequence[Sequence[int]]
    learn: Sequence[Sequence[bool]] | None = None

    @property
    def length(self) -> int:
        """Tokens that a forward pass reads for this item."""
        return len(self.prompt) + sum(len(response) for response in self.responses)

    @property
    def texts(self) -> list[Text]:
        """What each segment will say, in the order in which `pack` lays them out."""
        prompt = as_bytes(self.prompt)
        return [(b"", prompt)] * bool(prompt) + [(prompt, as_bytes(one)) for one in self.responses if len(one)]

    @property
    def targets(self) -> int:
        """Response tokens that carry a loss."""
        learn = self.learn if self.learn is not None else [[True] * len(response) for response in self.responses]
        return sum(sum(map(bool, mask if self.prompt else mask[1:])) for mask in learn)


@dataclass
class Packed:
    """Items laid out in one row; all index tensors live on one device.

    Attributes:
        tokens: [N] token ids.
        positions: [N] position of each token within its own prompt + response.
        segments: where each prompt and each response lies, and what it continues.
        targets: [M] the response tokens that carry a loss.
        sources: [M] index into N of the token from whose hidden state each target is predicted.
        response: [M] index of the response that each target belongs to.
        ends: [R] index into N of the last token of each response (of its prompt where the response is empty).
        counts: [R] number of targets of each response.
        group: [R] index of the item that each response belongs to.
        owner: [N] index of the response that each token belongs to, -1 for a prompt's tokens.
    """

    tokens: Tensor
    positions: Tensor
    segments: list[Segment]
    targets: Tensor
    sources: Tensor
    response: Tensor
    ends: Tensor
    counts: Tensor
    group: Tensor
    owner: Tensor
    _layouts: dict[torch.dtype, AttentionLayout] = field(default_factory=dict, repr=False)

    @cached_property
    def size(self) -> int:
        """Number of tokens, N."""
        return int(self.tokens.numel())

    @cached_property
    def texts(self) -> list[Text]:
        """What each segment says."""
        tokens = self.tokens.tolist()

        def of(start: int, length: int) -> bytes:
            return as_bytes(tokens[start : start + length])

        return [(of(one.prefix_start, one.prefix_length), of(one.start, one.length)) for one in self.segments]

    def layout(self, dtype: torch.dtype) -> AttentionLayout:
        """The attention layout for computing in `dtype`, built once and shared by all layers and passes."""
        if dtype not in self._layouts:
            self._layouts[dtype] = AttentionLayout.build(self.segments, dtype, self.tokens.device)
        return self._layouts[dtype]

    def split(self, values: Tensor) -> list[Tensor]:
        """Cut a per-target tensor [M] into one tensor per response, in order."""
        return list(torch.split(values, self.counts.tolist()))

    def summed(self, values: Tensor) -> Tensor:
        """Sum of a per-target tensor [M] over each response, [R]."""
        return values.new_zeros(len(self.counts)).index_add(0, self.response, values)


def pack(items: Sequence[Item], device: torch.device | str = "cpu") -> Packed:
    """Lay `items` out in one row; without any, a row of one token with no target.

    Raises:
        DataError: an item has neither prompt nor response tokens.
    """
    tokens: list[int] = []
    positions: list[int] = []
    segments: list[Segment] = []
    targets: list[int] = []
    sources: list[int] = []
    response_of: list[int] = []
    ends: list[int] = []
    counts: list[int] = []
    group: list[int] = []
    owner: list[int] = []

    for number, item in enumerate(items or [Item([0], [])]):
        if not len(item.prompt) and not (item.responses and all(len(reply) for reply in item.responses)):
            raise DataError(f"Item {number} has neither prompt nor response tokens; drop empty examples first.")
        prompt = Segment(start=len(tokens), length=len(item.prompt), prefix_start=0, prefix_length=0)
        tokens.extend(item.prompt)
        positions.extend(range(prompt.length))
        owner.extend([-1] * prompt.length)
        if prompt.length:
            segments.append(prompt)
        for index, reply in enumerate(item.responses):
            start = len(tokens)
            if len(reply):
                segments.append(Segment(start, len(reply), prompt.start, prompt.length))
            tokens.extend(reply)
            positions.extend(range(prompt.length, prompt.length + len(reply)))
            owner.extend([len(ends)] * len(reply))
            learn = item.learn[index] if item.learn is not None else [True] * len(reply)
            before = len(targets)
            for offset, (token, wanted) in enumerate(zip(reply, learn, strict=True)):
                source = start + offset - 1 if offset else prompt.start + prompt.length - 1
                if wanted and (offset or prompt.length):
                    targets.append(token)
                    sources.append(source)
                    response_of.append(len(ends))
            ends.append(start + len(reply) - 1 if len(reply) else prompt.start + prompt.length - 1)
            counts.append(len(targets) - before)
            group.append(number)

    def tensor(values: list[int]) -> Tensor:
        return torch.tensor(values, dtype=torch.long, device=device)

    return Packed(
        tensor(tokens), tensor(positions), segments, tensor(targets), tensor(sources), tensor(response_of),
        tensor(ends), tensor(counts), tensor(group), tensor(owner),
    )  # fmt: skip


def micro_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """Group indices into batches of at most `max_tokens` tokens, like lengths together, nothing left out.

    Sorting by length keeps the attention's padding small; the batches are as even as their number allows, because a
    small one costs nearly as much overhead as a large one. An item longer than `max_tokens` gets a batch of its own.
    Deterministic: ties keep their order.
    """
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    batches = _fill(order, lengths, max_tokens)
    low, high = 0, max_tokens
    while low + 1 < high:
        room = (low + high) // 2
        fewer = _fill(order, lengths, room)
        if len(fewer) == len(batches):
            batches, high = fewer, room
        else:
            low = room
    return batches


def _fill(order: Sequence[int], lengths: Sequence[int], room: int) -> list[list[int]]:
    batches: list[list[int]] = []
    left = 0
    for index in order:
        if not batches or lengths[index] > left:
            batches.append([])
            left = room
        batches[-1].append(index)
        left -= lengths[index]
    return batches


def as_bytes(tokens: Sequence[int]) -> bytes:
    """Token ids as four bytes each."""
    return array("i", tokens).tobytes()


def total_tokens(items: Iterable[Item]) -> int:
    """Tokens that a forward pass over `items` reads."""
    return sum(item.length for item in items)
