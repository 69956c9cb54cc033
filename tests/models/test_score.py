"""The fast path, packed rows with shared prompts and a masked head, against a plain padded transformers forward."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn.functional import logsigmoid

from kilter.models import Item, LanguageModel, attention, pack, packed_logprobs, score
from kilter.models.scalar import ScalarModel

FAMILIES = ["llama", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt_neox"]
PAD = 2


def tokens(seed: int, length: int) -> list[int]:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(3, 260, (length,), generator=generator).tolist()


def mixed_items() -> list[Item]:
    """Shared prompts of very different lengths, a multi-turn mask, an empty prompt, a lone text, EOS = padding."""
    masked = tokens(7, 20)
    return [
        Item(tokens(1, 5), [[*tokens(2, 3), PAD], [*tokens(3, 40), PAD], [PAD]]),
        Item(tokens(4, 60), [[*tokens(5, 8), PAD], tokens(6, 9)]),
        Item(tokens(8, 3), [masked], [[place % 3 == 0 for place in range(20)]]),
        Item([], [tokens(9, 30)]),
        Item(tokens(10, 2), [tokens(11, 1)] * 4),
    ]


LAYOUTS: dict[str, list[Item]] = {
    "mixed": mixed_items(),
    "one segment": [Item([], [tokens(20, 25)])],
    "one prompt, one reply": [Item(tokens(21, 10), [[*tokens(22, 10), PAD]])],
    "shared prompt of eight": [Item(tokens(23, 12), [[*tokens(24 + i, 2 + 3 * i), PAD] for i in range(8)])],
}


def padded(items: Sequence[Item]) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Each response with its prompt as one row, padded on the right as everyone does.

    Returns ids [R, T], attention mask [R, T], labels [R, T] (-100 where no loss) and lengths [R].
    """
    rows, labels = [], []
    for item in items:
        for index, response in enumerate(item.responses):
            learn = item.learn[index] if item.learn is not None else [True] * len(response)
            rows.append([*item.prompt, *response])
            labels.append([-100] * len(item.prompt) + [t if w else -100 for t, w in zip(response, learn, strict=True)])
    width = max(map(len, rows))
    return (
        torch.tensor([row + [PAD] * (width - len(row)) for row in rows]),
        torch.tensor([[1] * len(row) + [0] * (width - len(row)) for row in rows]),
        torch.tensor([label + [-100] * (width - len(label)) for label in labels]),
        torch.tensor([len(row) for row in rows]),
    )


def plain_sft_loss(model: Any, items: Sequence[Item]) -> Tensor:
    ids, mask, labels, _ = padded(items)
    loss: Tensor = model(input_ids=ids, attention_mask=mask, labels=labels, use_cache=False).loss
    return loss


def plain_reward_loss(model: Any, items: Sequence[Item], head: Tensor) -> Tensor:
    """All pairs (earlier better), each a pair of rows of its own."""
    ids, mask, _, lengths = padded(items)
    hidden = model.base_model(input_ids=ids, attention_mask=mask, use_cache=False).last_hidden_state
    scores = hidden[torch.arange(len(ids)), lengths - 1].float() @ head
    losses, first = [], 0
    for item in items:
        number = range(first, first + len(item.responses))
        losses += [-logsigmoid(scores[i] - scores[j]) for i in number for j in number if i < j]
        first += len(item.responses)
    return torch.stack(losses).mean()


def our_sft_loss(lm: LanguageModel, items: Sequence[Item]) -> Tensor:
    return -packed_logprobs(lm, pack(items))[0].mean()


def our_reward_loss(lm: LanguageModel, items: Sequence[Item], head: Tensor) -> Tensor:
    packed = pack(items)
    model = ScalarModel(lm, None, torch.nn.Parameter(head), lm.layers)
    scores = model.values(packed, packed.ends)
    group = packed.group.tolist()
    pairs = [(i, j) for i in range(len(group)) for j in range(len(group)) if i < j and group[i] == group[j]]
    return torch.stack([-logsigmoid(scores[i] - scores[j]) for i, j in pairs]).mean()


