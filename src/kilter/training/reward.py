"""Reward modeling from comparisons (InstructGPT, arXiv 2203.02155, section 3.5).

A prompt with its K ranked responses is one item: all K (K - 1) / 2 pairs are learned from one forward pass that
reads the prompt once, and each prompt has the same say. The score is a linear read-out of the hidden state at the
response's last token.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from sklearn.linear_model import LogisticRegression
from torch import Tensor

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, micro_batches, pack, processes
from kilter.models.frozen import reusing_frozen
from kilter.models.scalar import Pooling, ScalarModel
from kilter.training.guards import require_finite
from kilter.training.loop import Loop, Progress, no_progress
from kilter.training.losses import preference_loss
from kilter.training.pairs import Pairs, RankedItem, contents
from kilter.training.scalar_run import ScalarSettings, run_scalar, scalar_optimizers
from kilter.training.seeds import batch_indices
from kilter.training.sft import check_lengths
from kilter.training.shares import own_batches

ADAPTER = "reward"


class RewardSettings(ScalarSettings):
    """Reward-model training."""

    pooling: Pooling = Field("mean", description="A score is read from the mean over the response, or its last token.")
    probe: bool = Field(True, description="Start from a linear probe on the frozen trunk instead of from zero.")
    smoothing: float = Field(0.05, ge=0, lt=0.5, description="Assumed share of labels that are the wrong way round.")
    ties: float = Field(
        0.0, ge=0, lt=1, description="Share of ties expected between equally good responses; 0 leaves ties out."
    )


def train_reward(
    lm: LanguageModel,
    items: Sequence[RankedItem],
    settings: RewardSettings,
    folder: Path,
    *,
    heldout: Sequence[RankedItem] = (),
    progress: Progress = no_progress,
) -> tuple[ScalarModel, dict[str, Any]]:
    """Train a reward model on a trunk; it lies in `folder/model`.

    Args:
        lm: the trunk; it gains an adapter "reward" that starts as a copy of the active one, if there is one.
        items: ranked responses as token ids.
        heldout: comparisons on which the accuracy is measured at the end.

    Returns:
        The reward model, normalized to mean 0 and standard deviation 1 over training responses, and the final
        metrics: loss, accuracy (of the training pairs as they were met), heldout_accuracy.

    Raises:
        DataError: there is nothing to learn from.
        TrainingStopped: the loss or a gradient is not finite.
    """
    check_lengths([one.item for one in items], lm)
    if not any(one.pairs for one in items):
        raise DataError("No comparison prefers one response over another: all are ties, so nothing can be learned.")
    items = [one for one in items if one.pairs or (settings.ties and one.ties)]
    return run_scalar(
        lm, ADAPTER, settings, folder, settings.pooling, [contents(items), contents(heldout)],
        [one.item for one in items],
        lambda model, identity: _train(model, items, settings, folder, identity, progress, heldout),
    )  # fmt: skip


def _train(
    model: ScalarModel, items: Sequence[RankedItem], settings: RewardSettings, folder: Path, identity: str,
    progress: Progress, heldout: Sequence[RankedItem],
) -> dict[str, Any]:  # fmt: skip
    steps = settings.updates(len(items))
    optimizers = scalar_optimizers(model, settings, steps)
    loop = Loop(folder, "reward", steps, identity, optimizers, progress, settings.checkpoint_seconds)
    with reusing_frozen(
        model.lm, model.adapter, [one.item for one in items], reads=settings.epochs + settings.probe,
        max_tokens=settings.max_tokens, folder=folder, compute=loop.compute,
    ):  # fmt: skip
        for step in loop.steps():
            if step == 0 and settings.probe:
                fit_head(model, items, settings.max_tokens)
            batch = [items[index] for index in batch_indices(len(items), settings.batch_size, step, settings.seed)]
            loss, accuracy, margin = _accumulate(model, batch, settings, loop)
            require_finite("loss", loss, step)
            norm = max(optimizer.step(step) for optimizer in optimizers.values())
            loop.log({"loss": loss, "accuracy": accuracy, "margin": margin, "grad_norm": norm}, step)
        normalize(model, items, settings.max_tokens)
    model.save(folder / "model")
    result: dict[str, Any] = {"loss": loop.rows[-1]["loss"], "accuracy": mean_of(loop.rows, "accuracy")}
    if heldout:
        margins = pair_margins(model, heldout, settings.max_tokens)
        result["heldout_accuracy"] = float((torch.cat(margins) > 0).float().mean())
    return loop.finish(result)


@torch.no_grad()
def fit_head(model: ScalarModel, items: Sequence[RankedItem], max_tokens: int = 4096) -> None:
    """Set the head to a logistic regression on the hidden states of the trunk as it is.

    Fine-tuning that starts from such a probe distorts the features less than from an arbitrary head (LP-FT, arXiv
    2202.10054).
    """
    differences: list[Tensor] = []
    weights: list[Tensor] = []
    for indices in micro_batches([one.item.length for one in items], max_tokens):
        some = [items[index] for index in indices]
        packed = pack([one.item for one in some], model.lm.device)
        pairs = Pairs.of(some, packed)
        features = model.features(packed)
        differences.append(features[pairs.better] - features[pairs.worse])
        weights.append(pairs.weight)
    x, weight = torch.cat(differences).cpu().double(), torch.cat(weights).cpu().double()
    scale = x.square().mean(0).sqrt().clamp_(min=1e-6)
    x /= scale
    # A Gaussian prior on the weights, of variance 1 / D: before any comparison was seen, a margin is about +-1.
    regression = LogisticRegression(C=1 / x.shape[1], fit_intercept=False, max_iter=1000)
    # Each pair once as (better - worse, 1) and once as (worse - better, 0), with half its weight: two classes.
    labels = torch.cat([torch.ones(len(x)), torch.zeros(len(x))])
    regression.fit(torch.cat([x, -x]).numpy(), labels.numpy(), torch.cat([weight, weight]).numpy() / 2)
    model.head.copy_(torch.from_numpy(regression.coef_[0]) / scale)


def _accumulate(
    model: ScalarModel, batch: Sequence[RankedItem], settings: RewardSettings, loop: Loop
) -> tuple[float, float, float]:
    """Forward and backward over a batch; returns loss, pair accuracy and mean margin."""
    loss_sum, right, margins, decided = 0.0, 0, 0.0, 0
    for indices in own_batches([one.item.length for one in batch], settings.max_tokens):
        some = [batch[index] for index in indices]
        packed = pack([one.item for one in some], model.lm.device)
        pairs = Pairs.of(some, packed, ties=settings.ties > 0)
        scores = model.scores(packed)
        margin = scores[pairs.better] - scores[pairs.worse]
        losses = preference_loss(margin - pairs.margin, pairs.tied, settings.smoothing, settings.ties)
        loss = (losses * pairs.weight).sum() / len(batch)
        loss.backward()  # type: ignore[no-untyped-call]
        won = margin.detach()[~pairs.tied]
        loss_sum += loss.item()
        right += int((won > 0).sum())
        margins += float(won.sum())
        decided += won.numel()
        loop.compute.add(model.train_flops(packed), packed.size)
    total, hits, margin_sum, pairs_met = processes.totals(loss_sum, right, margins, decided)
    return total, hits / max(pairs_met, 1), margin_sum / max(pairs_met, 1)


@torch.no_grad()
def reward_scores(model: ScalarModel, items: Sequence[Item], max_tokens: int = 4096) -> list[Tensor]:
    """Scores of each item's responses, float32 on the CPU, in order."""
    results: list[Tensor | None] = [None] * len(items)
    for batch in micro_batches([item.length for item in items], max_tokens):
        packed = pack([items[index] for index in batch], model.lm.device)
        parts = torch.split(model.scores(packed).cpu(), [len(items[index].responses) for index in batch])
        for index, part in zip(batch, parts, strict=True):
            results[index] = part
    return [one for one in results if one is not None]


def pair_margins(model: ScalarModel, items: Sequence[RankedItem], max_tokens: int = 4096) -> list[Tensor]:
    """For each item, score of the better minus score of the worse response of each of its pairs."""
    scores = reward_scores(model, [one.item for one in items], max_tokens)
    return [
        torch.stack([score[winner] - score[loser] for winner, loser in one.pairs]) if one.pairs else torch.empty(0)
        for one, score in zip(items, scores, strict=True)
    ]


def mean_of(rows: Sequence[dict[str, float]], name: str) -> float:
    """Mean of one metric over all steps."""
    values = [row[name] for row in rows if name in row]
    return sum(values) / max(len(values), 1)


def normalize(model: ScalarModel, items: Sequence[RankedItem], max_tokens: int) -> None:
    """Shift and scale the scores of the first items to mean 0 and standard deviation 1, a unit that PPO knows."""
    model.mean, model.std = 0.0, 1.0
    scores = torch.cat(reward_scores(model, [one.item for one in items[:64]], max_tokens))
    model.mean, model.std = float(scores.mean()), max(float(scores.std()), 1e-6)
