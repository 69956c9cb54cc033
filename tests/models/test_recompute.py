from __future__ import annotations

from collections.abc import Callable

import pytest
import torch

from kilter.models import Item, LanguageModel, pack, packed_logprobs

ITEMS = [Item([5, 6, 7], [[8, 9], [10, 11, 12]]), Item([13], [[14, 15, 16, 17]])]


@pytest.mark.parametrize("family", ["llama", "gemma", "gpt_neox"])
def test_computed_twice_is_computed_the_same(tiny_lm: Callable[..., LanguageModel], family: str) -> None:
    found = []
    for recompute in (False, True):
        lm = tiny_lm(family)
        lm.model.requires_grad_(True)
        lm.recompute = recompute
        logprobs, _ = packed_logprobs(lm, pack(ITEMS))
        logprobs.sum().backward()  # type: ignore[no-untyped-call]
        found.append([logprobs, *(one.grad for one in lm.model.parameters())])
        assert all("forward" not in vars(layer) for layer in lm.model.base_model.layers)
    for one, other in zip(*found, strict=True):
        assert torch.equal(one, other)
