"""Log-probabilities under the reference, computed once and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kilter.models import Item, Packed, packed_logprobs, processes
from kilter.models.flops import Compute, forward_flops
from kilter.training.policy import Policy
from kilter.training.shares import read_items

FILE = "reference.safetensors"


@torch.no_grad()
def reference_logprobs(
    policy: Policy, items: Sequence[Item], folder: Path, fingerprint: str, max_tokens: int, compute: Compute
) -> list[Tensor]:
    """Summed log-probability of each response [K] of each item under the policy as it is now.

    They are read from `folder` when a file of the same fingerprint lies there, so that a resumed run does not compute
    them again. What they cost counts for the run either way; a checkpoint, read later, holds it too and replaces it.
    """
    sizes = [len(item.responses) for item in items]
    kept = _read(folder / FILE, fingerprint)
    if kept is None:
        kept = _compute(policy, items, sizes, max_tokens)
        if processes.is_main():
            _write(folder, kept, fingerprint)
    if processes.is_main():
        compute.add(kept.flops, kept.tokens)
    return list(torch.split(kept.logprobs, sizes))


@dataclass(frozen=True)
class _Kept:
    """Log-probabilities [all responses], and what they cost all processes together."""

    logprobs: Tensor
    flops: float
    tokens: int


def _compute(policy: Policy, items: Sequence[Item], sizes: list[int], max_tokens: int) -> _Kept:
    cost = Compute()

    def read(packed: Packed) -> list[Tensor]:
        logprobs, _ = packed_logprobs(policy.lm, packed)
        start = policy.lm.starts_at(packed, policy.adapter)
        cost.add(forward_flops(policy.lm, packed, labels=packed.targets.numel(), start=start), packed.size)
        return [packed.summed(logprobs)]

    with policy.active():
        [summed] = read_items(items, policy.lm.device, max_tokens, read, sizes)
    flops, tokens = processes.totals(cost.flops, cost.tokens)
    return _Kept(summed.cpu(), flops, int(tokens))


def _write(folder: Path, kept: _Kept, fingerprint: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}"
    about = {"fingerprint": fingerprint, "flops": repr(kept.flops), "tokens": str(kept.tokens)}
    save_file({"logprobs": kept.logprobs}, temporary, metadata=about)
    temporary.replace(folder / FILE)


def drop_reference(folder: Path) -> None:
    """Remove what `reference_logprobs` kept; a finished run needs it no more."""
    (folder / FILE).unlink(missing_ok=True)


def _read(file: Path, fingerprint: str) -> _Kept | None:
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as opened:
            about = opened.metadata() or {}
            if about.get("fingerprint") != fingerprint:
                return None
            return _Kept(opened.get_tensor("logprobs"), float(about["flops"]), int(about["tokens"]))
    except (OSError, SafetensorError, KeyError):  # cut off, or of an older Kilter: made again
        return None
