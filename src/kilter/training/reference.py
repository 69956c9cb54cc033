"""Log-probabilities under the reference, computed once and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kilter.models import Item, micro_batches, pack, packed_logprobs
from kilter.training.policy import Policy

FILE = "reference.safetensors"


@torch.no_grad()
def reference_logprobs(
    policy: Policy, items: Sequence[Item], folder: Path, fingerprint: str, max_tokens: int
) -> list[Tensor]:
    """Summed log-probability of each response [K] of each item under the policy as it is now.

    They are read from `folder` when a file of the same fingerprint lies there, so that a resumed run does not compute
    them again.
    """
    sizes = [len(item.responses) for item in items]
    kept = _read(folder / FILE, fingerprint)
    if kept is None:
        kept = torch.empty(sum(sizes))
        first = torch.tensor([0, *sizes]).cumsum(0).tolist()
        for indices in micro_batches([item.length for item in items], max_tokens):
            packed = pack([items[index] for index in indices], policy.lm.device)
            with policy.active():
                logprobs, _ = packed_logprobs(policy.lm, packed)
            summed = packed.summed(logprobs)
            for index, part in zip(
                indices, torch.split(summed.cpu(), [sizes[index] for index in indices]), strict=True
            ):
                kept[first[index] : first[index + 1]] = part
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / f".{FILE}"
        save_file({"logprobs": kept}, temporary, metadata={"fingerprint": fingerprint})
        temporary.replace(folder / FILE)
    return list(torch.split(kept, sizes))


def drop_reference(folder: Path) -> None:
    """Remove what `reference_logprobs` kept; a finished run needs it no more."""
    (folder / FILE).unlink(missing_ok=True)


def _read(file: Path, fingerprint: str) -> Tensor | None:
    if not file.exists():
        return None
    try:
        with safe_open(file, "pt") as opened:
            same = (opened.metadata() or {}).get("fingerprint") == fingerprint
            return opened.get_tensor("logprobs") if same else None
    except (OSError, SafetensorError):  # cut off: made again
        return None
