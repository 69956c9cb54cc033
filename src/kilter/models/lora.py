"""LoRA (arXiv 2106.09685): several small adapters on one frozen trunk, switched without copying it.

Written here rather than taken from peft because policy, reference, reward and value model share one trunk and
because of speed: one autograd function adds the low-rank product in place, where a chain of modules makes three
more passes over the output. The files are peft's (`adapter_config.json`, `adapter_model.safetensors`), so peft,
vLLM and others load what Kilter trains.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from kilter.errors import ModelError, SettingsError
from kilter.models import processes
from kilter.models.shard import put, whole

ALL_LINEAR = "all-linear"


class _LoraProduct(torch.autograd.Function):
    """x W^T + b + scale (x A^T) B^T with frozen W; shapes: x [..., I], W [O, I], A [r, I], B [O, r]."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, w: Tensor, bias: Tensor | None, a: Tensor, b: Tensor, scale: float) -> Tensor:
        flat = x.reshape(-1, x.shape[-1])
        low_a, low_b = a.to(x.dtype), b.to(x.dtype)
        inner = flat @ low_a.t()
        out = nn.functional.linear(flat, w, bias).addmm_(inner, low_b.t(), alpha=scale)
        ctx.save_for_backward(flat, w, low_a, low_b, inner)
        ctx.scale, ctx.shape, ctx.master = scale, x.shape, a.dtype
        return out.view(*x.shape[:-1], w.shape[0])

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, None, None, Tensor, Tensor, None]:
        flat, w, a, b, inner = ctx.saved_tensors
        g = grad.reshape(-1, grad.shape[-1])
        inner_grad = (g @ b).mul_(ctx.scale)
        d_b = (g.t() @ inner).to(ctx.master).mul_(ctx.scale)
        d_a = (inner_grad.t() @ flat).to(ctx.master)
        d_x = None
        if ctx.needs_input_grad[0]:
            d_x = (g @ w).addmm_(inner_grad, a).view(ctx.shape)
        return d_x, None, None, d_a, d_b, None


@dataclass(frozen=True)
class LoraConfig:
    """Shape of one adapter: rank, alpha (the product is scaled by alpha / rank) and the layers it touches."""

    rank: int
    alpha: float
    targets: tuple[str, ...]
    first_layer: int = 0

    @property
    def scale(self) -> float:
        """Factor on the low-rank product."""
        return self.alpha / self.rank


class _Switch:
    """Which adapter a trunk computes with; shared by all its layers."""

    def __init__(self) -> None:
        self.active: str | None = None


class LoraLinear(nn.Module):
    """A linear layer, frozen, with named low-rank adapters of which at most one is active."""

    def __init__(self, base: nn.Linear, switch: _Switch) -> None:
        super().__init__()
        self.base = base
        self.a = nn.ParameterDict()
        self.b = nn.ParameterDict()
        self.scales: dict[str, float] = {}
        self._switch = switch

    @property
    def weight(self) -> Tensor:
        """The frozen weight [O, I]."""
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        """The frozen bias [O], if any."""
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        """Apply the frozen layer and the active adapter, if this layer has one: [..., I] to [..., O]."""
        name = self._switch.active
        if name is None or name not in self.scales:
            return nn.functional.linear(x, self.base.weight, self.base.bias)
        out: Tensor = _LoraProduct.apply(  # type: ignore[no-untyped-call]
            x, self.base.weight, self.base.bias, self.a[name], self.b[name], self.scales[name]
        )
        return out

    def merged(self, name: str | None) -> Tensor:
        """The weight [O, I] with the adapter's product added in float32 and rounded once."""
        weight = self.base.weight.detach()
        if name is None or name not in self.scales:
            return weight
        product = (self.b[name] @ self.a[name]).detach() * self.scales[name]
        merged: Tensor = (weight.float() + product).to(weight.dtype)
        return merged


