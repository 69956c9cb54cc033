from __future__ import annotations

from collections.abc import Callable
from copy import deepcopy
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from kilter.models.norm import _RMSNorm, is_ours, lighten_norms


def problem(shape: tuple[int, ...], dtype: torch.dtype = torch.float32) -> list[Tensor]:
    generator = torch.Generator().manual_seed(0)
    x, weight, grad = (torch.randn(one, generator=generator) for one in (shape, shape[-1:], shape))
    return [(3 * x).to(dtype), (1 + 0.3 * weight).to(dtype), grad.to(dtype)]


def ours(x: Tensor, weight: Tensor, grad: Tensor) -> list[Tensor]:
    x, weight = x.clone().requires_grad_(), weight.clone().requires_grad_()
    out = _RMSNorm.apply(x, weight, 1e-5)
    out.backward(grad)
    assert x.grad is not None
    assert weight.grad is not None
    return [out.detach(), x.grad, weight.grad]


def exact(x: Tensor, weight: Tensor, grad: Tensor) -> list[Tensor]:
    """By autograd in float64."""
    x, weight = x.double().requires_grad_(), weight.double().requires_grad_()
    out = x / (x.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight
    out.backward(grad.double())
    assert x.grad is not None
    assert weight.grad is not None
    return [out.detach(), x.grad, weight.grad]


@pytest.mark.parametrize(("dtype", "bound"), [(torch.float32, 1e-6), (torch.bfloat16, 1e-2)])
@pytest.mark.parametrize("shape", [(1, 7, 32), (5, 32), (2, 3, 4, 16)])
def test_value_and_gradients_equal_autograds(shape: tuple[int, ...], dtype: torch.dtype, bound: float) -> None:
    given = problem(shape, dtype)
    kept = [one.clone() for one in given]
    for got, expected in zip(ours(*given), exact(*given), strict=True):
        assert got.dtype == dtype
        assert float((got.double() - expected).norm() / expected.norm()) < bound
    assert all(torch.equal(a, b) for a, b in zip(given, kept, strict=True))  # nothing was changed in place


def test_a_frozen_weight_gets_no_gradient() -> None:
    x, weight, grad = problem((4, 8))
    x.requires_grad_()
    _RMSNorm.apply(x, weight, 1e-5).backward(grad)
    assert weight.grad is None
    torch.testing.assert_close(x.grad, ours(*problem((4, 8)))[1])


class Plain(nn.Module):
    """RMSNorm as most models write it."""

    def __init__(self, offset: float = 0.0) -> None:
        super().__init__()
        self.weight = nn.Parameter(1 + 0.1 * torch.randn(8, generator=torch.Generator().manual_seed(0)))
        self.variance_epsilon = 1e-5
        self.offset = offset

    def forward(self, x: Tensor) -> Tensor:
        wide = x.float()
        unit = wide * torch.rsqrt(wide.pow(2).mean(-1, keepdim=True) + self.variance_epsilon)
        return (self.offset + self.weight) * unit.to(x.dtype)


class Shifted(Plain):
    """Gemma's variant, 1 + weight."""

    def __init__(self) -> None:
        super().__init__(1.0)


def test_only_norms_that_compute_the_same_are_replaced() -> None:
    model = nn.ModuleList([Plain(), Shifted(), Plain(), nn.LayerNorm(8), nn.Linear(8, 8)])
    before = [module(torch.ones(2, 8)) for module in model]
    assert lighten_norms(model) == 2
    assert [index for index, module in enumerate(model) if "forward" in vars(module)] == [0, 2]
    for module, expected in zip(model, before, strict=True):
        torch.testing.assert_close(module(torch.ones(2, 8)), expected)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
@pytest.mark.parametrize(("family", "count"), [("llama", 5), ("qwen2", 5), ("qwen3", 9), ("gpt_neox", 0)])
def test_every_norm_of_the_known_families_is_replaced(
    tiny_lm: Callable[..., Any], family: str, count: int, dtype: str
) -> None:
    lm = tiny_lm(family, dtype=dtype)
    assert sum(is_ours(module) for module in lm.model.modules()) == count


def test_a_copy_of_a_model_computes_with_its_own_weights() -> None:
    model = nn.ModuleList([Plain()])
    lighten_norms(model)
    copy = deepcopy(model)
    copy[0].weight.data.mul_(2)  # type: ignore[operator]
    x = torch.ones(2, 8)
    torch.testing.assert_close(copy[0](x), 2 * model[0](x))
