"""Comparisons with a planted preference, for the trainers that learn from them."""

from __future__ import annotations

import torch

from kilter.models import Item
from kilter.training import RankedItem

LIKED = 50


def comparisons(count: int, first: int = 0) -> list[RankedItem]:
    """Four responses of which two, at random places, hold the liked token; those beat the other two."""
    items = []
    for number in range(first, first + count):
        generator = torch.Generator().manual_seed(number)
        prompt = torch.randint(60, 120, (4,), generator=generator).tolist()
        responses = torch.randint(60, 120, (4, 6), generator=generator).tolist()
        order = torch.randperm(4, generator=generator).tolist()
        for index in order[:2]:
            responses[index][int(torch.randint(6, (1,), generator=generator))] = LIKED
        pairs = tuple((i, j) for i in order[:2] for j in order[2:])
        items.append(RankedItem(Item(prompt, [[*one, 2] for one in responses]), pairs))
    return items