class Adapters:
    """The adapters of one model: create, choose, copy, save and load them."""

    def __init__(self, model: nn.Module) -> None:
        self._model = model
        self._switch = _Switch()
        self._layers: dict[str, LoraLinear] = {}
        self.configs: dict[str, LoraConfig] = {}

    @property
    def active(self) -> str | None:
        """Name of the adapter in use, or None for the bare trunk."""
        return self._switch.active

    def add(self, name: str, config: LoraConfig, generator: torch.Generator) -> None:
        """Create adapter `name`: A random as in the paper's code (Kaiming uniform), B zero, so it starts as no change.

        Raises:
            SettingsError: no linear layer of the model matches the targets, or the name is taken.
        """
        if name in self.configs:
            raise SettingsError(f"The model already has an adapter named '{name}'; choose another name.")
        names = self._matching(config)
        for path in names:
            layer = self._wrap(path)
            out_size, in_size = layer.base.weight.shape
            bound = in_size**-0.5
            a = torch.empty(config.rank, in_size).uniform_(-bound, bound, generator=generator)
            device = layer.base.weight.device
            layer.a[name] = nn.Parameter(a.to(device))
            layer.b[name] = nn.Parameter(torch.zeros(out_size, config.rank, device=device))
            layer.scales[name] = config.scale
        self.configs[name] = config

    def copy(self, source: str, target: str) -> None:
        """Create adapter `target` with the values of `source`."""
        self.add(target, self.configs[source], torch.Generator())
        self.load_state(target, {key: value.clone() for key, value in self.state(source).items()})

    def parameters(self, name: str, below: int | None = None) -> list[nn.Parameter]:
        """The trainable float32 tensors of adapter `name`, in a fixed order; only of layers under `below`."""
        layers = [
            layer
            for path, layer in self._layers.items()
            if name in layer.scales and (below is None or (layer_number(path) or 0) < below)
        ]
        return [parameter for layer in layers for parameter in (layer.a[name], layer.b[name])]

    def first_layer(self, name: str | None) -> int:
        """The lowest decoder layer that adapter `name` changes; the number of layers, where it changes none."""
        total = int(self._model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        changed = (layer_number(path) or 0 for path, layer in self._layers.items() if name in layer.scales)
        return min(changed, default=total)

    @contextmanager
    def use(self, name: str | None) -> Iterator[None]:
        """Compute with adapter `name` (None: the bare trunk) inside the block; the former choice comes back after."""
        former = self._switch.active
        self.activate(name)
        try:
            yield
        finally:
            self._switch.active = former

    def activate(self, name: str | None) -> None:
        """Compute with adapter `name` (None: the bare trunk) from now on."""
        if name is not None and name not in self.configs:
            raise ModelError(f"There is no adapter '{name}'; there are: {', '.join(self.configs) or 'none'}.")
        self._switch.active = name

    def remove(self, name: str) -> None:
        """Forget adapter `name`; the bare trunk computes if it was active."""
        for layer in self._layers.values():
            if name in layer.scales:
                del layer.a[name], layer.b[name], layer.scales[name]
        del self.configs[name]
        if self.active == name:
            self._switch.active = None

    def state(self, name: str) -> dict[str, Tensor]:
        """Tensors of adapter `name` under peft's key names, whole."""
        return {key: whole(tensor) for key, tensor in self._own(name).items()}

    def load_state(self, name: str, tensors: dict[str, Tensor]) -> None:
        """Copy `tensors` into adapter `name`; every tensor must be there and have its shape."""
        own = self._own(name)
        if own.keys() != tensors.keys():
            odd = sorted(own.keys() ^ tensors.keys())[:3]
            raise ModelError(f"The adapter's tensors do not fit this model (first differences: {', '.join(odd)}).")
        for key, value in own.items():
            if value.shape != tensors[key].shape:
                raise ModelError(
                    f"Adapter tensor {key} has shape {list(tensors[key].shape)}, this model needs "
                    f"{list(value.shape)}: the adapter was trained on another base model."
                )
            put(value, tensors[key])

    def save(self, name: str, folder: Path, base: str, extra: dict[str, Any] | None = None) -> None:
        """Write adapter `name` into `folder` in peft's layout; `extra` goes into adapter_config.json too."""
        config = self.configs[name]
        described = {
            "peft_type": "LORA",
            "task_type": "CAUSAL_LM",
            "base_model_name_or_path": base,
            "r": config.rank,
            "lora_alpha": config.alpha,
            "lora_dropout": 0.0,
            "bias": "none",
            # peft wants the layers' own names; what was asked for is kept beside them, so that training can go on.
            "target_modules": sorted(
                {path.rpartition(".")[2] for path, layer in self._layers.items() if name in layer.scales}
            ),
            "kilter_targets": list(config.targets),
            "layers_to_transform": self._layer_numbers(config),
            "inference_mode": True,
            **(extra or {}),
        }
        folder.mkdir(parents=True, exist_ok=True)
        tensors = {key: value.contiguous() for key, value in self.state(name).items()}
        if not processes.is_main():
            return
        save_file(tensors, folder / "adapter_model.safetensors")
        (folder / "adapter_config.json").write_text(json.dumps(described, indent=2, sort_keys=True) + "\n")

    def load(self, name: str, folder: Path) -> dict[str, Any]:
        """Create adapter `name` from a peft folder; returns its adapter_config.json.

        Raises:
            ModelError: it does not fit this model, or scales its product in a way of its own; no adapter is left.
        """
        described: dict[str, Any] = json.loads((folder / "adapter_config.json").read_text())
        odd = [key for key in ("use_rslora", "alpha_pattern", "rank_pattern", "use_dora") if described.get(key)]
        if odd:
            raise ModelError(f"The adapter in {folder} uses '{odd[0]}', which Kilter does not compute; use plain LoRA.")
        targets = described.get("kilter_targets") or described["target_modules"]
        names = (targets,) if isinstance(targets, str) else tuple(targets)
        numbers = described.get("layers_to_transform") or [0]
        self.add(name, LoraConfig(described["r"], described["lora_alpha"], names, min(numbers)), torch.Generator())
        try:
            self.load_state(name, load_file(folder / "adapter_model.safetensors"))
        except ModelError:
            self.remove(name)
            raise
        return described

    def merged_weights(self) -> dict[nn.Module, Tensor]:
        """For each adapted layer, its weight with the active adapter added."""
        return {layer: layer.merged(self.active) for layer in self._layers.values()}

    @torch.no_grad()
    def fold(self) -> None:
        """Add the active adapter to the weights for good and drop all adapters: a plain model again."""
        for path, layer in self._layers.items():
            layer.base.weight.copy_(layer.merged(self.active))
            parent, _, leaf = path.rpartition(".")
            setattr(self._model.get_submodule(parent), leaf, layer.base)
        self._layers.clear()
        self.configs.clear()
        self._switch.active = None

    def _own(self, name: str) -> dict[str, Tensor]:
        return {
            f"base_model.model.{path}.lora_{half}.weight": tensor.detach()
            for path, layer in self._layers.items()
            if name in layer.scales
            for half, tensor in (("A", layer.a[name]), ("B", layer.b[name]))
        }

    def _layer_numbers(self, config: LoraConfig) -> list[int] | None:
        total = int(self._model.config.num_hidden_layers)  # type: ignore[union-attr, arg-type]
        return list(range(config.first_layer, total)) if config.first_layer else None

    def _matching(self, config: LoraConfig) -> list[str]:
        head = self._model.get_output_embeddings()  # type: ignore[operator]
        paths = [
            path
            for path, module in self._model.named_modules()
            if isinstance(module, nn.Linear | LoraLinear) and module is not head and not path.endswith(".base")
        ]
        paths = [path for path in paths if (number := layer_number(path)) is not None and number >= config.first_layer]
        matches = {
            target: {path for path in paths if target == ALL_LINEAR or f".{path}".endswith(f".{target}")}
            for target in config.targets
        }
        odd = [target for target, found in matches.items() if not found]
        if odd or not matches:
            raise SettingsError(
                f"From layer {config.first_layer} on, no linear layer of this model is called {', '.join(odd)}; "
                f"use '{ALL_LINEAR}' to adapt every one."
            )
        return [path for path in paths if any(path in found for found in matches.values())]

    def _wrap(self, path: str) -> LoraLinear:
        parent_path, _, leaf = path.rpartition(".")
        parent = self._model.get_submodule(parent_path)
        module = getattr(parent, leaf)
        if isinstance(module, LoraLinear):
            return module
        layer = LoraLinear(module, self._switch)
        layer.base.requires_grad_(False)
        setattr(parent, leaf, layer)
        self._layers[path] = layer
        return layer


def layer_number(path: str) -> int | None:
    """Number of the decoder layer that a module's path lies in, or None."""
    return next((int(part) for part in path.split(".") if part.isdigit()), None)
