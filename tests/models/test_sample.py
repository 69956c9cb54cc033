from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import pytest
import torch
from scipy.stats import chisquare
from torch import Tensor

from kilter.errors import DataError, SettingsError
from kilter.models import Item, LanguageModel, LoraConfig, Response, pack, sample, score
from kilter.models.draw import BLOCK, Choice
from kilter.models.sample import batches

Make = Callable[..., LanguageModel]
SMALL = 24  # a vocabulary in which end-of-sequence is drawn often
PROMPTS = [[5, 9], [7, 3, 12, 20, 4, 11, 8, 15], [22], [6, 6, 6, 19, 13]]
ADAPTER = LoraConfig(3, 6.0, ("q_proj", "v_proj", "down_proj"))


def adapt(lm: LanguageModel) -> None:
    generator = torch.Generator().manual_seed(1)
    lm.adapters.add("policy", ADAPTER, generator)
    for parameter in lm.adapters.parameters("policy"):
        parameter.data.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    lm.adapters.activate("policy")


def tokens_of(results: Sequence[Sequence[Response]]) -> list[list[list[int]]]:
    return [[one.tokens for one in group] for group in results]


@pytest.mark.parametrize("family", ["llama", "qwen2", "qwen3", "gemma", "gemma3_text", "gpt_neox"])
def test_greedy_equals_generate_token_for_token(tiny_lm: Make, plain_model: Callable[..., Any], family: str) -> None:
    lm, plain = tiny_lm(family, SMALL), plain_model(family, SMALL)
    starts = [[token] for token in range(3, SMALL, 2)] + PROMPTS
    ours = sample(lm, starts, n=2, max_new_tokens=16, temperature=0, max_rows=16)
    finished = set()
    for prompt, group in zip(starts, ours, strict=True):
        expected = plain.generate(torch.tensor([prompt]), max_new_tokens=16, do_sample=False)[0, len(prompt) :].tolist()
        assert [one.tokens for one in group] == [expected, expected]
        assert group[0].finished == (expected[-1] == lm.eos)
        finished.add(group[0].finished)
    assert finished == ({False} if family == "gemma3_text" else {True, False})  # this random one never ends


@pytest.mark.parametrize("penalty", [1.3, 0.7])
def test_greedy_with_a_repetition_penalty_equals_generate(
    tiny_lm: Make, plain_model: Callable[..., Any], penalty: float
) -> None:
    lm, plain = tiny_lm("llama", SMALL), plain_model("llama", SMALL)
    ours = sample(lm, PROMPTS, n=2, max_new_tokens=16, temperature=0, repetition_penalty=penalty)
    without = sample(lm, PROMPTS, max_new_tokens=16, temperature=0)
    for prompt, group in zip(PROMPTS, ours, strict=True):
        expected = plain.generate(
            torch.tensor([prompt]), max_new_tokens=16, do_sample=False, repetition_penalty=penalty
        )[0, len(prompt) :].tolist()
        assert [one.tokens for one in group] == [expected, expected]
    assert tokens_of(without) != [[one.tokens for one in group[:1]] for group in ours]


def test_logprobs_are_those_without_the_penalty(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    results = sample(lm, PROMPTS, n=3, max_new_tokens=8, repetition_penalty=1.5, temperature=0.8)
    items = [Item(prompt, [one.tokens for one in group]) for prompt, group in zip(PROMPTS, results, strict=True)]
    for group, scores in zip(results, score(lm, items, temperature=0.8), strict=True):
        for one, logprobs in zip(group, scores.logprobs, strict=True):
            torch.testing.assert_close(torch.tensor(one.logprobs), logprobs, rtol=1e-5, atol=1e-5)


def test_min_p_keeps_what_is_near_the_most_probable() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]]))
    count = 1000
    tokens, logprobs = Choice(min_p=0.25).draw(logits.expand(count, -1).clone(), (torch.arange(count) + 0.5) / count)
    drawn = torch.bincount(tokens, minlength=4) / count
    torch.testing.assert_close(drawn, torch.tensor([0.5, 0.3, 0.15, 0]) / 0.95, rtol=0, atol=2e-3)
    torch.testing.assert_close(logprobs, logits[0, tokens])


