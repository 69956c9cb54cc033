from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from kilter.models import Item, LanguageModel
from kilter.models.estimate import PROCESS, Shape, training_memory
from kilter.training import LoraSettings, SFTSettings, prepare, train_sft
from kilter.training.loop import read_metrics

Make = Callable[..., LanguageModel]
ITEMS = [Item([4 + n, 5], [[6, 7 + n, 8, 2]]) for n in range(8)]


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)], ids=["full", "adapters"])
def test_where_memory_is_short_activations_are_computed_twice_with_the_same_result(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture,
    lora: LoraSettings | None,
) -> None:  # fmt: skip
    settings = SFTSettings(batch_size=4, lora=lora, lr=0.01)
    found = []
    for free in (1 << 40, 1 << 20):
        monkeypatch.setattr(prepare, "free_memory", lambda _, free=free: free)
        lm = tiny_lm()
        train_sft(lm, ITEMS, settings, tmp_path / str(free))
        assert lm.recompute == (free == 1 << 20)
        found.append(read_metrics(tmp_path / str(free) / "metrics.jsonl"))
    assert found[0] == found[1]
    assert caplog.text.count("Activations are computed twice") == 1


@pytest.mark.parametrize("lora", [None, LoraSettings(rank=2)], ids=["full", "adapters"])
@pytest.mark.parametrize("method", ["sft", "ppo"])
def test_what_the_optimizers_will_make_is_counted(
    tiny_lm: Make, monkeypatch: pytest.MonkeyPatch, method: str, lora: LoraSettings | None
) -> None:
    lm, settings = tiny_lm(dtype="bfloat16"), SFTSettings(lora=lora, max_tokens=64)
    rank = None if lora is None else lora.rank
    memory = training_memory(Shape.of(lm.model.config), tokens=64, longest=6, rank=rank, method=method)
    there = PROCESS + memory.weights + (memory.masters if lora is not None else 0)  # adapters are masters themselves
    for spare in (1 << 12, -1 << 12):
        free = (memory.total - there + spare) / prepare.SLACK
        monkeypatch.setattr(prepare, "free_memory", lambda _, free=free: free)
        prepare.prepare(settings, lora, ITEMS, lm, method=method)
        assert lm.recompute == (spare < 0)


def test_where_the_system_cannot_tell_nothing_changes(tiny_lm: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prepare, "free_memory", lambda _: None)
    lm = tiny_lm()
    prepare.prepare(SFTSettings(), LoraSettings(), ITEMS, lm)
    assert not lm.recompute
