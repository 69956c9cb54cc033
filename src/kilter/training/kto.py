"""Kahneman-Tversky optimization: learning from single responses marked good or bad (KTO, arXiv 2402.01306).

No pairs are needed. The reference point, an estimate of KL(policy || reference), is the mean log-ratio of responses
under prompts that they do not belong to, taken over the batch and never negative; it carries no gradient.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, pack, packed_logprobs, processes
from kilter.models.flops import forward_flops
from kilter.models.frozen import reusing_frozen
from kilter.training.guards import require_finite
from kilter.training.loop import Loop, Progress, finished_result, no_progress
from kilter.training.optimizer import Optimizer
from kilter.training.policy import Policy
from kilter.training.preference_losses import kto_loss
from kilter.training.prepare import prepare
from kilter.training.reference import drop_reference, reference_logprobs
from kilter.training.seeds import batch_indices
from kilter.training.settings import LoraSettings, OptimizerSettings, fingerprint, weights_digest
from kilter.training.sft import check_lengths
from kilter.training.shares import own_batches


@dataclass(frozen=True)
class MarkedItem:
    """A prompt with one response and whether people found it desirable."""

    item: Item
    desirable: bool


class KTOSettings(OptimizerSettings):
    """Kahneman-Tversky optimization."""

    lr: float = Field(1e-4, gt=0, description="Peak learning rate (5e-7 to 5e-6 is usual with full fine-tuning).")
    epochs: float = Field(1.0, gt=0, description="Passes over the responses.")
    batch_size: int = Field(16, ge=2, description="Responses per update; the reference point is their mean.")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference.")
    desirable_weight: float | None = Field(
        None, gt=0, description="Weight of desirable responses against undesirable ones; null balances the two."
    )
    lora: LoraSettings | None = Field(LoraSettings(), description="Adapter settings; null trains every weight.")


def train_kto(
    lm: LanguageModel,
    items: Sequence[MarkedItem],
    settings: KTOSettings,
    folder: Path,
    *,
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Train `lm` on marked responses; the trained policy is active on return and lies in `folder/model`.

    Returns:
        Final metrics: loss, and the mean implicit reward (log-ratio) of desirable and undesirable responses.

    Raises:
        DataError: there are fewer than two responses, or one kind of mark only.
        TrainingStopped: the loss or a gradient is not finite.
    """
    check_lengths([one.item for one in items], lm)
    liked = sum(one.desirable for one in items)
    if not 0 < liked < len(items):
        raise DataError(
            f"KTO learns from desirable and undesirable responses; {liked} of the {len(items)} given are desirable. "
            "With one kind alone use SFT on the good ones."
        )
    policy = Policy.create(lm, "kto", settings.lora, settings.seed)
    start = [str(lm.dtype), weights_digest(policy.parameters())]
    described = [[vars(one.item), one.desirable] for one in items]
    identity = fingerprint("kto", settings, described, lm.weights_hash, start)
    done = finished_result(folder, identity)
    if done is not None:
        policy.load(folder / "model")
        return done
    prepare(settings, settings.lora, [one.item for one in items], lm)
    # Each prompt with its own response, and with that of the next example, for the reference point.
    following = [items[(number + 1) % len(items)].item.responses[0] for number in range(len(items))]
    paired = [
        Item(one.item.prompt, [one.item.responses[0], other]) for one, other in zip(items, following, strict=True)
    ]
    wanted = settings.desirable_weight or (len(items) - liked) / liked
    steps = max(1, round(settings.epochs * len(items) / settings.batch_size))
    optimizer = Optimizer(policy.parameters(), settings, steps)
    loop = Loop(folder, "kto", steps, identity, {"optimizer": optimizer}, progress, settings.checkpoint_seconds)
    with reusing_frozen(
        lm, policy.adapter, paired, reads=settings.epochs + 1, max_tokens=settings.max_tokens, folder=folder,
        compute=loop.compute,
    ):  # fmt: skip
        print_ = fingerprint(start, described)
        reference = reference_logprobs(policy, paired, folder, print_, settings.max_tokens, loop.compute)
        for step in loop.steps():
            numbers = batch_indices(len(items), settings.batch_size, step, settings.seed)
            strangers = [Item(paired[one].prompt, [paired[one].responses[1]]) for one in numbers]
            zero = _reference_point(policy, strangers, [reference[one][1] for one in numbers], settings, loop)
            batch = [(items[one], reference[one][0]) for one in numbers]
            metrics = _accumulate(policy, batch, zero, wanted, settings, loop)
            require_finite("loss", metrics["loss"], step)
            metrics["grad_norm"] = optimizer.step(step)
            loop.log({**metrics, "reference_point": zero, "lr": optimizer.rate(step)}, step)
    policy.save(folder / "model")
    drop_reference(folder)
    last = loop.rows[-1]
    return loop.finish({key: last[key] for key in ("loss", "desirable", "undesirable") if key in last})


@torch.no_grad()
def _reference_point(
    policy: Policy, strangers: Sequence[Item], reference: Sequence[Tensor], settings: KTOSettings, loop: Loop
) -> float:
    """Mean log-ratio of responses under other prompts, not below zero."""
    total = 0.0
    for indices in own_batches([one.length for one in strangers], settings.max_tokens):
        packed = pack([strangers[index] for index in indices], policy.lm.device)
        logprobs, _ = packed_logprobs(policy.lm, packed)
        total += float(logprobs.sum()) - sum(float(reference[index]) for index in indices)
        start = policy.lm.starts_at(packed, policy.adapter)
        loop.compute.add(forward_flops(policy.lm, packed, labels=packed.targets.numel(), start=start), packed.size)
    return max(processes.totals(total)[0] / len(strangers), 0.0)


def _accumulate(
    policy: Policy, batch: Sequence[tuple[MarkedItem, Tensor]], zero: float, wanted: float, settings: KTOSettings,
    loop: Loop,
) -> dict[str, float]:  # fmt: skip
    """Forward and backward over a batch in micro-batches."""
    loss_sum = 0.0
    sums = {True: 0.0, False: 0.0}
    for indices in own_batches([one.item.length for one, _ in batch], settings.max_tokens):
        packed = pack([batch[index][0].item for index in indices], policy.lm.device)
        logprobs, _ = packed_logprobs(policy.lm, packed)
        reference = torch.tensor([float(batch[index][1]) for index in indices], device=logprobs.device)
        ratio = packed.summed(logprobs) - reference
        desirable = torch.tensor([batch[index][0].desirable for index in indices], dtype=torch.bool).to(ratio.device)
        weight = torch.where(desirable, wanted, 1.0)
        loss = (kto_loss(ratio, desirable, torch.tensor(zero), settings.beta) * weight).sum() / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        loss_sum += loss.item()
        for one, kind in zip(ratio.tolist(), desirable.tolist(), strict=True):
            sums[kind] += one
        loop.compute.add(policy.train_flops(packed), packed.size)
    total, good, bad = processes.totals(loss_sum, sums[True], sums[False])
    liked = sum(one.desirable for one, _ in batch)
    means = {"desirable": good / liked} if liked else {}
    return {"loss": total, **means, **({"undesirable": bad / (len(batch) - liked)} if liked < len(batch) else {})}