def test_a_stop_string_ends_a_response_and_is_cut_from_its_text(tiny_lm: Make) -> None:
    lm = tiny_lm()
    plain = sample(lm, [[60, 70]], n=40, max_new_tokens=12, seed=3)[0]
    stop = next(letter for one in plain for letter in one.text[2:] if letter.isascii())
    stopped = sample(lm, [[60, 70]], n=40, max_new_tokens=12, seed=3, stop=[stop, "never there"])[0]
    hit = 0
    for before, after in zip(plain, stopped, strict=True):
        place = before.text.find(stop)
        if place < 0:
            assert after == before
            continue
        hit += 1
        assert after.text == before.text[:place]
        assert after.finished
        assert after.tokens == before.tokens[: len(after.tokens)]
        assert stop in lm.decode(after.tokens)
        assert stop not in lm.decode(after.tokens[:-1])
    assert hit


@pytest.mark.parametrize("temperature", [1.0, 0.6])
@pytest.mark.parametrize("adapter", [False, True], ids=["bare", "adapter"])
def test_sampled_logprobs_are_the_scorers(tiny_lm: Make, adapter: bool, temperature: float) -> None:
    lm = tiny_lm("llama", SMALL)
    if adapter:
        adapt(lm)
    results = sample(lm, PROMPTS, n=5, max_new_tokens=20, temperature=temperature, seed=3)
    items = [Item(prompt, [one.tokens for one in group]) for prompt, group in zip(PROMPTS, results, strict=True)]
    assert {one.finished for group in results for one in group} == {True, False}
    for group, scores in zip(results, score(lm, items, temperature=temperature), strict=True):
        for one, logprobs in zip(group, scores.logprobs, strict=True):
            torch.testing.assert_close(torch.tensor(one.logprobs), logprobs, rtol=1e-5, atol=1e-5)


