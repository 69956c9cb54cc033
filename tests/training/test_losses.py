"""Each loss against a reference written differently: scalars, loops, float64."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor

from kilter.training.losses import (
    adapt_kl_coef,
    gae,
    kl_k3,
    per_token_rewards,
    ppo_policy_loss,
    ppo_value_loss,
    preference_loss,
    preference_probability,
    whiten,
)

COUNTS = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def draws(size: int, *seed: int) -> Tensor:
    generator = torch.Generator().manual_seed(sum((number + 1) * 1009**place for place, number in enumerate(seed)))
    return torch.randn(size, generator=generator, dtype=torch.float64)


def sigmoid(x: float) -> float:
    return 1 / (1 + math.exp(-x))


@given(st.integers(1, 6), st.floats(0, 0.4), st.integers(0, 99))
def test_preference_loss_is_minus_the_log_of_bradley_and_terrys_probability(
    size: int, smoothing: float, seed: int
) -> None:
    margin = draws(size, seed)
    got = preference_loss(margin, torch.zeros(size, dtype=torch.bool), smoothing)
    for one, found in zip(margin.tolist(), got.tolist(), strict=True):
        p = sigmoid(one)
        assert found == pytest.approx(-(1 - smoothing) * math.log(p) - smoothing * math.log(1 - p), rel=1e-12)


@given(st.integers(1, 6), st.floats(0, 0.4), st.floats(0.01, 0.9), st.integers(0, 99))
def test_with_ties_it_is_davidsons(size: int, smoothing: float, tie: float, seed: int) -> None:
    margin, tied = draws(size, seed), torch.arange(size) % 2 == seed % 2
    got = preference_loss(margin, tied, smoothing, tie)
    nu = 2 * tie / (1 - tie)
    for one, found, even in zip(margin.tolist(), got.tolist(), tied.tolist(), strict=True):
        win, lose = math.exp(one), 1.0  # of strengths exp(margin) and 1
        total = win + lose + nu * math.sqrt(win * lose)
        expected = -(1 - smoothing) * math.log(win / total) - smoothing * math.log(lose / total)
        assert found == pytest.approx(-math.log(1 - (win + lose) / total) if even else expected, rel=1e-9)
    equals = preference_loss(torch.zeros(2), torch.tensor([True, False]), 0.0, tie)
    assert torch.exp(-equals).tolist() == pytest.approx([tie, (1 - tie) / 2])


def test_preference_loss_does_not_overflow() -> None:
    margin = torch.tensor([2e4, -2e4], requires_grad=True)
    for tie in (0.0, 0.3):
        losses = preference_loss(margin, torch.tensor([False, False]), tie=tie)
        assert losses.tolist() == [0.0, 2e4]
    losses.sum().backward()  # type: ignore[no-untyped-call]
    assert margin.grad is not None
    assert margin.grad.tolist() == [0.0, -1.0]


@given(COUNTS, st.integers(0, 99), st.floats(0, 2))
def test_rewards_are_the_kl_penalty_with_the_score_on_the_true_last_token(
    counts: list[int], seed: int, coefficient: float
) -> None:
    logprobs, ref = draws(sum(counts), seed, 1), draws(sum(counts), seed, 2)
    scores = draws(len(counts), seed, 3)
    got = per_token_rewards(scores, logprobs, ref, counts, coefficient).tolist()
    place = 0
    for number, count in enumerate(counts):
        for t in range(count):
            expected = -coefficient * float(logprobs[place] - ref[place])
            if t == count - 1:
                expected += float(scores[number])
            assert got[place] == pytest.approx(expected, abs=1e-12)
            place += 1
    assert place == len(got)


@given(COUNTS, st.integers(0, 99), st.floats(0.1, 1), st.floats(0, 1))
def test_gae_equals_its_definition_as_a_double_sum(counts: list[int], seed: int, gamma: float, lam: float) -> None:
    rewards, values = draws(sum(counts), seed, 4), draws(sum(counts), seed, 5)
    advantages, returns = gae(rewards, values, counts, gamma, lam)
    start = 0
    for count in counts:
        r, v = rewards[start : start + count].tolist(), [*values[start : start + count].tolist(), 0.0]
        for t in range(count):
            expected = sum((gamma * lam) ** (k - t) * (r[k] + gamma * v[k + 1] - v[k]) for k in range(t, count))
            assert float(advantages[start + t]) == pytest.approx(expected, abs=1e-9)
            assert float(returns[start + t]) == pytest.approx(expected + v[t], abs=1e-9)
        start += count


def test_gae_at_its_ends_is_monte_carlo_and_one_step() -> None:
    rewards, values = torch.tensor([0.0, 0.0, 5.0, 1.0]), torch.tensor([1.0, 2.0, 3.0, 4.0])
    monte_carlo, returns = gae(rewards, values, [3, 1], 1.0, 1.0)
    assert returns.tolist() == [5, 5, 5, 1]
    assert monte_carlo.tolist() == [4, 3, 2, -3]
    assert gae(rewards, values, [3, 1], 1.0, 0.0)[0].tolist() == [1, 1, 2, -3]


@given(st.lists(st.floats(-100, 100), min_size=2, max_size=20), st.booleans())
def test_whiten_has_unit_variance_and_keeps_the_mean_if_asked(values: list[float], shift: bool) -> None:
    mean = sum(values) / len(values)
    variance = sum((value - mean) ** 2 for value in values) / len(values)
    got = whiten(torch.tensor(values, dtype=torch.float64), shift_mean=shift).tolist()
    for value, result in zip(values, got, strict=True):
        expected = (value - mean) / math.sqrt(variance + 1e-8) + (0 if shift else mean)
        assert result == pytest.approx(expected, rel=1e-9, abs=1e-9)


def test_whiten_of_one_value_everywhere_is_zero_rather_than_not_a_number() -> None:
    assert whiten(torch.full((4,), 3.0)).tolist() == [0, 0, 0, 0]
    assert whiten(torch.full((4,), 3.0), shift_mean=False).tolist() == [3, 3, 3, 3]


@given(st.integers(0, 199), st.floats(0.05, 0.5))
def test_policy_loss_is_the_clipped_surrogate_with_its_gradient(seed: int, clip: float) -> None:
    new, old, advantages = draws(8, seed, 6).requires_grad_(), draws(8, seed, 7), draws(8, seed, 8)
    loss, clipped = ppo_policy_loss(new, old, advantages, clip)
    loss.sum().backward()  # type: ignore[no-untyped-call]
    assert new.grad is not None
    for index in range(8):
        ratio = math.exp(float(new.detach()[index] - old[index]))
        a = float(advantages[index])
        # In words: no reward for going further than the clip in the direction that the advantage asks for.
        beyond = ratio > 1 + clip if a > 0 else ratio < 1 - clip
        bound = 1 + clip if a > 0 else 1 - clip
        assert loss[index].item() == pytest.approx(-a * (bound if beyond else ratio), rel=1e-12)
        assert bool(clipped[index]) == beyond
        assert float(new.grad[index]) == pytest.approx(0 if beyond else -a * ratio, rel=1e-12)


@given(st.integers(0, 199), st.floats(0.05, 1))
def test_value_loss_is_the_worse_of_clipped_and_plain_error(seed: int, clip: float) -> None:
    values, old, returns = draws(8, seed, 9).requires_grad_(), draws(8, seed, 10), draws(8, seed, 11)
    got = ppo_value_loss(values, old, returns, clip)
    got.sum().backward()  # type: ignore[no-untyped-call]
    assert values.grad is not None
    rows = zip(values.tolist(), old.tolist(), returns.tolist(), got.tolist(), values.grad.tolist(), strict=True)
    for value, before, target, loss, push in rows:
        near = before + max(-clip, min(clip, value - before))
        plain, clipped = (value - target) ** 2, (near - target) ** 2
        assert loss == pytest.approx(max(plain, clipped) / 2, rel=1e-9)
        if abs(near - value) > 1e-9:  # else both are the same, and so are their gradients
            assert push == pytest.approx(value - target if plain > clipped else 0.0, rel=1e-9)


@pytest.mark.parametrize("seed", range(5))
def test_k3_expects_the_kl_and_is_never_negative(seed: int) -> None:
    policy, ref = torch.log_softmax(draws(7, seed, 12), 0), torch.log_softmax(draws(7, seed, 13), 0)
    each = kl_k3(policy, ref)
    exact = sum(math.exp(p) * (p - q) for p, q in zip(policy.tolist(), ref.tolist(), strict=True))
    expected = sum(math.exp(p) * k for p, k in zip(policy.tolist(), each.tolist(), strict=True))
    assert expected == pytest.approx(exact, rel=1e-12)
    assert float(each.min()) >= 0


@given(st.integers(0, 99))
def test_k3_is_schulmans_with_its_gradient(seed: int) -> None:
    p, q = draws(6, seed, 14).requires_grad_(), draws(6, seed, 15)
    each = kl_k3(p, q)
    each.sum().backward()  # type: ignore[no-untyped-call]
    assert p.grad is not None
    for index, r in enumerate((q - p).tolist()):
        assert float(each[index].detach()) == pytest.approx(math.exp(r) - 1 - r, rel=1e-9, abs=1e-12)
        assert float(p.grad[index]) == pytest.approx(1 - math.exp(r), rel=1e-9, abs=1e-12)


def test_k3_of_nearly_equal_models_keeps_its_digits() -> None:
    p = torch.tensor([-2.0], dtype=torch.float32)
    assert float(kl_k3(p, p + 2**-12)) == pytest.approx(0.5 * 2**-24, rel=1e-3)
    assert float(kl_k3(p, p)) == 0


@given(st.floats(-30, 30))
def test_preference_probability_is_the_logistic_of_the_margin(margin: float) -> None:
    got = float(preference_probability(torch.tensor(margin, dtype=torch.float64)))
    assert got == pytest.approx(sigmoid(margin), rel=1e-12)


def test_preference_probability_does_not_overflow() -> None:
    assert preference_probability(torch.tensor([-1e4, 0.0, 1e4])).tolist() == [0.0, 0.5, 1.0]


@pytest.mark.parametrize(
    ("kl", "factor"),
    [
        (6.0, 1.0),
        (6.6, 1 + 0.1 * 32 / 1000),
        (5.4, 1 - 0.1 * 32 / 1000),
        (60.0, 1 + 0.2 * 32 / 1000),
        (0.0, 1 - 0.2 * 32 / 1000),
    ],
)
def test_the_kl_coefficient_follows_the_error_clipped_to_a_fifth(kl: float, factor: float) -> None:
    assert adapt_kl_coef(0.1, kl, 6.0, 1000, 32) == pytest.approx(0.1 * factor, rel=1e-12)
