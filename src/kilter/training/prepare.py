"""Before the first step: weights divided over the processes, and a decision whether all activations fit."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from kilter.models import Item, LanguageModel, processes
from kilter.models.estimate import Memory, Shape, training_memory
from kilter.models.free_memory import free_memory
from kilter.models.shard import shard
from kilter.training.optimizer import widen
from kilter.training.settings import LoraSettings, OptimizerSettings

SLACK = 0.8
"""Share of the free memory that is counted on: allocators round, and other programs live here too."""


def prepare(
    settings: OptimizerSettings, lora: LoraSettings | None, items: Sequence[Item], learner: LanguageModel,
    *others: LanguageModel, method: str = "sft",
) -> None:  # fmt: skip
    """Make models ready to train: call it when all adapters are there and before the optimizer.

    Several processes divide the weights of all models, the trained ones in float32. Where the largest micro-batch would
    not fit into memory, `learner` keeps only the inputs of its layers.

    Args:
        settings: with the seed, so that several processes start from the same float32 weights as one does.
        items: what will be read, for its longest sequence.
        others: further models that one step uses.
        method: one of `METHODS` in `models/estimate.py` that trains as many models.
    """
    if processes.world_size() > 1:
        for lm in {id(one): one for one in (learner, *others)}.values():
            lm.compute_dtype = lm.dtype
            widen(list(lm.model.parameters()), settings.seed)
            shard(lm.model, lm.compute_dtype)
    learner.recompute = _must_recompute(settings, lora, items, learner, method)


def _must_recompute(
    settings: OptimizerSettings, lora: LoraSettings | None, items: Sequence[Item], lm: LanguageModel, method: str
) -> bool:
    free = free_memory(lm.device)
    if free is None or not hasattr(lm.model.config, "intermediate_size") or not hasattr(lm.model.base_model, "layers"):
        return False
    longest = max(len(item.prompt) + max(map(len, item.responses), default=0) for item in items)
    tokens = max(settings.max_tokens, *(item.length for item in items))

    def missing(recompute: bool) -> Memory:
        return training_memory(
            Shape.of(lm.model.config), tokens=tokens, longest=longest, rank=lora.rank if lora is not None else None,
            element=lm.dtype.itemsize, processes=processes.world_size(), recompute=recompute,
            method=method,
        )  # fmt: skip

    wide = lora is not None or processes.world_size() > 1  # what trains is in float32 already

    def needed(memory: Memory) -> int:  # the weights are there already, and so is the process
        masters = 0 if wide else memory.masters
        return masters + memory.gradients + memory.moments + memory.activations + memory.head

    if processes.largest(needed(missing(False)) > SLACK * free) == 0:
        return False
    if processes.is_main():
        logging.getLogger(__name__).warning(
            "Activations are computed twice: a step of %d tokens would need %.1f GiB, or %.1f GiB so, and %.1f GiB are "
            "free. A smaller max_tokens (now %d) may be faster.",
            tokens, needed(missing(False)) / 2**30, needed(missing(True)) / 2**30, free / 2**30, settings.max_tokens,
        )  # fmt: skip
    return True