def test_logprobs_are_those_before_truncation(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    results = sample(lm, PROMPTS, n=3, max_new_tokens=8, top_k=4, top_p=0.8)
    items = [Item(prompt, [one.tokens for one in group]) for prompt, group in zip(PROMPTS, results, strict=True)]
    for group, scores in zip(results, score(lm, items), strict=True):
        for one, logprobs in zip(group, scores.logprobs, strict=True):
            torch.testing.assert_close(torch.tensor(one.logprobs), logprobs, rtol=1e-5, atol=1e-5)


def truncated(logits: Tensor, temperature: float, top_k: int, top_p: float) -> list[float]:
    """The distribution to draw from, by sorting and loops."""
    p = torch.softmax(logits.double() / temperature, dim=0).tolist()
    order = sorted(range(len(p)), key=lambda token: -p[token])
    if top_k:
        order = order[:top_k]
    mass, total, kept = 0.0, sum(p[token] for token in order), set()
    for token in order:
        if mass < top_p * total:
            kept.add(token)
        mass += p[token]
    total = sum(p[token] for token in kept)
    return [p[token] / total if token in kept else 0.0 for token in range(len(p))]


def fits(drawn: Sequence[int], p: Sequence[float]) -> float:
    """p-value that `drawn` came from `p`; cells too small to count are pooled."""
    counts = [drawn.count(token) for token in range(len(p))]
    assert all(count == 0 for count, share in zip(counts, p, strict=True) if share == 0)
    big = [token for token in range(len(p)) if p[token] * len(drawn) >= 5]
    rest = max(len(drawn) * (1 - sum(p[token] for token in big)), 0.0)
    observed, expected = [counts[token] for token in big], [p[token] * len(drawn) for token in big]
    if rest > 1e-6:
        observed, expected = [*observed, len(drawn) - sum(observed)], [*expected, rest]
    return float(chisquare(observed, [one * len(drawn) / sum(expected) for one in expected]).pvalue)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"), [(1.0, 0, 1.0), (0.7, 0, 1.0), (1.5, 9, 1.0), (1.0, 40, 0.6)]
)
@pytest.mark.parametrize("vocabulary", [3, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 7])
def test_evenly_spaced_numbers_draw_every_token_as_often_as_it_is_probable(
    vocabulary: int, temperature: float, top_k: int, top_p: float
) -> None:
    count = 5_000
    logits = 2 * torch.randn(vocabulary, generator=torch.Generator().manual_seed(vocabulary))
    u = (torch.arange(count) + 0.5) / count
    tokens, logprobs = Choice(temperature, top_k, top_p).draw(logits.expand(count, -1).clone(), u)
    drawn = torch.bincount(tokens, minlength=vocabulary)
    p = torch.tensor(truncated(logits, temperature, top_k, top_p))
    assert float((drawn - p * count).abs().max()) < 2
    assert not drawn[p == 0].any()
    table = torch.log_softmax(logits / temperature, 0)
    torch.testing.assert_close(logprobs, table[tokens], rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("top_k", [1, 3])
@pytest.mark.parametrize("u", [0.0, 1 - 2**-24])
def test_the_ends_of_the_unit_interval_draw_a_token_that_has_weight(top_k: int, u: float) -> None:
    logits = 3 * torch.randn(3000, BLOCK + 50, generator=torch.Generator().manual_seed(0))
    tokens, _ = Choice(1.0, top_k, 1.0).draw(logits.clone(), torch.full((3000,), u))
    assert (logits.topk(top_k, 1).indices == tokens[:, None]).any(1).all()


@pytest.mark.parametrize(
    "prompts",
    [
        [[5, 9, 4, 8], [5, 9, 7], [5, 9, 4, 8, 3, 3]],
        [[5, 9], [5, 9, 7], [5]],
        [[5, 9, 7], [5, 9, 7]],
        [[5, 9, 7, 4, 6]],
        [[5, 9], [6, 9]],
    ],
    ids=["a common beginning", "each the next one's beginning", "equal", "one", "nothing in common"],
)
def test_prompts_that_share_a_beginning_are_continued_as_if_alone(
    tiny_lm: Make, plain_model: Callable[..., Any], prompts: list[list[int]]
) -> None:
    lm, plain = tiny_lm(), plain_model()
    for prompt, group in zip(prompts, sample(lm, prompts, max_new_tokens=8, temperature=0), strict=True):
        expected = plain.generate(torch.tensor([prompt]), max_new_tokens=8, do_sample=False)[0, len(prompt) :]
        assert group[0].tokens == expected.tolist()
    sampled = sample(lm, prompts, n=3, max_new_tokens=8, seed=1)
    items = [Item(prompt, [one.tokens for one in group]) for prompt, group in zip(prompts, sampled, strict=True)]
    for group, scores in zip(sampled, score(lm, items), strict=True):
        for one, logprobs in zip(group, scores.logprobs, strict=True):
            torch.testing.assert_close(torch.tensor(one.logprobs), logprobs, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(1.0, 0, 1.0), (0.5, 0, 1.0), (1.8, 0, 1.0), (1.0, 5, 1.0), (1.0, 0, 0.7), (0.8, 7, 0.8)],
)
def test_first_and_second_tokens_follow_the_distribution(
    tiny_lm: Make, plain_model: Callable[..., Any], temperature: float, top_k: int, top_p: float
) -> None:
    lm, plain, prompt = tiny_lm("llama", SMALL), plain_model("llama", SMALL), PROMPTS[1]
    drawn = [
        one.tokens
        for one in sample(
            lm, [prompt], n=4000, max_new_tokens=2, temperature=temperature, top_k=top_k, top_p=top_p, seed=11,
            max_rows=4000,
        )[0]
    ]  # fmt: skip
    p = truncated(plain(torch.tensor([prompt])).logits[0, -1], temperature, top_k, top_p)
    first = [one[0] for one in drawn]
    assert fits(first, p) > 1e-3
    common = max((token for token in range(SMALL) if token != lm.eos), key=first.count)
    p = truncated(plain(torch.tensor([[*prompt, common]])).logits[0, -1], temperature, top_k, top_p)
    assert fits([one[1] for one in drawn if one[0] == common], p) > 1e-3


