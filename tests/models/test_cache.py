from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.models import Item, LanguageModel, pack
from kilter.models import cache as caches
from kilter.models.cache import BUNCH_COST, BUNCH_TOKENS, Bunch, Cache, bunches
from kilter.models.trunk import reading

Make = Callable[..., LanguageModel]


def cost(groups: list[list[int]], lengths: list[int]) -> int:
    return sum(BUNCH_COST + len(group) * max(lengths[index] for index in group) for group in groups)


@given(st.lists(st.integers(1, 900), min_size=1, max_size=9))
def test_bunches_hold_every_prompt_once_and_cost_least(lengths: list[int]) -> None:
    groups = bunches(lengths)
    assert sorted(index for group in groups for index in group) == list(range(len(lengths)))
    order = sorted(range(len(lengths)), key=lambda index: -lengths[index])
    best = float("inf")
    for cuts in range(2 ** (len(lengths) - 1)):  # every way to cut the sorted prompts
        ends = [i + 1 for i in range(len(lengths) - 1) if cuts >> i & 1]
        pieces = [order[a:b] for a, b in pairwise([0, *ends, len(lengths)])]
        if all(len(one) == 1 or sum(lengths[index] for index in one) <= BUNCH_TOKENS for one in pieces):
            best = min(best, cost(pieces, lengths))
    assert cost(groups, lengths) == best


@settings(max_examples=30)
@given(
    st.lists(st.lists(st.integers(3, 200), min_size=1, max_size=12), min_size=1, max_size=4),
    st.integers(1, 4),
    st.lists(st.integers(0, 2**16), min_size=1, max_size=9),
)
def test_a_step_equals_a_full_pass_whoever_has_left(
    tiny_lm: Make, prompts: list[list[int]], n: int, choices: list[int]
) -> None:
    """Write tokens step by step, drop rows by chance, and read the same texts whole."""
    lm = tiny_lm()
    with pytest.MonkeyPatch.context() as patch, reading(lm) as trunk:
        patch.setattr(caches, "ROOM", 4)
        patch.setattr(caches, "BUNCH_COST", 2)
        groups = bunches([len(one) for one in prompts])
        parts = [Bunch([prompts[index] for index in group], n) for group in groups]
        for part in parts:
            packed = part.packed(lm.device)
            trunk.hidden(packed.tokens, packed.positions, part.reading(packed, lm.dtype))
        cache = Cache(parts)
        texts = [list(prompts[index]) for group in groups for index in group for _ in range(n)]
        for step, choice in enumerate(choices):
            keep = [row for row in range(len(texts)) if choice >> (row % 16) & 3] or [0]
            if len(keep) < len(texts):
                cache.keep(keep)
                texts = [texts[row] for row in keep]
            for row, text in enumerate(texts):
                text.append(3 + (7 * row + 5 * step) % 200)
            cache.advance()
            positions = cache.positions(lm.device)
            assert positions.tolist() == [len(text) - 1 for text in texts]
            assert cache.reach == max(map(len, texts))
            hidden = trunk.hidden(torch.tensor([text[-1] for text in texts]), positions, cache)
        whole = pack([Item(text, []) for text in texts])
        expected = trunk.hidden(whole.tokens, whole.positions, whole.layout(lm.dtype))
    ends = torch.tensor([one.start + one.length - 1 for one in whole.segments])
    torch.testing.assert_close(hidden, expected[ends], rtol=1e-4, atol=1e-4)
