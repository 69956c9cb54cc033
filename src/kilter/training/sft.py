"""Supervised fine-tuning on demonstrations: the first step of InstructGPT (arXiv 2203.02155, section 3.5).

The loss is the mean negative log-likelihood of the learned tokens of a batch, exact under any split into
micro-batches; a batch is packed, never padded, and only labeled positions reach the head.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, pack, packed_logprobs, processes, score
from kilter.models.frozen import reusing_frozen
from kilter.training.guards import require_finite
from kilter.training.loop import Loop, Progress, finished_result, no_progress
from kilter.training.optimizer import Optimizer
from kilter.training.policy import Policy
from kilter.training.prepare import prepare
from kilter.training.seeds import batch_indices
from kilter.training.settings import LoraSettings, OptimizerSettings, fingerprint, weights_digest
from kilter.training.shares import own_batches


class SFTSettings(OptimizerSettings):
    """Supervised fine-tuning."""

    lr: float = Field(2e-4, gt=0, description="Peak learning rate (2e-5 is usual with full fine-tuning).")
    epochs: float = Field(1.0, gt=0, description="Passes over the demonstrations; fractions are allowed.")
    batch_size: int = Field(16, ge=1, description="Demonstrations per update.")
    lora: LoraSettings | None = Field(LoraSettings(), description="Adapter settings; null trains every weight.")


def train_sft(
    lm: LanguageModel,
    items: Sequence[Item],
    settings: SFTSettings,
    folder: Path,
    *,
    heldout: Sequence[Item] = (),
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Fine-tune `lm` on `items`; the trained policy is active on return and lies in `folder/model`.

    Args:
        lm: the base model; it gains an adapter "sft" (or is changed itself with lora: null).
        items: a prompt and one response each, as token ids.
        heldout: items whose loss is measured before and after.

    Returns:
        Final metrics: loss, heldout_loss_before, heldout_loss_after (nats per token), steps, tokens, flops, seconds.

    Raises:
        DataError: there are no items, or one exceeds the model's context.
        TrainingStopped: the loss or a gradient is not finite.
    """
    check_lengths(items, lm)
    policy = Policy.create(lm, "sft", settings.lora, settings.seed)
    start = [str(lm.dtype), weights_digest(policy.parameters())]
    identity = fingerprint(
        "sft", settings, [[vars(item) for item in part] for part in (items, heldout)], lm.weights_hash, start
    )
    done = finished_result(folder, identity)
    if done is not None:
        policy.load(folder / "model")
        return done
    prepare(settings, settings.lora, items, lm)
    steps = max(1, round(settings.epochs * len(items) / settings.batch_size))
    optimizer = Optimizer(policy.parameters(), settings, steps)
    loop = Loop(folder, "sft", steps, identity, {"optimizer": optimizer}, progress, settings.checkpoint_seconds)
    before = mean_loss(lm, heldout, settings.max_tokens) if heldout else None
    loss = float("nan")
    with reusing_frozen(
        lm, policy.adapter, items, reads=settings.epochs, max_tokens=settings.max_tokens, folder=folder,
        compute=loop.compute,
    ):  # fmt: skip
        for step in loop.steps():
            batch = [items[index] for index in batch_indices(len(items), settings.batch_size, step, settings.seed)]
            loss = _accumulate(policy, batch, settings, loop)
            require_finite("loss", loss, step)
            norm = optimizer.step(step)
            loop.log({"loss": loss, "grad_norm": norm, "lr": optimizer.rate(step)}, step)
    policy.save(folder / "model")
    result: dict[str, Any] = {"loss": loop.rows[-1]["loss"]}
    if before is not None:
        result |= {
            "heldout_loss_before": before,
            "heldout_loss_after": mean_loss(lm, heldout, settings.max_tokens),
        }
    return loop.finish(result)


def _accumulate(policy: Policy, batch: Sequence[Item], settings: SFTSettings, loop: Loop) -> float:
    """Forward and backward over a batch in micro-batches; returns its mean loss per token."""
    total = sum(item.targets for item in batch)
    if total == 0:
        raise DataError("A whole batch has no token to learn; every response is empty or masked out.")
    summed = 0.0
    for indices in own_batches([item.length for item in batch], settings.max_tokens):
        packed = pack([batch[index] for index in indices], policy.lm.device)
        logprobs, _ = packed_logprobs(policy.lm, packed)
        loss = -logprobs.sum() / total
        loss.backward()  # type: ignore[no-untyped-call]
        summed += loss.item()
        loop.compute.add(policy.train_flops(packed), packed.size)
    return processes.totals(summed)[0]


@torch.no_grad()
def mean_loss(lm: LanguageModel, items: Sequence[Item], max_tokens: int = 2048) -> float:
    """Mean negative log-likelihood per learned token, in nats, with the active adapter."""
    scores = score(lm, items, max_tokens=max_tokens)
    logprobs = torch.cat([logprob for one in scores for logprob in one.logprobs])
    return -float(logprobs.mean())


def check_lengths(items: Sequence[Item], lm: LanguageModel) -> None:
    """Refuse an empty set and items that the model cannot read.

    Raises:
        DataError: with the number of the first such item.
    """
    if not items:
        raise DataError("There is nothing to train on: the data set is empty.")
    for index, item in enumerate(items):
        longest = len(item.prompt) + max((len(response) for response in item.responses), default=0)
        if longest > lm.context:
            raise DataError(
                f"Example {index} has {longest} tokens, more than the {lm.context} that {lm.name} can read. Drop or "
                "shorten it."
            )
