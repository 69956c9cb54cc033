"""Log-probabilities under the reference, computed once and kept on disk."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from kilter.models import Item, packed_logprobs, processes
from kilter.training.policy import Policy
from kilter.training.shares import read_items

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
        with policy.active():
            [summed] = read_items(
                items, policy.lm.device, max_tokens,
                lambda packed: [packed.summed(packed_logprobs(policy.lm, packed)[0])], sizes,
            )  # fmt: skip
        kept = summed.cpu()
        if processes.is_main():
            _write(folder, kept, fingerprint)
    return list(torch.split(kept, sizes))


def _write(folder: Path, kept: Tensor, fingerprint: str) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    temporary = folder / f".{FILE}"
    save_file({"logprobs": kept}, temporary, metadata={"fingerprint": fingerprint})
    temporary.replace(folder / FILE)


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
