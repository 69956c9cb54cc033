"""AdamW on float32 master weights, whatever the compute dtype, with a schedule and gradient clipping."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from weakref import ref

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor

from kilter.errors import SettingsError, TrainingStopped
from kilter.models import processes
from kilter.models.shard import put
from kilter.training.settings import OptimizerSettings

HOOK = "_kilter_into_master"
LARGE = 32 << 20
"""Bytes beyond which the C library gives memory back to the system at once, to be cleared anew at the next step."""


class Optimizer:
    """AdamW over `parameters`.

    A parameter in bfloat16 gets a float32 master: its gradients are added up in float32 as the backward pass makes
    them, the step is taken there, and the result is rounded back. Float32 parameters are their own masters.
    """

    def __init__(
        self,
        parameters: Sequence[nn.Parameter],
        settings: OptimizerSettings,
        total_steps: int,
        *,
        lr: float | None = None,
        betas: tuple[float, float] = (0.9, 0.95),
        eps: float = 1e-8,
    ) -> None:
        frozen = sum(not parameter.requires_grad for parameter in parameters)
        if frozen or not parameters:
            raise SettingsError(
                f"{frozen} of the {len(parameters)} tensors that should train are frozen, or there are none to train."
            )
        self.parameters = list(parameters)
        dither = torch.Generator().manual_seed(settings.seed)
        self.masters = [one if one.dtype == torch.float32 else nn.Parameter(_wide(one, dither)) for one in parameters]
        self.spare: dict[int, Tensor] = {}  # large gradients' memory between two steps, by their master's id
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter:
                former = getattr(parameter, HOOK, None)
                if former is not None:  # of an earlier stage on the same weights; it would take the gradients away
                    former.remove()
                hook = parameter.register_post_accumulate_grad_hook(_into(ref(master), self.spare))  # type: ignore[no-untyped-call]
                setattr(parameter, HOOK, hook)
        self.lr = settings.lr if lr is None else lr
        self.settings = settings
        self.total_steps = max(total_steps, 1)
        groups = [{"params": list(some)} for some in _apart(self.masters) if some]
        self.adam = torch.optim.AdamW(
            groups, lr=self.lr, betas=betas, eps=eps, weight_decay=settings.weight_decay, fused=True
        )

    def rate(self, step: int) -> float:
        """Learning rate of step `step`, counted from 0."""
        warm = max(1, math.ceil(self.settings.warmup * self.total_steps))
        if step < warm:
            return self.lr * (step + 1) / warm
        done = (step - warm) / max(1, self.total_steps - warm)
        if self.settings.schedule == "constant":
            return self.lr
        return self.lr * (1 - done if self.settings.schedule == "linear" else 0.5 * (1 + math.cos(math.pi * done)))

    def step(self, step: int) -> float:
        """Clip, update, clear the gradients; returns the gradient's norm before clipping.

        Raises:
            TrainingStopped: the gradient is not finite, or a parameter that should train received none.
        """
        if any(master.grad is None for master in self.masters):
            missing = sum(master.grad is None for master in self.masters)
            raise TrainingStopped(
                f"{missing} of {len(self.masters)} trainable tensors received no gradient at step {step}: they are not "
                "part of the loss. Check the adapter's target layers against the layers that the model reads."
            )
        gradients = [master.grad for master in self.masters if master.grad is not None]
        norm = _summed_norm(gradients)
        if not math.isfinite(norm):
            raise TrainingStopped(
                f"The gradient at step {step} is not finite (norm {norm}): the run diverged. The last good checkpoint "
                "is kept. Lower the learning rate (lr), or compute in float32 (dtype: float32)."
            )
        if norm > self.settings.max_grad_norm:
            for some in filter(None, _apart(gradients)):
                torch._foreach_mul_(some, self.settings.max_grad_norm / norm)
        for group in self.adam.param_groups:
            group["lr"] = self.rate(step)
        self.adam.step()
        with torch.no_grad():
            for parameter, master in zip(self.parameters, self.masters, strict=True):
                if master is not parameter:
                    parameter.copy_(master)
        for parameter, master in zip(self.parameters, self.masters, strict=True):
            if master is not parameter and master.grad is not None and master.grad.nbytes > LARGE:
                self.spare[id(master)] = master.grad
            master.grad = None
        return norm

    def state(self) -> dict[str, Tensor]:
        """Masters and moments, by number and name."""
        tensors = {f"{index}.value": master.detach() for index, master in enumerate(self.masters)}
        for index, master in enumerate(self.masters):
            for key, value in self.adam.state.get(master, {}).items():
                tensors[f"{index}.{key}"] = value
        return tensors

    @torch.no_grad()
    def load_state(self, tensors: dict[str, Tensor]) -> None:
        """Put back what `state` gave."""
        for index, (parameter, master) in enumerate(zip(self.parameters, self.masters, strict=True)):
            own = {key.split(".", 1)[1]: value for key, value in tensors.items() if key.startswith(f"{index}.")}
            put(master, own.pop("value"))
            if master is not parameter:
                parameter.copy_(master)
            # Copies: memory-mapped tensors are read-only, and `step` must stay on the CPU as fused Adam wants it.
            self.adam.state[master] = {
                key: _kept_like(master, value) if value.shape == master.shape else value.clone()
                for key, value in own.items()
            }

    def like(self, key: str) -> Tensor:
        """A tensor that lies where the one saved under `key` belongs."""
        return self.masters[int(key.split(".")[0])]


def _kept_like(master: Tensor, value: Tensor) -> Tensor:
    kept = torch.empty_like(master)
    put(kept, value)
    return kept


def _summed_norm(gradients: Sequence[Tensor]) -> float:
    """The norm of all, after each has become the sum over the processes; divided ones are that already."""
    if processes.world_size() == 1:
        return float(torch.nn.utils.get_total_norm(gradients, foreach=True))
    kept_whole, divided = _apart(gradients)
    parts = [one.to_local() for one in divided if isinstance(one, DTensor)]
    for one in kept_whole:
        processes.all_reduce(one)
    own, shared = (float(torch.nn.utils.get_total_norm(some)) if some else 0.0 for some in (parts, kept_whole))
    return math.sqrt(processes.totals(own**2)[0] + shared**2)


def _apart(tensors: Sequence[Tensor]) -> tuple[list[Tensor], list[Tensor]]:
    """Those that every process has whole, and those that are divided: no operation takes both at once."""
    return [one for one in tensors if not isinstance(one, DTensor)], [
        one for one in tensors if isinstance(one, DTensor)
    ]


def widen(parameters: Sequence[nn.Parameter], seed: int) -> None:
    """Make those that train masters of their own, in float32, where they compute in another precision."""
    dither = torch.Generator().manual_seed(seed)
    for one in parameters:
        if one.requires_grad and one.dtype != torch.float32:
            one.data = _wide(one, dither)


def _wide(parameter: nn.Parameter, dither: torch.Generator) -> Tensor:
    """A float32 master's values, each at a random place among the values that round to the same bfloat16 weight.

    A master that starts at the rounded weight itself must move half a rounding step before the model changes at all:
    at a learning rate of 1e-5 the first dozens of updates would do nothing. From a random place, as many weights cross
    a boundary as makes the mean change right (subtractive dither), and the model starts exactly as it was loaded.
    """
    wide = parameter.detach().float()
    if parameter.dtype == torch.bfloat16:  # the low 16 bits of a float32 are what rounding to bfloat16 drops
        offset = torch.randint(-(2**15) + 1, 2**15, wide.shape, generator=dither, dtype=torch.int32).to(wide.device)
        wide.view(torch.int32).add_(offset.where(wide != 0, 0))
    return wide


def _into(reference: ref[nn.Parameter], spare: dict[int, Tensor]) -> Callable[[Tensor], None]:
    def hook(parameter: Tensor) -> None:
        gradient, master = parameter.grad, reference()
        if gradient is None or master is None:
            return
        if master.grad is None:
            kept = spare.pop(id(master), None)
            master.grad = gradient.float() if kept is None else kept.copy_(gradient)
        else:
            master.grad += gradient
        parameter.grad = None

    return hook
