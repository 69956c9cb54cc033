from __future__ import annotations

from collections.abc import Callable

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.models import LanguageModel, packed_logprobs
from kilter.models.pack import Item, as_bytes, micro_batches, pack, total_tokens

TOKENS = st.lists(st.integers(0, 50), max_size=6)


@st.composite
def items(draw: st.DrawFn) -> Item:
    """An item with 0 to 4 responses; empty prompts, empty responses and masks included."""
    prompt = draw(TOKENS)
    replies = st.lists(st.integers(0, 50), min_size=0 if prompt else 1, max_size=6)
    responses = draw(st.lists(replies, min_size=0 if prompt else 1, max_size=4))
    masks = None
    if draw(st.booleans()):
        masks = [draw(st.lists(st.booleans(), min_size=len(one), max_size=len(one))) for one in responses]
    return Item(prompt, responses, masks)


@given(st.lists(items(), min_size=1, max_size=5))
def test_every_target_is_predicted_from_the_token_before_it_in_its_own_text(batch: list[Item]) -> None:
    packed = pack(batch)
    tokens, positions = packed.tokens.tolist(), packed.positions.tolist()
    targets, sources = packed.targets.tolist(), packed.sources.tolist()
    target_of, expected_groups, cursor, number = packed.response.tolist(), [], 0, 0
    for index, item in enumerate(batch):
        for which, response in enumerate(item.responses):
            text = [*item.prompt, *response]
            learn = item.learn[which] if item.learn is not None else [True] * len(response)
            wanted = [
                (token, place)
                for place, (token, learned) in enumerate(zip(response, learn, strict=True), len(item.prompt))
                if learned and place > 0
            ]
            assert packed.counts[number] == len(wanted)
            for token, place in wanted:
                assert targets[cursor] == token
                assert tokens[sources[cursor]] == text[place - 1]
                assert positions[sources[cursor]] == place - 1
                assert target_of[cursor] == number
                cursor += 1
            end = int(packed.ends[number])
            assert tokens[end] == text[-1]
            assert positions[end] == len(text) - 1
            expected_groups.append(index)
            number += 1
    assert cursor == len(targets)
    assert packed.group.tolist() == expected_groups
    assert packed.size == total_tokens(batch) == sum(item.length for item in batch)


@given(st.lists(items(), min_size=1, max_size=5))
def test_segments_cover_the_row_once_and_a_response_continues_its_own_prompt(batch: list[Item]) -> None:
    packed = pack(batch)
    tokens, positions = packed.tokens.tolist(), packed.positions.tolist()
    covered = [place for one in packed.segments for place in range(one.start, one.start + one.length)]
    assert covered == list(range(packed.size))
    pieces = iter(packed.segments)
    for item in batch:
        if item.prompt:
            segment = next(pieces)
            assert tokens[segment.start : segment.start + segment.length] == list(item.prompt)
            assert segment.prefix_length == 0
        for response in filter(len, item.responses):
            segment = next(pieces)
            assert tokens[segment.start : segment.start + segment.length] == list(response)
            prefix = slice(segment.prefix_start, segment.prefix_start + segment.prefix_length)
            assert tokens[prefix] == list(item.prompt)
            # The very prompt of this item, not an equal one of a neighbor.
            assert not item.prompt or segment.prefix_start + segment.prefix_length <= segment.start
            assert positions[segment.start] == len(item.prompt)
            assert segment.keys == len(item.prompt) + len(response)
    assert next(pieces, None) is None


@given(st.lists(items(), min_size=1, max_size=5))
def test_a_segment_says_what_its_item_says(batch: list[Item]) -> None:
    packed = pack(batch)
    assert packed.texts == [text for item in batch for text in item.texts]
    said = [one for item in batch for one in (item.prompt, *item.responses) if one]
    assert [own for _, own in packed.texts] == [as_bytes(one) for one in said]


def test_two_items_with_equal_prompts_each_use_their_own() -> None:
    packed = pack([Item([5, 6], [[7]]), Item([5, 6], [[8]])])
    assert [one.prefix_start for one in packed.segments] == [0, 0, 0, 3]


def test_end_of_sequence_is_a_target_even_where_it_is_the_padding_id() -> None:
    packed = pack([Item([1, 3], [[7, 2], [2]])])
    assert packed.targets.tolist() == [7, 2, 2]
    assert packed.tokens[packed.ends].tolist() == [2, 2]


@given(st.lists(items(), min_size=1, max_size=4))
def test_split_gives_each_response_its_own_values(batch: list[Item]) -> None:
    packed = pack(batch)
    parts = packed.split(packed.targets)
    assert len(parts) == sum(len(item.responses) for item in batch)
    assert [part.tolist() for part in parts] == [
        packed.targets[packed.response == number].tolist() for number in range(len(parts))
    ]


@given(st.lists(st.integers(1, 40), max_size=30), st.integers(1, 60))
@example([30, 1, 1, 29, 30], 30)
def test_micro_batches_leave_nothing_out_and_keep_to_the_bound(lengths: list[int], bound: int) -> None:
    batches = micro_batches(lengths, bound)
    assert sorted(index for batch in batches for index in batch) == list(range(len(lengths)))
    for batch in batches:
        assert batch
        assert sum(lengths[index] for index in batch) <= bound or len(batch) == 1


def test_micro_batches_put_like_lengths_together_and_keep_ties_in_order() -> None:
    assert micro_batches([4, 9, 4, 9, 4], 18) == [[1, 3], [0, 2, 4]]
    assert micro_batches([5, 5, 5], 10) == [[0, 1], [2]]
    assert micro_batches([], 10) == []


def test_micro_batches_are_as_even_as_their_number_allows() -> None:
    assert micro_batches([1] * 12, 10) == [[0, 1, 2, 3, 4, 5], [6, 7, 8, 9, 10, 11]]
    assert micro_batches([30, 4, 4, 4], 10) == [[0], [1, 2], [3]]


def test_without_items_there_is_a_token_that_teaches_nothing(tiny_lm: Callable[..., LanguageModel]) -> None:
    lm, packed = tiny_lm(), pack([])
    assert (packed.size, packed.targets.numel(), packed.ends.numel()) == (1, 0, 0)
    lm.model.requires_grad_(True)
    (-packed_logprobs(lm, packed)[0].sum()).backward()
    assert all(one.grad is not None and not one.grad.any() for one in lm.model.parameters())


def test_an_item_of_nothing_is_refused() -> None:
    with pytest.raises(DataError, match="Item 1 has neither prompt nor response"):
        pack([Item([1], [[2]]), Item([], [[]])])


def test_an_empty_response_without_a_prompt_has_no_last_token_and_is_refused() -> None:
    with pytest.raises(DataError, match="Item 1"):
        pack([Item([1], [[2]]), Item([], [[3, 4], []])])


def test_a_mask_of_the_wrong_length_is_refused() -> None:
    with pytest.raises(ValueError, match="zip"):
        pack([Item([1], [[2, 3]], [[True]])])
