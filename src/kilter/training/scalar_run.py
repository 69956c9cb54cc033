"""What reward models and process reward models share in training: settings, optimizers, and the run around them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from kilter.models import Item, LanguageModel
from kilter.models.scalar import Pooling, ScalarModel
from kilter.training.loop import finished_result
from kilter.training.optimizer import Optimizer
from kilter.training.policy import Policy
from kilter.training.prepare import prepare
from kilter.training.settings import LoraSettings, OptimizerSettings, fingerprint, weights_digest


class ScalarSettings(OptimizerSettings):
    """Training of a scalar model on judgments."""

    lr: float = Field(2e-4, gt=0, description="Peak learning rate of the adapter.")
    head_lr_factor: float = Field(10.0, gt=0, description="The read-out starts at zero and learns this much faster.")
    epochs: float = Field(1.0, gt=0, description="Passes over the data; InstructGPT found one best.")
    batch_size: int = Field(16, ge=1, description="Prompts per update, with all their responses.")
    layers: int | None = Field(None, ge=1, description="Read out after this many decoder layers; null means all.")
    lora: LoraSettings | None = Field(LoraSettings(), description="Adapter settings; null trains every weight.")

    def updates(self, items: int) -> int:
        """Optimizer steps over so many items."""
        return max(1, round(self.epochs * items / self.batch_size))


def scalar_optimizers(model: ScalarModel, settings: ScalarSettings, updates: int) -> dict[str, Optimizer]:
    """One for the head, which learns faster, and one for what it reads."""
    head, *body = model.parameters()
    return {
        "body": Optimizer(body, settings, updates),
        "head": Optimizer([head], settings, updates, lr=settings.lr * settings.head_lr_factor),
    }


def run_scalar(
    lm: LanguageModel, name: str, settings: ScalarSettings, folder: Path, pooling: Pooling, data: Any,
    items: Sequence[Item], train: Callable[[ScalarModel, str], dict[str, Any]],
) -> tuple[ScalarModel, dict[str, Any]]:  # fmt: skip
    """Create a scalar model on `lm` and train it, or take it from `folder/model` if this very run is finished.

    The adapter that was active is active again afterwards.

    Args:
        name: of the stage and of the new adapter.
        data: what is learned from and measured on, for the run's fingerprint.
        items: the tokens that are learned from.
        train: does the training of (model, fingerprint) and returns the result.
    """
    former = lm.adapters.active
    policy = Policy.create(lm, name, settings.lora, settings.seed)
    try:
        model = ScalarModel.create(lm, policy.adapter, settings.layers, pooling)
        start = [str(lm.dtype), weights_digest(policy.parameters())]
        identity = fingerprint(name, settings, data, lm.weights_hash, start)
        done = finished_result(folder, identity)
        if done is None:
            prepare(settings, settings.lora, items, lm)
            done = train(model, identity)
        else:
            policy.load(folder / "model")
            model.take_head(folder / "model")
    finally:
        if policy.adapter is not None:
            lm.adapters.activate(former)
    return model, done