def gradients(model: Any, loss: Tensor) -> dict[str, Tensor]:
    model.zero_grad()
    loss.backward()  # type: ignore[no-untyped-call]
    return {name: one.grad.clone().float() for name, one in model.named_parameters() if one.grad is not None}


def differences(
    ours: Any, our_loss: Tensor, plain: Any, plain_loss: Tensor
) -> tuple[float, float, dict[str, Tensor], dict[str, Tensor]]:
    """Relative difference of the losses, and the largest over parameters of the gradients'."""
    mine, theirs = gradients(ours, our_loss), gradients(plain, plain_loss)
    assert mine.keys() == theirs.keys()
    # A gradient that vanishes by symmetry (a key bias, a bias both of a pair share) is noise: weigh it by the rest.
    floor = 1e-2 * max(float(one.norm()) for one in theirs.values())
    worst = max(float((mine[n] - theirs[n]).norm()) / max(float(theirs[n].norm()), floor) for n in theirs)
    return abs(our_loss.item() / plain_loss.item() - 1), worst, mine, theirs


@pytest.mark.parametrize("backend", ["eager", "sdpa"])
@pytest.mark.parametrize("family", FAMILIES)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_sft_loss_and_all_gradients_equal_a_plain_padded_forward(
    tiny_lm: Callable[..., LanguageModel], plain_model: Callable[..., Any], layout: str, family: str, backend: str
) -> None:
    lm, plain = tiny_lm(family), plain_model(family, attention=backend)
    lm.model.requires_grad_(True)
    items = LAYOUTS[layout]
    loss, gradient, _, theirs = differences(lm.model, our_sft_loss(lm, items), plain, plain_sft_loss(plain, items))
    assert len(theirs) >= 20
    assert loss < 1e-6
    assert gradient < 1e-5


@pytest.mark.parametrize("family", FAMILIES)
def test_reward_loss_and_all_gradients_equal_a_plain_padded_forward(
    tiny_lm: Callable[..., LanguageModel], plain_model: Callable[..., Any], family: str
) -> None:
    lm, plain = tiny_lm(family), plain_model(family)
    lm.model.requires_grad_(True)
    items = [one for one in mixed_items() if len(one.responses) > 1]
    head = 0.3 * torch.randn(lm.hidden_size, generator=torch.Generator().manual_seed(0))
    loss, gradient, _, _ = differences(
        lm.model, our_reward_loss(lm, items, head), plain, plain_reward_loss(plain, items, head)
    )
    assert loss < 1e-6
    assert gradient < 1e-5


