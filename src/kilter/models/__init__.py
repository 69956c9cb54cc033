"""Load, tokenize, sample, score and read inside any decoder-only transformers model.

Everything runs on packed rows of tokens with shared prompts; adapters share one trunk. The model library is
imported when a name is first used, so that the catalogue answers at once.
"""

from __future__ import annotations

import sys
from importlib import import_module
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilter.models.chat import ChatModel
    from kilter.models.endpoint import Endpoint
    from kilter.models.language_model import LanguageModel, Message, has_bfloat16, load
    from kilter.models.lora import ALL_LINEAR, Adapters, LoraConfig
    from kilter.models.pack import Item, Packed, micro_batches, pack
    from kilter.models.remote import RemoteSampler
    from kilter.models.sample import Response, sample
    from kilter.models.score import Scores, packed_logprobs, score

_FILES = {
    "chat": ("ChatModel",),
    "endpoint": ("Endpoint",),
    "language_model": ("LanguageModel", "Message", "has_bfloat16", "load"),
    "lora": ("ALL_LINEAR", "Adapters", "LoraConfig"),
    "pack": ("Item", "Packed", "micro_batches", "pack"),
    "remote": ("RemoteSampler",),
    "sample": ("Response", "sample"),
    "score": ("Scores", "packed_logprobs", "score"),
}
_HOMES = {name: file for file, names in _FILES.items() for name in names}

__all__ = [
    "ALL_LINEAR",
    "Adapters",
    "ChatModel",
    "Endpoint",
    "Item",
    "LanguageModel",
    "LoraConfig",
    "Message",
    "Packed",
    "RemoteSampler",
    "Response",
    "Scores",
    "has_bfloat16",
    "load",
    "micro_batches",
    "pack",
    "packed_logprobs",
    "sample",
    "score",
]


class _Room(ModuleType):
    """This module's class: it imports a public name when it is first asked for (PEP 562 does the same).

    A class rather than a function `__getattr__` because `pack`, `sample` and `score` are also the names of the
    files they are in: importing such a file would bind it here over the function.
    """

    def __getattr__(self, name: str) -> Any:
        if name not in _HOMES:
            raise AttributeError(f"module {self.__name__!r} has no attribute {name!r}")
        value = getattr(import_module(f"{self.__name__}.{_HOMES[name]}"), name)
        super().__setattr__(name, value)
        return value

    def __setattr__(self, name: str, value: Any) -> None:
        if not (name in _HOMES and isinstance(value, ModuleType)):
            super().__setattr__(name, value)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *__all__})


sys.modules[__name__].__class__ = _Room
