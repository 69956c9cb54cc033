from __future__ import annotations

import math
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kilter.errors import SettingsError, TrainingStopped
from kilter.training.optimizer import Optimizer
from kilter.training.settings import OptimizerSettings

PLAIN: dict[str, Any] = {"lr": 0.01, "schedule": "constant", "warmup": 0.0, "max_grad_norm": 1e9}


def parameters(dtype: torch.dtype = torch.float32) -> list[nn.Parameter]:
    generator = torch.Generator().manual_seed(0)
    return [nn.Parameter(torch.randn(shape, generator=generator).to(dtype)) for shape in [(3, 4), (5,)]]


def give(targets: list[nn.Parameter], step: int, scale: float = 1.0) -> None:
    """Add random gradients by a backward pass, as training does."""
    generator = torch.Generator().manual_seed(step)
    loss = sum((scale * torch.randn(one.shape, generator=generator).to(one.dtype) * one).sum() for one in targets)
    assert isinstance(loss, Tensor)
    loss.backward()  # type: ignore[no-untyped-call]


@pytest.mark.parametrize("decay", [0.0, 0.1])
def test_equals_adamw_in_float32(decay: float) -> None:
    ours, theirs = parameters(), parameters()
    optimizer = Optimizer(ours, OptimizerSettings(**PLAIN, weight_decay=decay), 10, eps=1e-6)
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.95), eps=1e-6, weight_decay=decay)
    for step in range(10):
        give(ours, step)
        give(theirs, step)
        norm = optimizer.step(step)
        assert norm == pytest.approx(
            math.sqrt(sum(float(one.grad.square().sum()) for one in theirs if one.grad is not None)), rel=1e-6
        )
        reference.step()
        reference.zero_grad()
        assert all(one.grad is None for one in ours)
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-6, atol=1e-7)


def test_clips_to_the_norm_over_all_parameters() -> None:
    ours, theirs = parameters(), parameters()
    optimizer = Optimizer(ours, OptimizerSettings(**{**PLAIN, "max_grad_norm": 0.5}), 3)
    reference = torch.optim.AdamW(theirs, lr=0.01, betas=(0.9, 0.95), weight_decay=0.0)
    for step, scale in enumerate((100.0, 1.0, 0.01)):  # scales differ, or Adam would hide the clipping
        give(ours, step, scale)
        give(theirs, step, scale)
        optimizer.step(step)
        total = math.sqrt(sum(float(one.grad.square().sum()) for one in theirs if one.grad is not None))
        for one in theirs:
            assert one.grad is not None
            one.grad *= min(1.0, 0.5 / total)
        reference.step()
        reference.zero_grad()
    for a, b in zip(ours, theirs, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-5, atol=1e-6)


def test_tiny_updates_that_bfloat16_would_lose_move_the_weight() -> None:
    weight = nn.Parameter(torch.ones(4, dtype=torch.bfloat16))  # next below one: 0.996
    settings = OptimizerSettings(**{**PLAIN, "lr": 1e-4})
    optimizer = Optimizer([weight], settings, 200)
    start = optimizer.masters[0].detach().clone()
    for step in range(200):
        weight.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step(step)
        assert weight.grad is None
    torch.testing.assert_close(weight.detach().float(), torch.full((4,), 0.98), rtol=0, atol=2**-8)
    torch.testing.assert_close(optimizer.masters[0].detach(), start - 0.02, rtol=0, atol=1e-5)


def test_the_first_tiny_update_shows_in_the_mean_of_bfloat16_weights() -> None:
    """Masters that start on bfloat16's grid would have to go half a step of it before anything changes."""
    generator = torch.Generator().manual_seed(3)
    values = torch.randn(400_000, generator=generator).to(torch.bfloat16)
    values[:2] = torch.tensor([0.0, -0.0])
    weight = nn.Parameter(values.clone())
    optimizer = Optimizer([weight], OptimizerSettings(**{**PLAIN, "lr": 1e-4}), 1)
    assert torch.equal(optimizer.masters[0].detach().to(torch.bfloat16), values)  # the model starts as it was loaded
    weight.sum().backward()  # type: ignore[no-untyped-call]
    optimizer.step(0)
    moved = float((weight.detach().double() - values.double()).mean())
    assert moved == pytest.approx(-1e-4, rel=0.05)
    on_grid = (values.float() - 1e-4).to(torch.bfloat16)
    assert float((on_grid.double() - values.double()).mean()) > -0.5e-4


