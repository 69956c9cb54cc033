from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import DataError
from kilter.models import LanguageModel, sample
from kilter.training import BestOfNSettings, LoraSettings, best_of_n, train_best_of_n

Make = Callable[..., LanguageModel]
PROMPTS = ["ab", "c", "hello", "x y"]
FAST: dict[str, Any] = {
    "lr": 0.02, "batch_size": 4, "epochs": 4, "samples": 24, "max_new_tokens": 8, "seed": 1,
    "lora": LoraSettings(rank=4, alpha=8),
}  # fmt: skip


def shorter(prompts: list[Any], responses: list[str]) -> list[float]:
    return [-float(len(one)) for one in responses]


def mean_length(lm: LanguageModel) -> float:
    drawn = sample(lm, [lm.encode_prompt(one) for one in PROMPTS], n=50, max_new_tokens=8, seed=9)
    return sum(len(one.text) for group in drawn for one in group) / (50 * len(PROMPTS))


def test_rounds_of_expert_iteration_raise_the_reward(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    before = mean_length(lm)
    result = train_best_of_n(lm, PROMPTS, shorter, BestOfNSettings(**FAST, rounds=3), tmp_path)
    rounds = result["rounds"]
    assert len(rounds) == 3
    assert all(one["best"] > one["mean"] and 0 < one["kept"] <= len(PROMPTS) for one in rounds)
    assert rounds[-1]["mean"] > rounds[0]["mean"]
    assert mean_length(lm) < before
    assert json.loads((tmp_path / "result.json").read_text())["rounds"] == rounds


def test_what_is_kept_is_each_prompts_best_finished_sample(tiny_lm: Make) -> None:
    lm = tiny_lm()
    encoded = [lm.encode_prompt(one) for one in PROMPTS]
    settings = BestOfNSettings(**FAST)
    kept = best_of_n._choose(lm, PROMPTS, encoded, best_of_n.as_weighted(shorter), settings, 0)
    seed = best_of_n.derive_seed(settings.seed, "best-of-n", 0, 0)
    drawn = sample(lm, encoded, n=24, max_new_tokens=8, seed=seed)
    for number, tokens in kept["items"]:
        ended = [one for one in drawn[number] if one.finished]
        assert len(lm.decode(tokens)) == min(len(one.text) for one in ended)
        assert tokens[-1] in lm.eos_ids


def test_a_killed_run_neither_samples_nor_trains_twice(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = BestOfNSettings(**FAST, rounds=2)
    whole, again = tiny_lm(), tiny_lm()
    train_best_of_n(whole, PROMPTS, shorter, settings, tmp_path / "whole")

    class Killed(Exception):
        pass

    def kill(stage: str, step: int, total: int, metrics: Any) -> None:
        if (tmp_path / "killed" / "round-2").exists():
            raise Killed

    with pytest.raises(Killed):
        train_best_of_n(tiny_lm(), PROMPTS, shorter, settings, tmp_path / "killed", progress=kill)
    monkeypatch.setattr(best_of_n, "sample_together", lambda *_, **__: pytest.fail("sampled again"))
    train_best_of_n(again, PROMPTS, shorter, settings, tmp_path / "killed")
    one, other = (lm.adapters.parameters(str(lm.adapters.active)) for lm in (whole, again))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_samples_that_teach_nothing_are_refused(tiny_lm: Make, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="all 24 got the same reward"):
        train_best_of_n(tiny_lm(), PROMPTS, lambda p, r: [1.0] * len(r), BestOfNSettings(**FAST), tmp_path)
