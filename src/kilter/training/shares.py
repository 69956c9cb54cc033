"""How the processes of one run share a step's work; alone, one process does it all."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from kilter.models import Item, LanguageModel, Packed, Response, micro_batches, pack, processes, sample


def own_batches(lengths: Sequence[int], max_tokens: int) -> list[list[int]]:
    """This process's micro-batches of a batch whose items have these lengths, all alone all of them.

    Every process gets as many, because their passes meet layer by layer: some may be empty, and an empty pack is one
    token that teaches nothing.
    """
    if processes.world_size() == 1:
        return micro_batches(lengths, max_tokens)
    own = sorted(range(len(lengths)), key=lambda index: -lengths[index])[processes.rank() :: processes.world_size()]
    batches = [[own[place] for place in few] for few in micro_batches([lengths[one] for one in own], max_tokens)]
    return batches + [[]] * (processes.largest(len(batches)) - len(batches))


def read_items(
    items: Sequence[Item], device: torch.device, max_tokens: int, read: Callable[[Packed], Sequence[Tensor]],
    sizes: Sequence[int],
) -> list[Tensor]:  # fmt: skip
    """What `read` makes of packs, put together in the order of `items`: the processes share the work and the result.

    Args:
        read: gives float32 tensors in pack order, of as many values for each item as `sizes` says.

    Returns:
        As many tensors [sum of sizes].
    """
    lengths = [item.length for item in items]
    if processes.world_size() == 1 and sum(lengths) <= max_tokens:
        return list(read(pack(items, device)))
    starts = [0, *torch.tensor(list(sizes)).cumsum(0).tolist()]
    found: list[Tensor] = []
    for indices in own_batches(lengths, max_tokens):
        parts = read(pack([items[index] for index in indices], device))
        found = found or [torch.zeros(starts[-1], device=device) for _ in parts]
        places = torch.cat([torch.arange(0), *(torch.arange(starts[one], starts[one + 1]) for one in indices)])
        for whole, part in zip(found, parts, strict=True):
            whole[places.to(device)] = part
    return [processes.all_reduce(one) for one in found]


def sample_together(
    lm: LanguageModel, prompts: Sequence[Sequence[int]], *, n: int, max_new_tokens: int, temperature: float, seed: int
) -> list[list[Response]]:
    """As `sample`: every process samples for some of the prompts, and all get all responses."""
    settings: dict[str, Any] = {"n": n, "max_new_tokens": max_new_tokens, "temperature": temperature}
    if processes.world_size() == 1:
        return sample(lm, prompts, seed=seed, **settings)
    order = sorted(range(len(prompts)), key=lambda index: -len(prompts[index]))
    own = order[processes.rank() :: processes.world_size()]
    # The weights are put together for sampling, so a process without a prompt samples for another one's.
    mine = own or order[:1]
    groups = sample(lm, [prompts[index] for index in mine], seed=seed, numbers=mine, **settings)
    told = [[vars(one) for one in group] for group in groups] if own else []
    every: dict[int, list[Response]] = {}
    for part, found in enumerate(processes.all_gather(told)):
        theirs = order[part :: processes.world_size()]
        every |= {index: [Response(**one) for one in group] for index, group in zip(theirs, found, strict=True)}
    return [every[index] for index in range(len(prompts))]
