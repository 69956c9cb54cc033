"""A model's weights divided over the processes: FSDP2 (PyTorch's `fully_shard`; ZeRO-3, arXiv 1910.02054).

Each process keeps its part of every weight, gradient and moment. A layer is put together while it computes and taken
apart again. Gradients are summed, not averaged: a process's loss is its share of the whole batch's.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.fsdp import FSDPModule, MixedPrecisionPolicy, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor, distribute_tensor

from kilter.models import processes

COMPUTE = "kilter_compute"


def shard(model: Any, compute_dtype: torch.dtype) -> None:
    """Divide a transformers model over the processes, layer by layer; what trains must be in float32.

    Weights that train are gathered in `compute_dtype`, all others as they are. A model that is divided stays so.
    """
    if isinstance(model, FSDPModule):
        return
    device = next(model.parameters()).device.type
    mesh = torch.distributed.device_mesh.init_device_mesh(device, (processes.world_size(),))
    trunk_trains = any(one.requires_grad for one in model.get_input_embeddings().parameters())
    policy = MixedPrecisionPolicy(
        param_dtype=compute_dtype if trunk_trains else None, reduce_dtype=torch.float32, cast_forward_inputs=False
    )
    setattr(model, COMPUTE, MethodType(lambda _, compute: compute(), model))
    for module in (*model.base_model.layers, model):
        # Divided again after every pass, the outermost part too: else its parameters would at times be whole ones.
        divided = fully_shard(module, mesh=mesh, mp_policy=policy, reshard_after_forward=True)
        divided.set_gradient_divide_factor(1.0)
        divided.set_force_sum_reduction_for_comms(True)  # gloo knows no average
    register_fsdp_forward_method(model, COMPUTE)


def compute_with(model: Any, compute: Callable[[], Any]) -> Any:
    """What `compute` returns, as a forward pass of the whole model: it may read weights outside of any layer."""
    return getattr(model, COMPUTE)(compute) if isinstance(model, FSDPModule) else compute()


@contextmanager
def gathered(model: nn.Module) -> Iterator[None]:
    """All weights whole on every process inside the block, for sampling."""
    parts = [module for module in model.modules() if isinstance(module, FSDPModule)]
    for part in parts:
        part.unshard()
        part.set_reshard_after_forward(False, recurse=False)
    try:
        yield
    finally:
        for part in parts:
            part.reshard()
            part.set_reshard_after_forward(True, recurse=False)


def whole(tensor: Tensor) -> Tensor:
    """A divided tensor put together, on every process; any other as it is."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


@torch.no_grad()
def put(target: Tensor, value: Tensor) -> None:
    """Copy a `value`, whole on every process or divided in the same way, into a tensor that may be divided."""
    if isinstance(target, DTensor) and not isinstance(value, DTensor):
        value = distribute_tensor(
            value.to(target.device, target.dtype), target.device_mesh, target.placements, src_data_rank=None
        )
    target.copy_(value)
