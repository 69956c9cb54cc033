from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from kilter.errors import ModelError
from kilter.models import attention
from kilter.models.attention import AttentionLayout, Segment, packed_attention


def lay_out(shapes: list[tuple[int, list[int]]]) -> tuple[list[Segment], int]:
    """Segments of prompts of a length with replies of some lengths, one after another."""
    segments, start = [], 0
    for prompt, replies in shapes:
        first = start
        if prompt:
            segments.append(Segment(start, prompt, 0, 0))
            start += prompt
        for reply in replies:
            segments.append(Segment(start, reply, first, prompt))
            start += reply
    return segments, start


def naive(q: Tensor, k: Tensor, v: Tensor, segments: list[Segment], scale: float) -> Tensor:
    """One query and one head at a time, over exactly the keys that it may see."""
    group = q.shape[1] // k.shape[1]
    out = torch.zeros_like(q)
    for one in segments:
        for offset in range(one.length):
            at = one.start + offset
            seen = [*range(one.prefix_start, one.prefix_start + one.prefix_length), *range(one.start, at + 1)]
            for head in range(q.shape[1]):
                weights = torch.softmax(k[seen, head // group] @ q[at, head] * scale, dim=0)
                out[at, head] = weights @ v[seen, head // group]
    return out


def check(segments: list[Segment], size: int, heads: int, key_heads: int) -> float:
    """Largest difference in value and gradients between packed and naive attention."""
    generator = torch.Generator().manual_seed(size)
    shapes = [(size, heads, 4), (size, key_heads, 4), (size, key_heads, 4), (size, heads, 4)]
    *qkv, weight = (torch.randn(shape, generator=generator, dtype=torch.float64) for shape in shapes)
    ours = [one.clone().requires_grad_() for one in qkv]
    reference = [one.clone().requires_grad_() for one in qkv]
    layout = AttentionLayout.build(segments, torch.float64, "cpu")
    out, expected = packed_attention(*ours, layout, 0.7), naive(*reference, segments, 0.7)
    (out * weight).sum().backward()
    (expected * weight).sum().backward()
    pairs = [(out, expected), *((a.grad, b.grad) for a, b in zip(ours, reference, strict=True))]
    return max(float((a - b).detach().abs().max()) for a, b in pairs)


SHAPES = st.lists(st.tuples(st.integers(0, 9), st.lists(st.integers(1, 9), max_size=3)), min_size=1, max_size=4).filter(
    lambda shapes: any(prompt or replies for prompt, replies in shapes)
)


@settings(max_examples=25)
@given(SHAPES, st.sampled_from([(4, 4), (4, 2), (3, 1)]))
def test_equals_one_query_at_a_time_in_value_and_gradient(
    shapes: list[tuple[int, list[int]]], heads: tuple[int, int]
) -> None:
    segments, size = lay_out(shapes)
    assert check(segments, size, *heads) < 1e-12


@pytest.mark.parametrize("long", [1024, 1])
def test_very_different_lengths_make_several_blocks_and_change_nothing(
    monkeypatch: pytest.MonkeyPatch, long: int
) -> None:
    monkeypatch.setattr(attention, "LONG", long)
    segments, size = lay_out([(40, [2, 30]), (3, [1, 2, 16]), (0, [5])])
    layout = AttentionLayout.build(segments, torch.float32, "cpu")
    assert len(layout.blocks) > 2
    assert check(segments, size, 4, 2) < 1e-12


@pytest.mark.parametrize(("length", "long"), [(8, []), (9, [1])])
def test_the_long_path_is_taken_beyond_the_bound(monkeypatch: pytest.MonkeyPatch, length: int, long: list[int]) -> None:
    used: list[int] = []
    fused = attention._long_attention
    monkeypatch.setattr(attention, "LONG", 8)
    monkeypatch.setattr(attention, "_long_attention", lambda *given: used.append(1) or fused(*given))
    segments, size = lay_out([(length, [])])
    check(segments, size, 2, 1)
    assert used == long


def test_like_lengths_share_a_block() -> None:
    segments, _ = lay_out([(20, []), (19, []), (20, [])])
    layout = AttentionLayout.build(segments, torch.float32, "cpu")
    assert len(layout.blocks) == 1
    assert layout.blocks[0].mask.shape == (3, 20, 20)


def test_a_sibling_is_never_seen() -> None:
    segments, size = lay_out([(2, [3, 3])])
    layout = AttentionLayout.build(segments, torch.float32, "cpu")
    q, k, v = (torch.randn(size, 2, 4, generator=torch.Generator().manual_seed(i)) for i in range(3))
    before = packed_attention(q, k, v, layout, 0.5)
    k[2:5], v[2:5] = 100.0, float("nan")  # the first reply
    after = packed_attention(q, k, v, layout, 0.5)
    assert torch.equal(before[:2], after[:2])
    assert torch.equal(before[5:], after[5:])


def test_what_it_does_not_compute_is_refused() -> None:
    q = torch.zeros(1, 2, 4, 4)
    layout = AttentionLayout.build([Segment(0, 4, 0, 0)], torch.float32, "cpu")
    with pytest.raises(ModelError, match="softcap"):
        attention._attend(torch.nn.Module(), q, q, q, None, softcap=30.0, layout=layout)
    with pytest.raises(ModelError, match="looks back 3 tokens"):
        attention._attend(torch.nn.Module(), q, q, q, None, sliding_window=3, layout=layout)
    with pytest.raises(ModelError, match="without a packed layout"):
        attention._attend(torch.nn.Module(), q, q, q, None)
