from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, score
from kilter.training import KTOSettings, LoraSettings, MarkedItem, Policy, kto, train_kto
from kilter.training.loop import Loop, read_metrics

Make = Callable[..., LanguageModel]
LIKED = 50
FAST: dict[str, Any] = {"lr": 0.01, "batch_size": 8, "lora": LoraSettings(rank=4, alpha=8), "seed": 5}


def marked(count: int) -> list[MarkedItem]:
    """Every third response holds the liked token and is desirable."""
    items = []
    for number in range(count):
        generator = torch.Generator().manual_seed(number)
        prompt = torch.randint(60, 120, (4,), generator=generator).tolist()
        response = torch.randint(60, 120, (6,), generator=generator).tolist()
        if number % 3 == 0:
            response[int(torch.randint(6, (1,), generator=generator))] = LIKED
        items.append(MarkedItem(Item(prompt, [[*response, 2]]), number % 3 == 0))
    return items


def test_parts_desirable_from_undesirable(tiny_lm: Make, tmp_path: Path) -> None:
    result = train_kto(tiny_lm(), marked(96), KTOSettings(**FAST, epochs=3), tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert abs(rows[0]["desirable"]) < 1e-3
    assert rows[0]["reference_point"] == pytest.approx(0, abs=1e-3)
    assert result["desirable"] > result["undesirable"] + 1
    assert result["loss"] < rows[0]["loss"]


def test_the_reference_point_is_the_mean_over_strangers_and_never_negative(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    policy = Policy.create(lm, "kto", FAST["lora"], 0)
    items = [one.item for one in marked(5)]
    own = torch.stack([one.logprobs[0].sum() for one in score(lm, items)])
    loop = Loop(tmp_path, "kto", 1, "print", {})
    for shift, expected in ((1.5, 1.5), (-1.5, 0.0)):
        reference = list(own - shift)
        for max_tokens in (4096, 16):
            settings = KTOSettings(**FAST, max_tokens=max_tokens)
            found = kto._reference_point(policy, items, reference, settings, loop)
            assert found == pytest.approx(expected, abs=1e-4)


def test_micro_batches_add_up(tiny_lm: Make, tmp_path: Path) -> None:
    found = []
    for max_tokens in (4096, 16):
        lm = tiny_lm()
        policy = Policy.create(lm, "kto", FAST["lora"], 0)
        batch = [(one, torch.tensor(-20.0)) for one in marked(6)]
        settings = KTOSettings(**FAST, max_tokens=max_tokens)
        metrics = kto._accumulate(policy, batch, 0.5, 2.0, settings, Loop(tmp_path, "kto", 1, "print", {}))
        gradient = torch.cat([one.grad.flatten() for one in policy.parameters() if one.grad is not None])
        found.append((metrics["loss"], gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-5)
    assert float((found[0][1] - found[1][1]).norm() / found[0][1].norm()) < 1e-5


def test_one_kind_alone_is_refused(tiny_lm: Make, tmp_path: Path) -> None:
    alike = [MarkedItem(one.item, True) for one in marked(4)]
    with pytest.raises(DataError, match="4 of the 4 given are desirable"):
        train_kto(tiny_lm(), alike, KTOSettings(**FAST), tmp_path)
