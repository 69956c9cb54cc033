"""Ranked responses as what reward models and preference losses read: which beat which, which were as good."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kilter.models import Item, Packed


@dataclass(frozen=True)
class RankedItem:
    """A prompt with K >= 2 responses and how judges compared them, by number of response.

    Attributes:
        pairs: each (better, worse).
        ties: pairs that were found equally good.
        margin: by how much the better one is better, in units of the reward (Llama 2, arXiv 2307.09288); 0: not said.
    """

    item: Item
    pairs: tuple[tuple[int, int], ...]
    ties: tuple[tuple[int, int], ...] = ()
    margin: float = 0.0


@dataclass(frozen=True)
class Pairs:
    """The P pairs of a pack of items, decided ones and ties.

    Attributes:
        better, worse: [P] indices among all responses of the pack; of a tie in any order.
        weight: [P] weight; those of one prompt add up to one.
        margin: [P] by how much the better one is better.
        tied: [P] bool.
    """

    better: Tensor
    worse: Tensor
    weight: Tensor
    margin: Tensor
    tied: Tensor

    @staticmethod
    def of(some: Sequence[RankedItem], packed: Packed, *, ties: bool = False) -> Pairs:
        """The pairs of `some`, which `packed` holds in this order; with their `ties` or without."""
        rows: list[tuple[int, int, float, float, bool]] = []
        first = 0
        for one in some:
            tied = one.ties if ties else ()
            share = 1 / max(len(one.pairs) + len(tied), 1)
            rows += [(first + a, first + b, share, one.margin, False) for a, b in one.pairs]
            rows += [(first + a, first + b, share, 0.0, True) for a, b in tied]
            first += len(one.item.responses)
        columns = list(zip(*rows, strict=True)) or [()] * 5
        kinds = (torch.long, torch.long, torch.float, torch.float, torch.bool)
        device = packed.tokens.device
        return Pairs(*(torch.tensor(one, dtype=kind, device=device) for one, kind in zip(columns, kinds, strict=True)))


def contents(items: Sequence[RankedItem]) -> list[object]:
    """What was judged, for a run's fingerprint."""
    return [[vars(one.item), one.pairs, one.ties, one.margin] for one in items]