def test_the_same_seed_gives_the_same_whatever_shares_the_batch(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    adapt(lm)

    def draw(prompts: Sequence[Sequence[int]] = PROMPTS, **settings: Any) -> list[list[list[int]]]:
        return tokens_of(sample(lm, prompts, n=6, max_new_tokens=16, **{"seed": 5, **settings}))

    expected = draw()
    assert len({len(tokens) for group in expected for tokens in group}) > 3  # rows leave at different times
    assert draw() == expected
    assert draw(max_rows=6) == draw(max_rows=14) == draw(max_rows=4) == draw(max_rows=1) == expected
    assert draw(PROMPTS[:2]) == expected[:2]
    # The last prompt's neighbors change, and with them when they finish and how long they are.
    assert draw([[3], [4], [5, 5, 5, 5, 5, 5, 5, 5, 5, 5, 5], PROMPTS[3]])[3] == expected[3]
    assert draw(seed=6) != expected


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_a_part_of_whole_batches_samples_what_the_whole_does_to_the_last_bit(tiny_lm: Make, dtype: str) -> None:
    lm = tiny_lm("llama", SMALL, dtype=dtype)
    adapt(lm)
    prompts = [[3 + number % 20, 4, 5 + number % 7][: 1 + number % 3] for number in range(23)]
    for n, rows in ((2, 6), (1, 5), (7, 4)):
        whole = sample(lm, prompts, n=n, max_new_tokens=8, seed=9, max_rows=rows)
        for part in batches(len(prompts), n, rows):
            own = prompts[part.start : part.stop]
            assert sample(lm, own, n=n, max_new_tokens=8, seed=9, max_rows=rows, numbers=part) == [
                whole[number] for number in part
            ]
    assert tokens_of(sample(lm, prompts[1:], n=2, max_new_tokens=8, seed=9)) != tokens_of(
        sample(lm, prompts[1:], n=2, max_new_tokens=8, seed=9, numbers=range(1, 23))
    )


def test_samples_of_one_prompt_differ(tiny_lm: Make) -> None:
    group = sample(tiny_lm(), [[5, 9]], n=8, max_new_tokens=6)[0]
    assert len({tuple(one.tokens) for one in group}) == 8


def test_end_of_sequence_is_kept_and_a_cut_response_is_not_finished(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    results = [one for group in sample(lm, PROMPTS, n=8, max_new_tokens=12) for one in group]
    for one in results:
        assert one.finished == (one.tokens[-1] == lm.eos)
        assert lm.eos not in one.tokens[:-1]
        assert len(one.tokens) == len(one.logprobs)
        assert one.finished or len(one.tokens) == 12
        assert "<|im_end|>" not in one.text
        assert one.text == lm.decode(one.tokens)
    assert any(one.finished and len(one.tokens) == 1 for one in results)


def test_a_response_that_ends_with_the_last_token_allowed_is_finished(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    group = sample(lm, [PROMPTS[0]], n=200, max_new_tokens=1, max_rows=200)[0]
    assert {(one.tokens == [lm.eos], one.finished) for one in group} == {(True, True), (False, False)}


def test_every_end_token_of_the_generation_config_ends(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    lm.model.generation_config.eos_token_id = [2, 7, 9]
    assert lm.eos_ids == {2, 7, 9}
    ends = {one.tokens[-1] for group in sample(lm, PROMPTS, n=12, max_new_tokens=30) for one in group if one.finished}
    assert ends == {2, 7, 9}


def test_tokens_are_told_row_by_row_as_they_come(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    told: list[tuple[int, int]] = []
    results = sample(
        lm, PROMPTS, n=2, max_new_tokens=10, max_rows=4, on_token=lambda row, token: told.append((row, token))
    )
    flat = [one for group in results for one in group]
    for row, one in enumerate(flat):
        assert [token for told_row, token in told if told_row == row] == one.tokens
    for rows in (range(4), range(4, 8)):  # two batches of four, each step in order of rows
        expected = [(row, flat[row].tokens[step]) for step in range(10) for row in rows if step < len(flat[row].tokens)]
        assert [one for one in told if one[0] in rows] == expected


@pytest.mark.parametrize("family", ["llama", "gpt_neox"])
def test_the_model_comes_back_also_after_an_exception(tiny_lm: Make, family: str) -> None:
    lm = tiny_lm(family, SMALL)
    packed = pack([Item([5, 6, 7], [])])
    weights = {name: value.clone() for name, value in lm.model.state_dict().items()}
    forwards = {name: vars(one).get("forward") for name, one in lm.model.named_modules()}
    before = lm.hidden_states(packed).detach()

    def stop(row: int, token: int) -> None:
        raise KeyboardInterrupt

    sample(lm, PROMPTS, max_new_tokens=3)
    with pytest.raises(KeyboardInterrupt):
        sample(lm, PROMPTS, max_new_tokens=3, on_token=stop)
    assert forwards == {name: vars(one).get("forward") for name, one in lm.model.named_modules()}
    assert all(torch.equal(value, weights[name]) for name, value in lm.model.state_dict().items())
    assert torch.equal(lm.hidden_states(packed), before)
    assert not any(parameter.is_inference() for parameter in lm.model.parameters())


def test_training_can_follow_sampling(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    adapt(lm)
    sample(lm, PROMPTS, max_new_tokens=3)
    lm.hidden_states(pack([Item([5, 6, 7], [])])).sum().backward()
    assert all(parameter.grad is not None for parameter in lm.adapters.parameters("policy"))


def test_bfloat16_samples_agree_with_the_scorer_within_a_percent(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL, dtype="bfloat16")
    adapt(lm)
    results = sample(lm, PROMPTS, n=16, max_new_tokens=20, seed=2)
    items = [Item(prompt, [one.tokens for one in group]) for prompt, group in zip(PROMPTS, results, strict=True)]
    scored = torch.cat([logprob for one in score(lm, items) for logprob in one.logprobs])
    sampled = torch.tensor([value for group in results for one in group for value in one.logprobs])
    assert abs(float(torch.exp(scored - sampled).mean()) - 1) < 0.01
    assert float((scored - sampled).abs().mean()) < 0.05


@pytest.mark.parametrize(
    "settings",
    [
        {"n": 0},
        {"max_new_tokens": 0},
        {"temperature": -0.1},
        {"top_p": 0.0},
        {"top_p": 1.1},
        {"top_k": -1},
        {"max_rows": 0},
        {"numbers": [-1]},
        {"min_p": 1.0},
        {"repetition_penalty": 0.0},
        {"stop": "Human:"},
        {"stop": [""]},
    ],
    ids=str,
)
def test_bad_settings_are_refused_by_name(tiny_lm: Make, settings: dict[str, Any]) -> None:
    with pytest.raises(SettingsError, match=next(iter(settings))):
        sample(tiny_lm("llama", SMALL), [[5]], **settings)


def test_an_empty_or_too_long_prompt_is_refused_by_number(tiny_lm: Make) -> None:
    lm = tiny_lm("llama", SMALL)
    with pytest.raises(DataError, match="Prompt 1 is empty"):
        sample(lm, [[5], []])
    with pytest.raises(DataError, match="Prompt 1 has 500 tokens; with 13 new ones"):
        sample(lm, [[5], [5] * 500], max_new_tokens=13)
    assert len(sample(lm, [[5] * 500], max_new_tokens=12)[0][0].tokens) <= 12
    assert sample(lm, []) == []
