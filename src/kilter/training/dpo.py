"""Preference optimization without a reward model: DPO, IPO, robust and length-normalized DPO, SimPO, ORPO.

A prompt with its K ranked responses is one item, as in reward modeling: its prompt is read once, all its pairs are
learned, and each prompt has the same say. The reference is the policy before its first step: its log-probabilities
are computed once, kept on disk, and no second model is held in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import Field, model_validator
from torch import Tensor

from kilter.errors import DataError
from kilter.models import LanguageModel, Packed, micro_batches, pack, packed_logprobs, processes
from kilter.models.frozen import reusing_frozen
from kilter.training.guards import require_finite
from kilter.training.loop import Loop, Progress, finished_result, no_progress
from kilter.training.optimizer import Optimizer
from kilter.training.pairs import Pairs, RankedItem, contents
from kilter.training.policy import Policy
from kilter.training.preference_losses import (
    dpo_loss,
    hinge_loss,
    ipo_loss,
    odds_ratio_loss,
    robust_dpo_loss,
    simpo_loss,
)
from kilter.training.prepare import prepare
from kilter.training.reference import drop_reference, reference_logprobs
from kilter.training.seeds import batch_indices
from kilter.training.settings import LoraSettings, OptimizerSettings, fingerprint, weights_digest
from kilter.training.sft import check_lengths
from kilter.training.shares import own_batches

WITHOUT_REFERENCE = ("simpo", "orpo")
PER_TOKEN = ("ipo", "simpo", "orpo")


class DPOSettings(OptimizerSettings):
    """Preference optimization."""

    lr: float = Field(1e-4, gt=0, description="Peak learning rate (5e-7 to 5e-6 is usual with full fine-tuning).")
    epochs: float = Field(1.0, gt=0, description="Passes over the comparisons.")
    batch_size: int = Field(16, ge=1, description="Prompts per update, with all their responses.")
    loss: Literal["dpo", "robust", "ipo", "hinge", "simpo", "orpo"] = Field("dpo", description="Which loss.")
    beta: float = Field(0.1, gt=0, description="Strength of the tie to the reference; SimPO's scale; ORPO's lambda.")
    label_noise: float = Field(0.0, ge=0, lt=0.5, description="Assumed share of swapped labels (dpo, robust).")
    length_normalized: bool = Field(False, description="Log-ratios per token (dpo, robust, hinge; ipo always).")
    margin: float = Field(1.0, ge=0, description="SimPO's gamma: the margin asked for.")
    sft_coef: float = Field(0.0, ge=0, description="Weight of the likelihood of the better responses (RPO).")
    lora: LoraSettings | None = Field(LoraSettings(), description="Adapter settings; null trains every weight.")

    @model_validator(mode="after")
    def _used(self) -> DPOSettings:
        unused = {
            "label_noise": self.loss not in ("dpo", "robust"),
            "length_normalized": self.loss in PER_TOKEN,
            "margin": self.loss != "simpo",
            "sft_coef": self.loss == "orpo",  # which has the likelihood in it already
        }
        for name, idle in unused.items():
            if idle and name in self.model_fields_set and getattr(self, name) != type(self).model_fields[name].default:
                raise ValueError(f"{name} has no effect with loss: {self.loss}; leave it out")
        return self


@dataclass
class Sums:
    """What one batch adds up to, for the log."""

    loss: float = 0.0
    right: float = 0.0
    margin: float = 0.0
    pairs: int = 0


def train_dpo(
    lm: LanguageModel,
    items: Sequence[RankedItem],
    settings: DPOSettings,
    folder: Path,
    *,
    heldout: Sequence[RankedItem] = (),
    progress: Progress = no_progress,
) -> dict[str, Any]:
    """Train `lm` on preferences; the trained policy is active on return and lies in `folder/model`.

    Args:
        lm: the model to start from, which is the reference too (usually after SFT).
        items: ranked responses as token ids.
        heldout: comparisons on which accuracy is measured at the end: how often the policy, against the reference,
            gained on the better response.

    Returns:
        Final metrics: loss, accuracy and margin of the training pairs as they were met, heldout_accuracy.

    Raises:
        DataError: there is nothing to learn from, or an item is longer than the model's context.
        TrainingStopped: the loss or a gradient is not finite.
    """
    check_lengths([one.item for one in items], lm)
    items, heldout = [one for one in items if one.pairs], [one for one in heldout if one.pairs]
    if not items:
        raise DataError("No comparison prefers one response over another: all are ties, so nothing can be learned.")
    policy = Policy.create(lm, "dpo", settings.lora, settings.seed)
    start = [str(lm.dtype), weights_digest(policy.parameters())]
    identity = fingerprint("dpo", settings, contents(items), contents(heldout), lm.weights_hash, start)
    done = finished_result(folder, identity)
    if done is not None:
        policy.load(folder / "model")
        return done
    prepare(settings, settings.lora, [one.item for one in items], lm)
    steps = max(1, round(settings.epochs * len(items) / settings.batch_size))
    optimizer = Optimizer(policy.parameters(), settings, steps)
    loop = Loop(folder, "dpo", steps, identity, {"optimizer": optimizer}, progress, settings.checkpoint_seconds)
    everything = [one.item for one in (*items, *heldout)]
    referred = settings.loss not in WITHOUT_REFERENCE
    with reusing_frozen(
        lm, policy.adapter, everything, reads=settings.epochs + referred, max_tokens=settings.max_tokens,
        folder=folder, compute=loop.compute,
    ):  # fmt: skip
        reference = [torch.zeros(len(one.responses)) for one in everything]
        if referred:
            print_ = fingerprint(start, [vars(one) for one in everything])
            reference = reference_logprobs(policy, everything, folder, print_, settings.max_tokens, loop.compute)
        _learn(policy, items, reference, settings, optimizer, loop)
        right = _accuracy(policy, heldout, reference[len(items) :], settings) if heldout else None
    policy.save(folder / "model")
    result: dict[str, Any] = {"loss": loop.rows[-1]["loss"], "margin": loop.rows[-1]["margin"]}
    result["accuracy"] = sum(row["accuracy"] for row in loop.rows) / len(loop.rows)
    drop_reference(folder)
    return loop.finish(result | ({} if right is None else {"heldout_accuracy": right}))


def _learn(
    policy: Policy, items: Sequence[RankedItem], reference: Sequence[Tensor], settings: DPOSettings,
    optimizer: Optimizer, loop: Loop,
) -> None:  # fmt: skip
    for step in loop.steps():
        numbers = batch_indices(len(items), settings.batch_size, step, settings.seed)
        found = _accumulate(
            policy, [items[one] for one in numbers], [reference[one] for one in numbers], settings, loop
        )
        require_finite("loss", found.loss, step)
        norm = optimizer.step(step)
        shown = {"loss": found.loss, "accuracy": found.right / found.pairs, "margin": found.margin / found.pairs}
        loop.log({**shown, "grad_norm": norm, "lr": optimizer.rate(step)}, step)


def _accumulate(
    policy: Policy, batch: Sequence[RankedItem], reference: Sequence[Tensor], settings: DPOSettings, loop: Loop
) -> Sums:
    """Forward and backward over a batch in micro-batches."""
    sums = Sums()
    chosen_tokens = sum(len(one.item.responses[place]) for one in batch for place in _winners(one)) or 1
    for indices in own_batches([one.item.length for one in batch], settings.max_tokens):
        some = [batch[index] for index in indices]
        packed = pack([one.item for one in some], policy.lm.device)
        pairs = Pairs.of(some, packed)
        summed, ratios = _read(policy, packed, [reference[index] for index in indices], settings)
        loss = (pair_loss(ratios[pairs.better], ratios[pairs.worse], settings) * pairs.weight).sum() / len(batch)
        if settings.sft_coef or settings.loss == "orpo":
            winners = [place in _winners(one) for one in some for place in range(len(one.item.responses))]
            likelihood = -summed[torch.tensor(winners, dtype=torch.bool, device=summed.device)].sum() / chosen_tokens
            loss = (
                loss * settings.beta + likelihood if settings.loss == "orpo" else loss + settings.sft_coef * likelihood
            )
        loss.backward()  # type: ignore[no-untyped-call]
        margin = (ratios[pairs.better] - ratios[pairs.worse]).detach()
        sums.loss += loss.item()
        sums.right += float((margin > 0).sum())
        sums.margin += float(margin.sum())
        sums.pairs += margin.numel()
        loop.compute.add(policy.train_flops(packed), packed.size)
    loss_sum, right, margins, decided = processes.totals(sums.loss, sums.right, sums.margin, sums.pairs)
    return Sums(loss_sum, right, margins, int(decided))


def pair_loss(better: Tensor, worse: Tensor, settings: DPOSettings) -> Tensor:
    """The chosen loss of each pair [P], from log-ratios or (ipo, simpo, orpo) their means per token."""
    match settings.loss:
        case "dpo":
            return dpo_loss(better, worse, settings.beta, settings.label_noise)
        case "robust":
            return robust_dpo_loss(better, worse, settings.beta, settings.label_noise)
        case "ipo":
            return ipo_loss(better, worse, settings.beta)
        case "hinge":
            return hinge_loss(better, worse, settings.beta)
        case "simpo":
            return simpo_loss(better, worse, settings.beta, settings.margin)
        case "orpo":
            return odds_ratio_loss(better, worse)


def _read(policy: Policy, packed: Packed, reference: Sequence[Tensor], settings: DPOSettings) -> tuple[Tensor, Tensor]:
    """Log-probability of each response [R], and its log-ratio to the reference, per token where the loss wants it."""
    logprobs, _ = packed_logprobs(policy.lm, packed)
    summed = packed.summed(logprobs)
    ratio = summed - torch.cat([torch.empty(0), *reference]).to(summed.device)
    per_token = settings.length_normalized or settings.loss in PER_TOKEN
    return summed, ratio / packed.counts.clamp(min=1) if per_token else ratio


def _winners(one: RankedItem) -> list[int]:
    """Numbers of the responses that win a pair and lose none."""
    losers = {worse for _, worse in one.pairs}
    return sorted({better for better, _ in one.pairs} - losers)


@torch.no_grad()
def _accuracy(policy: Policy, items: Sequence[RankedItem], reference: Sequence[Tensor], settings: DPOSettings) -> float:
    right = total = 0
    for indices in micro_batches([one.item.length for one in items], settings.max_tokens):
        some = [items[index] for index in indices]
        packed = pack([one.item for one in some], policy.lm.device)
        pairs = Pairs.of(some, packed)
        _, ratios = _read(policy, packed, [reference[index] for index in indices], settings)
        right += int((ratios[pairs.better] > ratios[pairs.worse]).sum())
        total += pairs.better.numel()
    return right / total
