"""Keys and values of the samples that are being drawn, prompts of like length together.

A prompt's keys lie there once for all its samples: their queries become the rows of one matrix product, and what each
sample has written itself is kept apart. Prompts are gathered into bunches by length, so that nobody attends over the
padding of the longest.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kilter.models import native
from kilter.models.attention import AttentionLayout
from kilter.models.pack import Item, Packed, pack

BUNCH_TOKENS = 2048  # prompt tokens read in one go: intermediate values stay in the processor's cache
BUNCH_COST = 600  # columns of padding that cost as much as one bunch more
ROOM = 32  # columns made at a time: oneDNN prepares a kernel for every new shape, and copies what is not contiguous


def bunches(lengths: Sequence[int]) -> list[list[int]]:
    """Group prompts, longest first, so that bunches and padding together cost least; indices into `lengths`."""
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    best: list[tuple[float, int]] = [(0.0, 0)]  # cost of the first i prompts, and where their last bunch begins
    for end in range(1, len(order) + 1):
        choices, tokens = [], 0
        for first in range(end - 1, -1, -1):
            tokens += lengths[order[first]]
            if tokens > BUNCH_TOKENS and first < end - 1:
                break
            choices.append((best[first][0] + BUNCH_COST + (end - first) * lengths[order[first]], first))
        best.append(min(choices))
    groups, end = [], len(order)
    while end:
        first = best[end][1]
        groups.append(order[first:end])
        end = first
    return groups[::-1]


class Columns:
    """Keys and values of X rows in every layer, W columns wide, one for each token.

    Keys lie as [X * G, D, W], values as [X * G, W, D]: on CPU that takes half the time of the fused kernel when there
    are few queries. `mask` [X * G, 1, W] is minus infinity where nobody looks; zeros lie there.
    """

    def __init__(self, mask: Tensor) -> None:
        self.rows = len(mask)
        self.mask = mask  # [X, 1, W] until the first layer tells G
        self._keys: list[Tensor] = []
        self._values: list[Tensor] = []

    @property
    def width(self) -> int:
        """Number of columns."""
        return self.mask.shape[2]

    def add_layer(self, k: Tensor, v: Tensor) -> None:
        """Keep what a layer computed, k and v [X, T, G, D], T at most the width."""
        x, t, g, d = k.shape
        if not self._keys:
            self.mask = self.mask.repeat_interleave(g, 0)
        keys, values = k.new_zeros(x, g, d, self.width), v.new_zeros(x, g, self.width, d)
        keys[..., :t], values[:, :, :t] = k.permute(0, 2, 3, 1), v.transpose(1, 2)
        self._keys.append(keys.view(x * g, d, self.width))
        self._values.append(values.view(x * g, self.width, d))

    def open(self, column: int) -> None:
        """Let everybody look at `column`, which is about to be written."""
        if column == self.width:
            more = self.mask.new_full((len(self.mask), 1, ROOM), float("-inf"))
            self.mask = torch.cat([self.mask, more], 2)
            self._keys = [torch.cat([one, one.new_zeros(*one.shape[:2], ROOM)], 2) for one in self._keys]
            self._values = [torch.cat([one, one.new_zeros(len(one), ROOM, one.shape[2])], 1) for one in self._values]
        self.mask[:, :, column] = 0

    def write(self, layer: int, column: int, k: Tensor, v: Tensor) -> None:
        """Put one token of each row: k and v [X, G, D]."""
        self._keys[layer][:, :, column] = k.reshape(-1, k.shape[2])
        self._values[layer][:, column] = v.reshape(-1, v.shape[2])

    def of(self, layer: int) -> tuple[Tensor, Tensor, Tensor]:
        """Keys, values and mask of a layer, as they lie."""
        return self._keys[layer], self._values[layer], self.mask

    def scores(self, layer: int, queries: Tensor, scale: float) -> Tensor:
        """scale * queries keys + mask: [X * G, Q, D] to [X * G, Q, W]."""
        return torch.baddbmm(self.mask, queries, self._keys[layer], alpha=scale)

    def sums(self, layer: int, weights: Tensor) -> Tensor:
        """Weighted sums of the values: [X * G, Q, W] to [X * G, Q, D]."""
        return torch.bmm(weights, self._values[layer])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but `rows`."""
        index = torch.tensor(list(rows), device=self.mask.device)

        def select(stored: Tensor) -> Tensor:
            each = stored.view(self.rows, len(stored) // self.rows, *stored.shape[1:]).index_select(0, index)
            return each.flatten(0, 1)

        self.mask = select(self.mask)
        self._keys, self._values = list(map(select, self._keys)), list(map(select, self._values))
        self.rows = len(index)


class Bunch:
    """Samples of P prompts of like length, n of each; the layout with which they are decoded.

    Rows are samples, those of a prompt next to one another; B of them are alive. With one sample per prompt, what it
    writes goes into columns behind its prompt's.
    """

    def __init__(self, prompts: Sequence[Sequence[int]], n: int) -> None:
        self.prompts, self.n, self.written = list(prompts), n, 0
        self.prompt_of = [number for number in range(len(prompts)) for _ in range(n)]
        self._prompt_of = torch.tensor(self.prompt_of)
        self._width = max(map(len, prompts))
        self._most = n  # samples alive of the prompt that has most
        self._slots: Tensor | None = None  # where each row lies among P * most places; None: at its own number
        self._prompt: Columns
        self._own: Columns

    @property
    def reach(self) -> int:
        """Keys that the newest token of the longest row sees."""
        return max(map(len, self.prompts)) + self.written

    def reading(self, packed: Packed, dtype: torch.dtype) -> Reading:
        """The layout with which the prompts, as `packed` by this bunch, are read and kept."""
        device, p, n = packed.tokens.device, len(self.prompts), self.n
        starts = torch.tensor([one.start for one in packed.segments[-p:]], device=device)
        lengths = torch.tensor([len(one) for one in self.prompts], device=device)[:, None]
        shared = packed.segments[0].length if len(packed.segments) > p else 0
        place = torch.arange(self._width, device=device)
        index = torch.where(place < shared, place, starts[:, None] + place - shared).where(place < lengths, 0)
        columns = torch.arange(-(-self._width // ROOM) * ROOM, device=device)
        mask = torch.zeros(p, 1, len(columns), dtype=dtype, device=device)
        self._prompt = Columns(mask.masked_fill_((columns >= lengths)[:, None], float("-inf")))
        self._own = Columns(mask.new_full((p * n, 1, 0), float("-inf"))) if n > 1 else self._prompt
        return Reading(self._prompt, self._own, packed.layout(dtype), index)

    def packed(self, device: torch.device) -> Packed:
        """The prompts as one row, what all of them begin with once."""
        shared = _common_prefix(self.prompts)
        return pack([Item(self.prompts[0][:shared], [list(one[shared:]) for one in self.prompts])], device)

    def advance(self) -> None:
        """Make room for one more token per row."""
        self.written += 1
        self._own.open(self._column)

    @property
    def _column(self) -> int:
        return self.written - 1 + (self._width if self.n == 1 else 0)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attend from the newest token of each row: q [B, H, D], its own k and v [B, G, D]; result [B, H, D]."""
        own, prompt = self._own.of(layer), None if self.n == 1 else self._prompt.of(layer)
        if q.dtype == own[0].dtype and native.takes(*own, *(prompt or ())):
            return native.attend(q, k, v, prompt, self._prompt_of, own, self._column, scale)
        return self._attend(layer, q, k, v, scale)

    def _attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        (b, h, d), g = q.shape, k.shape[1]
        self._own.write(layer, self._column, k, v)
        own = self._own.scores(layer, q.reshape(b * g, h // g, d), scale)
        if self.n == 1:
            return self._own.sums(layer, torch.softmax(own, 2)).view(b, h, d)
        prompt = self._by_row(self._prompt.scores(layer, self._by_prompt(q, g), scale), g)
        width = prompt.shape[2]
        weights = torch.softmax(torch.cat([prompt.view(b * g, h // g, width), own], 2), 2)
        out = self._own.sums(layer, weights[:, :, width:]).view(b, h, d)
        of_prompt = self._by_prompt(weights[:, :, :width].reshape(b, h, width), g)
        return out + self._by_row(self._prompt.sums(layer, of_prompt), g)

    def _by_prompt(self, rows: Tensor, g: int) -> Tensor:
        """[B, H, Z] to [P * G, most * H/G, Z]: the heads of all samples of a prompt as queries of one key head."""
        p, most = len(self.prompts), self._most
        if self._slots is not None:
            rows = rows.new_zeros(p * most, *rows.shape[1:]).index_copy_(0, self._slots, rows)
        h, z = rows.shape[1:]
        return rows.view(p, most, g, h // g, z).transpose(1, 2).reshape(p * g, most * (h // g), z)

    def _by_row(self, queries: Tensor, g: int) -> Tensor:
        """The way back: [P * G, most * H/G, Z] to [B, H, Z]."""
        p, most, z = len(self.prompts), self._most, queries.shape[2]
        rows = queries.view(p, g, most, -1, z).transpose(1, 2).reshape(p * most, -1, z)
        return rows if self._slots is None else rows.index_select(0, self._slots)

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but `rows`, and the prompts that have none left."""
        prompt_of = [self.prompt_of[row] for row in rows]
        left = sorted(set(prompt_of))
        if self.n > 1:
            self._own.keep(rows)
        if len(left) < len(self.prompts):
            self._prompt.keep(left)
        self.prompts = [self.prompts[number] for number in left]
        self.prompt_of = [left.index(number) for number in prompt_of]
        self._prompt_of = torch.tensor(self.prompt_of)
        counts = [prompt_of.count(number) for number in left]
        self._most = max(counts)
        slots = [number * self._most + place for number, count in enumerate(counts) for place in range(count)]
        full = len(slots) == len(left) * self._most
        self._slots = None if full else torch.tensor(slots, device=self._own.mask.device)


class Reading:
    """The layout with which a bunch's prompts are read: packed attention, while every layer's keys are kept."""

    def __init__(self, prompt: Columns, own: Columns, layout: AttentionLayout, index: Tensor) -> None:
        self._prompt, self._own, self._layout, self._index, self.reach = prompt, own, layout, index, layout.reach

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """As the packed row does; the prompts' keys and values go to where `index` [P, T] says."""
        spread = [one.index_select(0, self._index.flatten()).view(*self._index.shape, *one.shape[1:]) for one in (k, v)]
        self._prompt.add_layer(*spread)
        if self._own is not self._prompt:
            self._own.add_layer(*(one.new_empty(self._own.rows, 0, *one.shape[1:]) for one in (k, v)))
        return self._layout.attend(layer, q, k, v, scale)


class Cache:
    """All bunches of a batch, one after another; the layout of a decoding step."""

    def __init__(self, parts: Sequence[Bunch]) -> None:
        self.parts = list(parts)

    @property
    def reach(self) -> int:
        """Keys that the newest token of the longest row sees."""
        return max(part.reach for part in self.parts)

    def advance(self) -> None:
        """Make room for one more token per row."""
        for part in self.parts:
            part.advance()

    def positions(self, device: torch.device) -> Tensor:
        """Position [B] of each row's newest token."""
        ends = [len(part.prompts[number]) + part.written - 1 for part in self.parts for number in part.prompt_of]
        return torch.tensor(ends, device=device)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, scale: float) -> Tensor:
        """Attend from the newest token of each row: q [B, H, D], its own k and v [B, G, D]; result [B, H, D]."""
        if len(self.parts) == 1:
            return self.parts[0].attend(layer, q, k, v, scale)
        sizes = [len(part.prompt_of) for part in self.parts]
        split = zip(self.parts, *(torch.split(one, sizes) for one in (q, k, v)), strict=True)
        return torch.cat([part.attend(layer, *own, scale=scale) for part, *own in split])

    def keep(self, rows: Sequence[int]) -> None:
        """Drop all rows but `rows`, in rising order."""
        first, left = 0, []
        for part in self.parts:
            end = first + len(part.prompt_of)
            own = [row - first for row in rows if first <= row < end]
            if own and len(own) < end - first:
                part.keep(own)
            if own:
                left.append(part)
            first = end
        self.parts = left


def _common_prefix(prompts: Sequence[Sequence[int]]) -> int:
    """Tokens that all prompts begin with (a system message, usually); each keeps at least one of its own."""
    first, last = min(prompts, key=list), max(prompts, key=list)
    most = min(map(len, prompts)) - 1
    return next((i for i in range(most) if first[i] != last[i]), most)
