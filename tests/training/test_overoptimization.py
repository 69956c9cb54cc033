from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import SettingsError
from kilter.models import LanguageModel
from kilter.training import GRPOSettings, LoraSettings, PPOSettings, train_grpo
from kilter.training.loop import read_metrics
from kilter.training.overoptimization import WINDOW, best_window, have_parted, linear

Make = Callable[..., LanguageModel]
PROMPTS = ["ab", "c", "hello", "x y"]
FAST: dict[str, Any] = {
    "lr": 0.02, "steps": 12, "prompts": 4, "samples": 8, "max_new_tokens": 5, "lora": LoraSettings(rank=4, alpha=8),
    "warmup": 0.0, "seed": 1, "min_entropy": 0.0, "kl_coef": 0.0, "max_kl": 1e6,
}  # fmt: skip


def low_bytes(prompts: list[Any], responses: list[str]) -> list[float]:
    return [1 - (ord(one[0]) if one else 400) / 400 for one in responses]


def test_best_window_is_that_of_the_highest_mean() -> None:
    assert best_window([1.0, 2.0]) == 2
    rising = [float(one) for one in range(20)]
    assert best_window(rising) == 20
    assert best_window(rising + rising[::-1]) in (22, 23)
    assert best_window(rising[::-1]) == WINDOW


def test_a_judge_that_falls_while_the_reward_rises_has_parted_and_noise_has_not() -> None:
    generator = torch.Generator().manual_seed(0)
    noise = (0.05 * torch.randn(200, 40, generator=generator)).tolist()
    rising = [0.1 * step for step in range(40)]
    falling = [1 - 0.1 * max(0, step - 15) for step in range(40)]
    both = [sum(have_parted(rising[:end], row[:end]) for end in range(1, 41)) for row in noise]
    assert sum(count > 0 for count in both) <= 10  # of two hundred whole runs in which nothing happened
    hacked = [[a + b for a, b in zip(falling, row, strict=True)] for row in noise]
    parted = [next(end for end in range(1, 41) if have_parted(rising[:end], row[:end])) for row in hacked]
    assert 17 <= sorted(parted)[100] <= 26
    assert not have_parted([-one for one in rising], falling)  # the reward fell too: that is something else


def test_the_kl_weight_goes_linearly_to_its_end() -> None:
    assert [linear(0.4, 0.0, step, 5) for step in range(5)] == pytest.approx([0.4, 0.3, 0.2, 0.1, 0.0])
    assert linear(0.4, None, 3, 5) == 0.4


def test_the_run_ends_where_the_judge_was_content_and_keeps_that_policy(tiny_lm: Make, tmp_path: Path) -> None:
    kept: dict[int, list[torch.Tensor]] = {}
    lm = tiny_lm()

    def observe(step: int, numbers: Sequence[int], responses: Any) -> dict[str, float]:
        kept[step] = [one.detach().clone() for one in lm.adapters.parameters("grpo")]
        return {"gold": float(min(step, 14 - step))}  # best in the window that ends with step 9

    settings = GRPOSettings(**{**FAST, "steps": 30}, monitor="gold", patience=4)
    result = train_grpo(lm, PROMPTS, low_bytes, settings, tmp_path, observe=observe)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert len(rows) == result["steps"] == 14
    assert result["stopped"] == "'gold' was highest 4 steps ago"
    assert result["kept_step"] == 9
    assert result["reward"] == rows[9]["reward"] != rows[13]["reward"]
    for ours, theirs in zip(lm.adapters.parameters("grpo"), kept[9], strict=True):
        assert torch.equal(ours, theirs)
    assert not torch.equal(kept[9][0], kept[13][0])


def test_hacking_is_named_and_a_second_run_says_the_same(tiny_lm: Make, tmp_path: Path) -> None:
    def observe(step: int, numbers: Sequence[int], responses: Any) -> dict[str, float]:
        return {"gold": 1.0 - 0.2 * max(0, step - 7)}

    settings = GRPOSettings(**{**FAST, "steps": 16}, monitor="gold")
    first = train_grpo(tiny_lm(), PROMPTS, low_bytes, settings, tmp_path, observe=observe)
    assert 9 <= first["hacking_from_step"] <= 13
    assert first == train_grpo(tiny_lm(), PROMPTS, low_bytes, settings, tmp_path, observe=observe)


def test_the_run_ends_at_the_kl_asked_for(tiny_lm: Make, tmp_path: Path) -> None:
    result = train_grpo(tiny_lm(), PROMPTS, low_bytes, GRPOSettings(**FAST, stop_kl=0.5), tmp_path)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert 1 < len(rows) < 12
    assert result["kl"] == rows[-1]["kl"] > 0.5
    assert all(row["kl"] <= 0.5 for row in rows[:-1])


def test_what_length_costs_makes_responses_short(tiny_lm: Make, tmp_path: Path) -> None:
    lengths = []
    for cost in (3.0, -3.0):
        settings = GRPOSettings(**{**FAST, "samples": 64, "max_new_tokens": 8, "steps": 15}, length_coef=cost)
        train_grpo(tiny_lm(), PROMPTS, lambda p, r: [0.0] * len(r), settings, tmp_path / str(cost))
        lengths.append(read_metrics(tmp_path / str(cost) / "metrics.jsonl")[-1]["length"])
    assert lengths[0] < 0.6 * lengths[1]


def test_a_judge_that_nobody_gives_is_an_error(tiny_lm: Make, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="monitor names 'gold', but observe returned nothing"):
        train_grpo(tiny_lm(), PROMPTS, low_bytes, GRPOSettings(**FAST, monitor="gold"), tmp_path)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"patience": 3}, "patience has no effect without monitor"),
        ({"kl_target": 3.0, "kl_coef_end": 0.0}, "give one"),
    ],
)
def test_settings_that_have_no_effect_are_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        PPOSettings(**settings)
