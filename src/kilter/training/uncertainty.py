"""How unsure a reward model is which response is better: what people should be asked first.

Uncertainty sampling (Lewis and Gale, arXiv cmp-lg/9407020) for comparisons.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from kilter.errors import ModelError
from kilter.models import Item, micro_batches, pack
from kilter.models.ensemble import RewardModel
from kilter.models.scalar import ScalarModel
from kilter.training.loop import Progress, no_progress


@torch.no_grad()
def preference_uncertainty(
    model: RewardModel, items: Sequence[Item], *, max_tokens: int = 4096, progress: Progress = no_progress
) -> list[float]:
    """For each item 1 - |2p - 1|, from 0 (sure) to 1 (either may be better), averaged over its pairs of responses.

    p is Bradley-Terry's probability that the one beats the other: the sigmoid of their margin, the difference of their
    scores in the unit in which the model was trained. Of an ensemble it is the mean over the members, so that a pair
    on which they differ counts as unsure.

    Args:
        items: each with two responses or more.
        max_tokens: read at once.

    Raises:
        ModelError: a score is no finite number, or an item has no two responses.
    """
    members = [model] if isinstance(model, ScalarModel) else model.members
    found = [0.0] * len(items)
    done = 0
    for batch in micro_batches([item.length for item in items], max_tokens):
        packed = pack([items[index] for index in batch], model.lm.device)
        opinions = torch.stack([member.scores(packed) * member.std for member in members]).cpu()
        sizes = [len(items[index].responses) for index in batch]
        for index, scores in zip(batch, torch.split(opinions, sizes, dim=1), strict=True):
            found[index] = _uncertainty(scores, index)
        done += len(batch)
        progress("scored", done, len(items), {})
    return found


def _uncertainty(scores: Tensor, index: int) -> float:
    """Of one item's scores [members, K]."""
    if scores.shape[1] < 2:
        raise ModelError(f"Item {index} has {scores.shape[1]} responses; a margin lies between two.")
    if not scores.isfinite().all():
        raise ModelError(f"The reward model's scores of item {index} are no finite numbers; train it anew.")
    one, other = torch.triu_indices(scores.shape[1], scores.shape[1], 1)
    p = torch.sigmoid((scores[:, one] - scores[:, other]).double()).mean(0)  # float32 would call 0.9999999 sure
    return float((1 - (2 * p - 1).abs()).mean())
