"""Score tokens that were already chosen: the log-probability of every response token, prompts read once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from kilter.models.head import token_logprobs
from kilter.models.language_model import LanguageModel
from kilter.models.pack import Item, Packed, micro_batches, pack


@dataclass
class Scores:
    """Per response of one item: logprobs and entropies of its tokens, float32 on the CPU."""

    logprobs: list[Tensor]
    entropies: list[Tensor]


def packed_logprobs(
    lm: LanguageModel, packed: Packed, *, temperature: float = 1.0, entropy: bool = False
) -> tuple[Tensor, Tensor]:
    """Log-probabilities [M] and entropies [M] of a packed row's targets, with gradient where it is enabled."""

    def compute() -> tuple[Tensor, Tensor]:
        hidden = lm.hidden_states(packed).index_select(0, packed.sources)
        return token_logprobs(hidden, lm.head, packed.targets, temperature=temperature, entropy=entropy)

    return lm.compute(compute)


@torch.no_grad()
def score(
    lm: LanguageModel,
    items: Sequence[Item],
    *,
    temperature: float = 1.0,
    max_tokens: int = 4096,
    entropy: bool = False,
) -> list[Scores]:
    """Score every response of `items` with the active adapter, in micro-batches of at most `max_tokens` tokens.

    Returns:
        For each item, for each of its responses, tensors as long as the response's learned tokens.
    """
    results: list[Scores | None] = [None] * len(items)
    for batch in micro_batches([item.length for item in items], max_tokens):
        packed = pack([items[index] for index in batch], lm.device)
        logprobs, entropies = packed_logprobs(lm, packed, temperature=temperature, entropy=entropy)
        parts = iter(zip(packed.split(logprobs.cpu()), packed.split(entropies.cpu()), strict=True))
        for index in batch:
            own = [next(parts) for _ in items[index].responses]
            results[index] = Scores([one[0] for one in own], [one[1] for one in own])
    return [one for one in results if one is not None]
