from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch

from kilter.errors import ModelError
from kilter.models import Item, LanguageModel, LoraConfig, pack
from kilter.models import trunk as trunks
from kilter.models.trunk import reading

Make = Callable[..., LanguageModel]
PACKED = pack([Item([5, 9, 7, 4], [[7, 3], [12, 20, 4]]), Item([22], [[6, 8]])])


def adapt(lm: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(1)
    lm.adapters.add("policy", LoraConfig(3, 6.0, ("all-linear",)), generator)
    for parameter in lm.adapters.parameters("policy"):
        parameter.data.copy_(0.2 * torch.randn(parameter.shape, generator=generator))
    lm.adapters.activate("policy")


@pytest.mark.parametrize("adapter", [False, True], ids=["bare", "adapter"])
@pytest.mark.parametrize("family", ["llama", "mistral", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt_neox"])
def test_it_computes_what_the_model_does(tiny_lm: Make, family: str, adapter: bool) -> None:
    lm = tiny_lm(family)
    if adapter:
        adapt(lm)
    with torch.no_grad():
        expected = lm.hidden_states(PACKED)
        logits = lm.model.get_output_embeddings()(expected)
    with reading(lm) as trunk:
        hidden = trunk.hidden(PACKED.tokens, PACKED.positions, PACKED.layout(lm.dtype))
        torch.testing.assert_close(hidden, expected, rtol=1e-5, atol=2e-5)
        torch.testing.assert_close(trunk.logits(expected), logits, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("family", ["llama", "qwen2", "gpt_neox"])
def test_in_bfloat16_it_differs_by_rounding_only(tiny_lm: Make, family: str) -> None:
    exact, lm = tiny_lm(family), tiny_lm(family, dtype="bfloat16")
    with torch.no_grad():
        expected = exact.hidden_states(PACKED)
        theirs = (lm.hidden_states(PACKED).float() - expected).abs().mean()
    with reading(lm) as trunk:
        ours = trunk.hidden(PACKED.tokens, PACKED.positions, PACKED.layout(lm.dtype)).float() - expected
    assert float(ours.abs().mean()) < 1.2 * float(theirs)


def test_a_family_that_it_does_not_know_goes_through_its_own_code(tiny_lm: Make, monkeypatch: Any) -> None:
    lm = tiny_lm("llama")
    with reading(lm) as trunk:
        known = trunk.hidden(PACKED.tokens, PACKED.positions, PACKED.layout(lm.dtype))
    monkeypatch.setattr(trunks, "LIKE_LLAMA", ())
    with reading(lm) as trunk:
        assert "forward" in vars(lm.model.lm_head)
        other = trunk.hidden(PACKED.tokens, PACKED.positions, PACKED.layout(lm.dtype))
    assert "forward" not in vars(lm.model.lm_head)
    torch.testing.assert_close(known, other, rtol=1e-5, atol=1e-5)


def test_a_window_shorter_than_the_text_is_refused(tiny_lm: Make) -> None:
    lm = tiny_lm("mistral")
    lm.model.config.sliding_window = 4
    with reading(lm) as trunk, pytest.raises(ModelError, match="looks back 4 tokens only and the text has 7"):
        trunk.hidden(PACKED.tokens, PACKED.positions, PACKED.layout(lm.dtype))
