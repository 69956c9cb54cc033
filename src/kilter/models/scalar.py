"""A scalar read from a trunk's hidden states: a reward model's score, a value model's estimate."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from safetensors import safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from kilter.errors import ModelError, SettingsError
from kilter.models import processes
from kilter.models.flops import forward_flops, train_flops
from kilter.models.language_model import LanguageModel
from kilter.models.language_model import load as load_model
from kilter.models.lora import layer_number
from kilter.models.pack import Packed

PROCESS_FILE = "process.json"  # beside the head of a model that judges single steps
HEAD_FILE = "scalar_head.safetensors"
Pooling = Literal["last", "mean"]


@dataclass
class ScalarModel:
    """(w . hidden - mean) / std of a trunk with one of its adapters.

    Attributes:
        lm: the trunk; many scalar models and a policy can share one.
        adapter: the adapter it computes with; None for a trunk of its own.
        head: [D] float32 weight w, trainable.
        layers: decoder layers it reads; fewer than all is faster, and middle layers often know more.
        mean, std: normalization of what `values` and `scores` return.
        pooling: a response is scored by the hidden state of its last token, or by the mean over its tokens.
    """

    lm: LanguageModel
    adapter: str | None
    head: nn.Parameter
    layers: int
    mean: float = 0.0
    std: float = 1.0
    pooling: Pooling = "last"

    @staticmethod
    def create(
        lm: LanguageModel, adapter: str | None, layers: int | None = None, pooling: Pooling = "last"
    ) -> ScalarModel:
        """A scalar model with its head at zero, so that it starts by saying nothing.

        Raises:
            SettingsError: it shall read more layers than there are.
        """
        if layers is not None and layers > lm.layers:
            raise SettingsError(f"layers is {layers}, but {lm.name} has {lm.layers} decoder layers; null reads all.")
        head = nn.Parameter(torch.zeros(lm.hidden_size, device=lm.device))
        return ScalarModel(lm, adapter, head, layers or lm.layers, pooling=pooling)

    def parameters(self) -> list[nn.Parameter]:
        """The head, and what it reads: the adapter or (without one) the trunk, up to the last layer read."""
        if self.adapter is not None:
            return [self.head, *self.lm.adapters.parameters(self.adapter, below=self.layers)]
        named = self.lm.model.base_model.named_parameters()
        return [
            self.head,
            *(parameter for path, parameter in named if (layer_number(path) or 0) < self.layers),
        ]

    def values(self, packed: Packed, index: Tensor) -> Tensor:
        """Scalars [len(index)] float32 read at the tokens `index` of a packed row, with gradient where enabled."""
        return self._read_out(self._hidden(packed).index_select(0, index).float())

    def scores(self, packed: Packed) -> Tensor:
        """One scalar [R] float32 for each response, with gradient where enabled."""
        return self._read_out(self.features(packed))

    def features(self, packed: Packed) -> Tensor:
        """What a response's score is read from, [R, D] float32."""
        hidden = self._hidden(packed)
        ends = hidden.index_select(0, packed.ends).float()
        if self.pooling == "last":
            return ends
        own = (packed.owner >= 0).nonzero()[:, 0]
        owner = packed.owner[own]
        summed = torch.zeros_like(ends).index_add(0, owner, hidden.index_select(0, own).float())
        lengths = torch.bincount(owner, minlength=len(ends))[:, None]
        return torch.where(lengths > 0, summed / lengths.clamp(min=1), ends)  # an empty response: its prompt's end

    def _hidden(self, packed: Packed) -> Tensor:
        with self.lm.adapters.use(self.adapter):
            return self.lm.compute(lambda: self.lm.hidden_states(packed, self.layers))

    def _read_out(self, features: Tensor) -> Tensor:
        return (features @ self.head - self.mean) / self.std

    def read_flops(self, packed: Packed) -> float:
        """Operations of scoring `packed`."""
        return forward_flops(self.lm, packed, layers=self.layers, start=self._starts_at(packed))

    def train_flops(self, packed: Packed) -> float:
        """Operations of a forward and backward pass over `packed`."""
        first = self.lm.adapters.configs[self.adapter].first_layer if self.adapter is not None else 0
        return train_flops(
            self.lm, packed, layers=self.layers, full=self.adapter is None, first_layer=first,
            start=self._starts_at(packed),
        )  # fmt: skip

    def _starts_at(self, packed: Packed) -> int:
        return self.lm.starts_at(packed, self.adapter, self.layers)

    def save(self, folder: Path) -> None:
        """Write the adapter (peft's layout) and the head into `folder`; a full trunk is written whole."""
        folder.mkdir(parents=True, exist_ok=True)
        described = {"layers": self.layers, "mean": self.mean, "std": self.std, "pooling": self.pooling}
        if self.adapter is not None:
            extra = {"base_sha256": self.lm.weights_hash, "kilter_scalar": described}
            self.lm.adapters.save(self.adapter, folder, self.lm.base_name, extra)
        else:
            self.lm.save_weights(folder)
        if not processes.is_main():
            return
        if self.adapter is None:
            self.lm.tokenizer.save_pretrained(folder)
        save_file(
            {"weight": self.head.detach().cpu()},
            folder / HEAD_FILE,
            metadata={"kilter": json.dumps(described)},
        )

    @staticmethod
    def load(lm: LanguageModel, folder: Path, name: str) -> ScalarModel:
        """Load a saved scalar model onto `lm`, its adapter under `name`; one that was trained whole has its own trunk.

        Raises:
            ModelError: the folder holds no scalar model, or one of another trunk.
        """
        head, described = _read(folder)
        lm = _own_trunk(folder, lm)
        if head.shape != (lm.hidden_size,):
            raise ModelError(
                f"The head in {folder} reads {head.numel()} features, {lm.name} has {lm.hidden_size}: "
                "it belongs to another base model."
            )
        adapter = None
        if (folder / "adapter_config.json").exists():
            config = lm.adapters.load(name, folder)
            if config.get("base_sha256") not in (None, lm.weights_hash):
                lm.adapters.remove(name)
                raise ModelError(f"The reward model in {folder} was trained on another version of {lm.name}.")
            adapter = name
        parameter = nn.Parameter(head.to(lm.device))
        return ScalarModel(
            lm, adapter, parameter, described["layers"], described["mean"], described["std"],
            described.get("pooling", "last"),
        )  # fmt: skip

    def take_head(self, folder: Path) -> None:
        """Take the head and the normalization of a saved scalar model; the trunk stays as it is."""
        head, described = _read(folder)
        self.head.data.copy_(head)
        self.mean, self.std = described["mean"], described["std"]


def _own_trunk(folder: Path, lm: LanguageModel) -> LanguageModel:
    """The model saved with a head that was trained together with every weight; else the one that is there."""
    saved_whole = (folder / "config.json").exists() and not (folder / "adapter_config.json").exists()
    if not saved_whole or lm.path.resolve() == folder.resolve():
        return lm
    return load_model(folder, dtype="bfloat16" if lm.dtype == torch.bfloat16 else "float32")


def _read(folder: Path) -> tuple[Tensor, dict[str, Any]]:
    file = folder / HEAD_FILE
    if not file.exists():
        raise ModelError(f"{folder} holds no reward model (no {HEAD_FILE}); train one with 'kilter train reward'.")
    with safe_open(file, "pt") as opened:
        described: dict[str, Any] = json.loads(opened.metadata()["kilter"])
        # A copy: where a file is mapped depends on its header, and sums of unaligned memory differ in the last bits.
        return opened.get_tensor("weight").clone(), described
