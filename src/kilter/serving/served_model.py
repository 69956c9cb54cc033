"""A model that is served: its name, its adapters under the names that requests use, one request at a time."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from threading import Lock
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor

from kilter.errors import DataError, KilterError, ModelError
from kilter.models import Item, LanguageModel, Response, pack, sample


class UnknownModel(KilterError):
    """A request names a model or an adapter that is not served."""


class ServedModel:
    """Samples for requests; whatever computes holds the lock, so that adapters do not change under a request.

    Args:
        lm: the model; its active adapter, if it has one, is part of what `name` stands for.
        name: what requests call it.
        folder: adapters and weights may be loaded from under here while it serves; None: they may not.
    """

    def __init__(self, lm: LanguageModel, name: str, folder: Path | None = None) -> None:
        self.lm, self.name = lm, name
        self.folder = folder.resolve() if folder is not None else None
        self._adapters: dict[str, str | None] = {name: lm.adapters.active}
        self._loaded = 0
        self._renewed = False
        self._lock = Lock()

    @property
    def names(self) -> list[str]:
        """What requests may name: the model first, then the adapters loaded since."""
        return list(self._adapters)

    def sample(
        self, model: str | None, prompts: Sequence[Sequence[int]], *, seed: int, max_new_tokens: int, **options: Any
    ) -> list[list[Response]]:
        """For each prompt its responses; see `kilter.models.sample`.

        Raises:
            UnknownModel: nothing is served under this name.
            DataError, SettingsError: a prompt or a setting does not fit the model.
        """
        size = self.lm.model.get_input_embeddings().num_embeddings
        odd = [token for prompt in prompts for token in prompt if token >= size]
        if odd:
            raise DataError(f"The model has {size} tokens, numbered from 0, so that {odd[0]} is none of them.")
        with self._lock, self.lm.adapters.use(self._internal(model)):
            return sample(self.lm, prompts, seed=seed, max_new_tokens=max_new_tokens, **options)

    @torch.no_grad()
    def alternatives(
        self, model: str | None, prompt: Sequence[int], tokens: Sequence[int], count: int, temperature: float
    ) -> tuple[Tensor, Tensor]:
        """The likeliest tokens at each place of a response: log-probabilities and ids, each [T, count]."""
        packed = pack([Item(prompt, [tokens])], self.lm.device)
        with self._lock, self.lm.adapters.use(self._internal(model)):
            logits = (self.lm.hidden_states(packed)[packed.sources] @ self.lm.head.T).float()
        best = (logits / (temperature or 1)).log_softmax(-1).topk(min(count, logits.shape[1]), -1)
        return best.values.cpu(), best.indices.cpu()

    def load_adapter(self, name: str, path: str, *, in_place: bool = False) -> None:
        """Serve the adapter in `path` as `name`.

        Raises:
            DataError: the name is taken, or the path is not under the folder that was allowed.
            ModelError: there is no adapter, or it does not fit.
        """
        if name == self.name or (name in self._adapters and not in_place):
            raise DataError(f"'{name}' is served already; load_inplace replaces an adapter, never the model itself.")
        place = self._allowed(path)
        if not (place / "adapter_config.json").is_file():
            raise ModelError(f"There is no adapter in {place}.")
        with self._lock:
            self._loaded += 1
            fresh = f"served-{self._loaded}"
            self._read_adapter(fresh, place)
            former = self._adapters.get(name)
            self._adapters[name] = fresh
            if former is not None:
                self.lm.adapters.remove(former)

    def unload_adapter(self, name: str) -> None:
        """Forget an adapter; raises `UnknownModel` where there is none of that name."""
        with self._lock:
            internal = self._internal(name)
            if name == self.name or internal is None:
                raise DataError(f"'{name}' is the model itself and stays.")
            del self._adapters[name]
            self.lm.adapters.remove(internal)

    def load_weights(self, path: str) -> None:
        """Take all weights from the safetensors in `path`.

        Raises:
            DataError: the path is not under the folder that was allowed.
            ModelError: the tensors are not those of this model; its weights are as before.
        """
        place = self._allowed(path)
        tensors: dict[str, Tensor] = {}
        for file in sorted(place.glob("*.safetensors")):
            tensors.update(load_file(file))
        with self._lock, torch.no_grad():
            own = _trunk_parameters(self.lm)
            odd = [name for name, one in own.items() if name not in tensors or tensors[name].shape != one.shape]
            if odd:
                raise ModelError(f"The weights in {place} are not this model's: {odd[0]} is missing or misshapen.")
            for name, one in own.items():
                one.copy_(tensors[name])
            self._adapters[self.name] = None  # whatever adapter it began with is part of the weights that came
            self._renewed = True

    def _read_adapter(self, name: str, place: Path) -> None:
        try:
            described = self.lm.adapters.load(name, place)
        except (OSError, ValueError, KeyError) as error:
            raise ModelError(f"The adapter in {place} cannot be read: {type(error).__name__}.") from error
        expected = described.get("base_sha256")
        if expected is not None and (self._renewed or expected != self.lm.weights_hash):
            self.lm.adapters.remove(name)
            raise ModelError(f"The adapter in {place} was trained on another model than the one served.")

    def _internal(self, name: str | None) -> str | None:
        """The adapter that a name of a request stands for; None is the bare trunk."""
        if name is not None and name not in self._adapters:
            raise UnknownModel(f"The model '{name}' does not exist; served: {', '.join(self._adapters)}.")
        return self._adapters[name or self.name]

    def _allowed(self, path: str) -> Path:
        place = Path(path).resolve()
        if self.folder is None or not place.is_relative_to(self.folder):
            raise DataError(f"{path} is not under {self.folder}, the folder that this server was allowed to load from.")
        return place


def _trunk_parameters(lm: LanguageModel) -> dict[str, Tensor]:
    """The weights without adapters, under the names of transformers' files."""
    found = {}
    for name, one in lm.model.named_parameters():
        *_, owner, leaf = name.split(".")
        if owner == "base":  # of a layer with adapters
            name = name.removesuffix(f"base.{leaf}") + leaf
        if owner not in ("a", "b"):  # an adapter's own matrices
            found[name] = one
    return found