def test_the_long_path_equals_too(
    tiny_lm: Callable[..., LanguageModel], plain_model: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(attention, "LONG", 16)
    lm, plain = tiny_lm(), plain_model()
    lm.model.requires_grad_(True)
    loss, gradient, _, _ = differences(
        lm.model, our_sft_loss(lm, mixed_items()), plain, plain_sft_loss(plain, mixed_items())
    )
    assert loss < 1e-6
    assert gradient < 1e-5


def test_bfloat16_strays_no_further_from_float32_than_plain_bfloat16_does(
    tiny_lm: Callable[..., LanguageModel], plain_model: Callable[..., Any]
) -> None:
    items = mixed_items()
    exact = plain_model()
    truth = gradients(exact, plain_sft_loss(exact, items))
    lm, plain = tiny_lm(dtype="bfloat16"), plain_model(dtype=torch.bfloat16)
    lm.model.requires_grad_(True)
    loss, _, ours, theirs = differences(lm.model, our_sft_loss(lm, items), plain, plain_sft_loss(plain, items))
    assert loss < 5e-3

    def error(found: dict[str, Tensor]) -> float:
        total = sum(float((found[name] - truth[name]).square().sum()) for name in truth)
        return (total / sum(float(one.square().sum()) for one in truth.values())) ** 0.5

    assert error(ours) < 0.05
    assert error(ours) < 1.25 * error(theirs)


@pytest.mark.parametrize("family", FAMILIES)
def test_reading_fewer_layers_equals_a_model_cut_short(
    tiny_lm: Callable[..., LanguageModel], plain_model: Callable[..., Any], family: str
) -> None:
    lm, plain = tiny_lm(family), plain_model(family)
    ids = tokens(1, 12)
    plain.base_model.layers = plain.base_model.layers[:1]
    expected = plain.base_model(input_ids=torch.tensor([ids]), use_cache=False).last_hidden_state[0]
    torch.testing.assert_close(lm.hidden_states(pack([Item(ids, [])]), layers=1), expected, rtol=1e-5, atol=1e-5)
    assert lm.layers == 2
    whole = lm.hidden_states(pack([Item(ids, [])]))
    assert not torch.allclose(whole, expected, atol=1e-2)


def test_score_equals_log_softmax_of_each_response_alone_in_any_micro_batches(
    tiny_lm: Callable[..., LanguageModel], plain_model: Callable[..., Any]
) -> None:
    lm, plain, items = tiny_lm(), plain_model(), mixed_items()
    for bound in (1, 50, 10_000):
        found = score(lm, items, temperature=0.7, max_tokens=bound, entropy=True)
        for item, scores in zip(items, found, strict=True):
            assert len(scores.logprobs) == len(item.responses)
            for index, response in enumerate(item.responses):
                ids = [*item.prompt, *response]
                table = torch.log_softmax(plain(torch.tensor([ids])).logits[0].detach() / 0.7, dim=1)
                learn = item.learn[index] if item.learn is not None else [True] * len(response)
                places = [len(item.prompt) + i for i, w in enumerate(learn) if w and len(item.prompt) + i > 0]
                expected = torch.stack([table[place - 1, ids[place]] for place in places])
                entropy = torch.stack([-(table[place - 1].exp() @ table[place - 1]) for place in places])
                torch.testing.assert_close(scores.logprobs[index], expected, rtol=1e-5, atol=1e-5)
                torch.testing.assert_close(scores.entropies[index], entropy, rtol=1e-5, atol=1e-5)


def test_end_of_sequence_is_scored_and_learned_though_it_is_the_padding_id(
    tiny_lm: Callable[..., LanguageModel],
) -> None:
    lm = tiny_lm()
    assert lm.tokenizer.pad_token_id == lm.eos == PAD
    lm.model.requires_grad_(True)
    with_eos, without = Item([5, 6], [[7, 8, PAD]]), Item([5, 6], [[7, 8]])
    assert [len(one.logprobs[0]) for one in score(lm, [with_eos, without])] == [3, 2]
    norms = []
    for item in (with_eos, without):
        loss = -packed_logprobs(lm, pack([item]))[0].sum()
        norms.append(float(gradients(lm.model, loss)["model.embed_tokens.weight"][PAD].norm()))
    assert norms[0] > 2 * norms[1]


def test_responses_of_one_prompt_do_not_see_each_other(tiny_lm: Callable[..., LanguageModel]) -> None:
    lm = tiny_lm()
    alone = score(lm, [Item([5, 6, 7], [[8, 9, PAD]])])[0].logprobs[0]
    beside = score(lm, [Item([5, 6, 7], [[8, 9, PAD], [200, 201, 202], [100]])])[0].logprobs[0]
    torch.testing.assert_close(alone, beside, rtol=1e-5, atol=1e-6)


def test_scores_do_not_depend_on_hidden_gradient_state(tiny_lm: Callable[..., LanguageModel]) -> None:
    lm = tiny_lm()
    frozen = score(lm, mixed_items())
    lm.model.requires_grad_(True)
    trainable = score(lm, mixed_items())
    assert all(
        torch.equal(a, b)
        for x, y in zip(frozen, trainable, strict=True)
        for a, b in zip(x.logprobs, y.logprobs, strict=True)
    )
    assert not any(one.requires_grad for scores in trainable for one in scores.logprobs)
