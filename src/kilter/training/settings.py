"""Settings that several trainers share."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from typing import Any, Literal

import torch
from pydantic import Field, field_validator

from kilter.models.lora import ALL_LINEAR, LoraConfig
from kilter.models.shard import whole
from kilter.settings import Settings

Dtype = Literal["auto", "bfloat16", "float32"]


class LoraSettings(Settings):
    """Low-rank adapters (arXiv 2106.09685): what trains when the trunk is frozen."""

    rank: int = Field(16, ge=1, description="Rank of the adapter's matrices.")
    alpha: float = Field(32.0, gt=0, description="The adapter's product is scaled by alpha / rank.")
    targets: list[str] = Field([ALL_LINEAR], description="Linear layers to adapt by name, or all-linear.")
    first_layer: int = Field(0, ge=0, description="Adapt layers from this one up; those below are computed once only.")

    def config(self) -> LoraConfig:
        """As the models room wants it."""
        return LoraConfig(self.rank, self.alpha, tuple(self.targets), self.first_layer)


class OptimizerSettings(Settings):
    """Settings of AdamW and of the loop around it."""

    lr: float = Field(1e-4, gt=0, description="Peak learning rate.")
    schedule: Literal["constant", "linear", "cosine"] = Field("linear", description="How the rate falls after warmup.")
    warmup: float = Field(0.05, ge=0, le=1, description="Share of the steps in which the rate rises.")
    weight_decay: float = Field(0.0, ge=0, description="Decoupled weight decay.")
    max_grad_norm: float = Field(1.0, gt=0, description="Gradients are clipped to this norm.")
    max_tokens: int = Field(2048, ge=16, description="Tokens of one micro-batch; lower it to use less memory.")
    checkpoint_seconds: float = Field(15.0, ge=0, description="Time between checkpoints.")
    seed: int = Field(0, ge=0, description="Seed of everything random in this stage.")

    @field_validator("lr")
    @classmethod
    def _sane(cls, value: float) -> float:
        if value > 1:
            raise ValueError("a learning rate above 1 is surely a typing mistake")
        return value


def fingerprint(*parts: Any) -> str:
    """SHA-256 of settings, data and weights; a checkpoint of another fingerprint is refused.

    Settings enter as JSON, `Sequence`s of items by their representation.
    """
    digest = hashlib.sha256()
    for part in parts:
        if isinstance(part, Settings):
            part = part.model_dump(mode="json", exclude={"checkpoint_seconds", "server_key"})
            if part.get("server"):  # that it samples elsewhere is part of the run; the address is not
                part["server"] = True
        digest.update(json.dumps(part, sort_keys=True, default=_plain).encode())
    return digest.hexdigest()


def weights_digest(tensors: Iterable[torch.Tensor]) -> str:
    """SHA-256 of the bits that a run starts from: from another start, or in another dtype, it is another run."""
    digest = hashlib.sha256()
    for tensor in tensors:
        digest.update(str(tensor.dtype).encode())
        digest.update(whole(tensor.detach()).cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _plain(value: Any) -> Any:
    if isinstance(value, torch.Tensor):
        return value.tolist()
    if isinstance(value, Sequence):
        return list(value)
    return vars(value)