def test_bfloat16_gradients_add_up_in_float32() -> None:
    weight = nn.Parameter(torch.ones(1, dtype=torch.bfloat16))
    optimizer = Optimizer([weight], OptimizerSettings(**PLAIN), 1)
    weight.sum().backward()  # type: ignore[no-untyped-call]
    for _ in range(64):
        (weight.sum() * 2**-9).backward()  # in bfloat16, 1 + 2**-9 is 1
    assert optimizer.masters[0].grad is not None
    assert optimizer.masters[0].grad.tolist() == [1.125]
    assert optimizer.step(0) == 1.125


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_a_second_optimizer_on_the_same_weights_takes_over(dtype: torch.dtype) -> None:
    """Two stages of full fine-tuning on one model: the first one's hooks must not steal the second one's gradients."""
    weights = parameters(dtype)
    first = Optimizer(weights, OptimizerSettings(**PLAIN), 1)
    give(weights, 0)
    first.step(0)
    second = Optimizer(weights, OptimizerSettings(**PLAIN), 1)
    before = [one.detach().clone() for one in weights]
    give(weights, 1)
    assert second.step(0) > 0
    assert not any(torch.equal(a, b) for a, b in zip(before, weights, strict=True))


@pytest.mark.parametrize(
    ("schedule", "expected"),
    [
        ("constant", [0.5, 1, 1, 1, 1, 1, 1, 1, 1, 1]),
        ("linear", [0.5, 1, 1, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8]),
        ("cosine", [0.5, 1, *(0.5 + 0.5 * math.cos(math.pi * k / 8) for k in range(8))]),
    ],
)
def test_the_rate_rises_over_the_warmup_and_falls_as_named(schedule: Any, expected: list[float]) -> None:
    settings = OptimizerSettings(lr=0.1, schedule=schedule, warmup=0.2)
    optimizer = Optimizer(parameters(), settings, 10)
    assert [optimizer.rate(step) for step in range(10)] == pytest.approx([0.1 * one for one in expected])
    assert Optimizer(parameters(), settings, 10, lr=1.0).rate(1) == 1.0


@pytest.mark.parametrize("warmup", [0.0, 0.05, 1.0])
@pytest.mark.parametrize("steps", [1, 2, 7])
def test_the_rate_is_never_zero_or_above_its_peak(warmup: float, steps: int) -> None:
    optimizer = Optimizer(parameters(), OptimizerSettings(lr=0.1, warmup=warmup), steps)
    assert all(0 < optimizer.rate(step) <= 0.1 for step in range(steps))


def test_the_step_uses_the_rate_of_its_number() -> None:
    weight = nn.Parameter(torch.zeros(1))
    optimizer = Optimizer([weight], OptimizerSettings(**{**PLAIN, "schedule": "linear", "warmup": 0.5}), 4, eps=1e-12)
    moved = []
    for step in range(4):
        before = weight.item()
        weight.sum().backward()  # type: ignore[no-untyped-call]
        optimizer.step(step)
        moved.append(before - weight.item())
    assert moved == pytest.approx([0.005, 0.01, 0.01, 0.005], rel=1e-4)


@pytest.mark.parametrize("bad", [float("nan"), float("inf")])
def test_a_gradient_that_is_not_finite_stops_and_leaves_the_weights(bad: float) -> None:
    weights = parameters()
    optimizer = Optimizer(weights, OptimizerSettings(**PLAIN), 5)
    before = [one.detach().clone() for one in weights]
    (weights[0].sum() * bad + weights[1].sum()).backward()
    with pytest.raises(TrainingStopped, match="step 3 is not finite"):
        optimizer.step(3)
    assert all(torch.equal(a, b) for a, b in zip(before, weights, strict=True))


def test_a_parameter_that_the_loss_does_not_reach_stops() -> None:
    weights = parameters()
    optimizer = Optimizer(weights, OptimizerSettings(**PLAIN), 5)
    weights[0].sum().backward()  # type: ignore[no-untyped-call]
    with pytest.raises(TrainingStopped, match="1 of 2 trainable tensors received no gradient"):
        optimizer.step(0)


def test_frozen_or_no_parameters_are_refused() -> None:
    weights = parameters()
    weights[1].requires_grad_(False)
    with pytest.raises(SettingsError, match="1 of the 2 tensors"):
        Optimizer(weights, OptimizerSettings(), 5)
    with pytest.raises(SettingsError, match="none to train"):
        Optimizer([], OptimizerSettings(), 5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("after", [0, 3])
def test_state_put_back_goes_on_bit_for_bit(dtype: torch.dtype, after: int) -> None:
    def run(optimizer: Optimizer, steps: range) -> None:
        for step in steps:
            give(optimizer.parameters, step)
            optimizer.step(step)

    settings = OptimizerSettings(**{**PLAIN, "schedule": "cosine"})
    whole = Optimizer(parameters(dtype), settings, 6)
    run(whole, range(6))
    first = Optimizer(parameters(dtype), settings, 6)
    run(first, range(after))
    saved = {key: value.clone() for key, value in first.state().items()}
    second = Optimizer([nn.Parameter(torch.zeros_like(one)) for one in parameters(dtype)], settings, 6)
    second.load_state(saved)
    run(second, range(after, 6))
    assert all(torch.equal(a, b) for a, b in zip(whole.parameters, second.parameters, strict=True))
    assert all(torch.equal(value, second.state()[key]) for key, value in whole.state().items())
