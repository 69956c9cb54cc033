from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kilter.models import Item, LanguageModel, LoraConfig, pack, packed_logprobs
from kilter.models.estimate import Shape, activation_memory, training_memory
from kilter.models.native import calls

Make = Callable[..., LanguageModel]
EIGHT = Shape(4096, 32, 32, 8, 128, 14336, 128256, False)  # Llama 3.1 8B


def kept_bytes(lm: LanguageModel, items: list[Item]) -> int:
    """Bytes that autograd keeps for a backward pass, each storage once, weights not."""
    own = {one.untyped_storage().data_ptr() for one in lm.model.parameters()}
    found: dict[int, torch.UntypedStorage] = {}

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            found[storage.data_ptr()] = storage
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        packed_logprobs(lm, pack(items))
    return sum(one.nbytes() for one in found.values())


@pytest.mark.parametrize("full", [True, False], ids=["full", "adapters"])
@pytest.mark.parametrize("recompute", [False, True], ids=["kept", "recomputed"])
@pytest.mark.parametrize("family", ["llama", "qwen2", "mistral"])
@pytest.mark.parametrize("kernels", ["native", "plain"])
def test_what_layers_keep_was_counted(
    tiny_lm: Make, family: str, full: bool, recompute: bool, kernels: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kernels == "plain":
        monkeypatch.setattr(calls, "library", lambda: None)
    few, many = tiny_lm(family, layers=2), tiny_lm(family, layers=6)
    items = [Item([5] * 32, [[6] * 32]) for _ in range(8)]
    found = []
    for lm in (few, many):
        if full:
            lm.model.requires_grad_(True)
        else:
            lm.adapters.add("a", LoraConfig(4, 8.0, ("all-linear",)), torch.Generator())
            lm.adapters.activate("a")
        lm.recompute = recompute
        found.append(kept_bytes(lm, items))
    shapes = [Shape.of(lm.model.config) for lm in (few, many)]
    # Mean keys of a prompt of 32 and a response of 32 that also sees the prompt: 48, in whole blocks.
    expected = [activation_memory(one, 512, 48, 4, recompute) for one in shapes]
    share = (found[1] - found[0]) / (expected[1] - expected[0])
    assert (0.75 if kernels == "native" else 0.88) < share < 1.12  # the count is of what PyTorch keeps


def test_weights_are_those_of_the_real_models(tiny_lm: Make) -> None:
    assert Shape(576, 30, 9, 3, 64, 1536, 49152, True).weights == pytest.approx(134.5e6, rel=2e-3)
    assert EIGHT.weights == pytest.approx(8.03e9, rel=2e-3)
    lm = tiny_lm("qwen3")
    norms = sum(one.numel() for one in lm.model.parameters() if one.ndim == 1)
    shape = Shape.of(lm.model.config)
    assert shape.weights == sum(one.numel() for one in lm.model.parameters()) - norms
    lm.adapters.add("a", LoraConfig(4, 8.0, ("all-linear",)), torch.Generator())
    assert shape.adapter(4) == sum(one.numel() for one in lm.adapters.parameters("a"))


def test_what_is_divided_is_divided() -> None:
    common: dict[str, Any] = {"tokens": 8192, "longest": 4096, "rank": None}
    one, eight = (training_memory(EIGHT, **common, processes=count) for count in (1, 8))
    assert one.weights == 2 * EIGHT.weights
    assert one.masters == 4 * EIGHT.weights
    assert one.moments == 8 * EIGHT.weights
    assert eight.moments == EIGHT.weights
    assert eight.activations == one.activations
    assert eight.total - eight.activations < 0.2 * (one.total - one.activations)
    two = training_memory(EIGHT, **common, method="ppo")
    assert (two.masters, two.moments) == (2 * one.masters, 2 * one.moments)
    adapters = training_memory(EIGHT, tokens=8192, longest=4096, rank=16)
    assert adapters.moments + adapters.gradients == 12 * EIGHT.adapter(16)
    again = training_memory(EIGHT, **common, recompute=True)
    assert again.activations < 0.1 * one.activations
