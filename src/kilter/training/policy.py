"""A policy: a trunk and the adapter that trains on it, or a trunk that trains whole."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn

from kilter.errors import SettingsError
from kilter.models import LanguageModel, Packed, processes
from kilter.models.flops import train_flops
from kilter.training.seeds import derive_seed
from kilter.training.settings import LoraSettings


@dataclass
class Policy:
    """What a trainer changes.

    Attributes:
        lm: the trunk.
        adapter: name of the adapter that trains; None when every weight does.
    """

    lm: LanguageModel
    adapter: str | None

    @staticmethod
    def create(lm: LanguageModel, name: str, lora: LoraSettings | None, seed: int) -> Policy:
        """A policy that starts equal to `lm` as it is now, with its active adapter's values if it has one."""
        lm.model.requires_grad_(False)
        if lora is None:
            lm.adapters.fold()
            lm.model.requires_grad_(True)
            return Policy(lm, None)
        former = lm.adapters.active
        taken = lm.adapters.configs
        stem, number = name, 1
        while name in taken:  # of an earlier stage on the same trunk
            number += 1
            name = f"{stem}-{number}"
        if former is not None:
            if lm.adapters.configs[former] != lora.config():
                raise SettingsError(
                    f"The model already has an adapter of another shape ({lm.adapters.configs[former]}) than the lora "
                    f"settings ask for ({lora.config()}). Training goes on from it, so give the same lora settings."
                )
            lm.adapters.copy(former, name)
        else:
            generator = torch.Generator().manual_seed(derive_seed(seed, "lora", stem))
            lm.adapters.add(name, lora.config(), generator)
        for parameter in lm.adapters.parameters(name):
            parameter.requires_grad_(True)
        lm.adapters.activate(name)
        return Policy(lm, name)

    @staticmethod
    def with_reference(lm: LanguageModel, name: str, lora: LoraSettings | None, seed: int) -> tuple[Policy, Policy]:
        """A policy, and what it started from: the adapter that was active, or a frozen copy of the trunk."""
        if lora is None:
            frozen = deepcopy(lm)
            return Policy.create(lm, name, None, seed), Policy(frozen, frozen.adapters.active)
        former = lm.adapters.active
        return Policy.create(lm, name, lora, seed), Policy(lm, former)

    def train_flops(self, packed: Packed) -> float:
        """Operations of a forward and backward pass over `packed` with the head at its targets."""
        first = self.lm.adapters.configs[self.adapter].first_layer if self.adapter is not None else 0
        labels, full = packed.targets.numel(), self.adapter is None
        start = self.lm.starts_at(packed, self.adapter)
        return train_flops(self.lm, packed, labels=labels, full=full, first_layer=first, start=start)

    def parameters(self) -> list[nn.Parameter]:
        """The trainable tensors in a fixed order."""
        if self.adapter is not None:
            return self.lm.adapters.parameters(self.adapter)
        return list(self.lm.model.parameters())

    @contextmanager
    def active(self) -> Iterator[None]:
        """Compute with this policy inside the block."""
        with self.lm.adapters.use(self.adapter):
            yield

    def save(self, folder: Path) -> None:
        """Write the adapter in peft's layout with its tokenizer, or the whole model."""
        folder.mkdir(parents=True, exist_ok=True)
        if self.adapter is not None:
            self.lm.adapters.save(self.adapter, folder, self.lm.base_name, {"base_sha256": self.lm.weights_hash})
        else:
            self.lm.save_weights(folder)
        if processes.is_main():
            self.lm.tokenizer.save_pretrained(folder)

    def load(self, folder: Path) -> None:
        """Take the values of a saved policy of the same shape."""
        if self.adapter is not None:
            self.lm.adapters.load_state(self.adapter, load_file(folder / "adapter_model.safetensors"))
            return
        tensors = {}
        for file in sorted(folder.glob("model*.safetensors")):
            tensors.update(load_file(file))
        self.lm.model.load_state_dict(tensors, strict=False)
        self.lm.model.tie_weights()
