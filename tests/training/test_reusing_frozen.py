"""Every method with adapters on the upper layers computes the layers below them once, and learns the same."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import comparisons
from torch import Tensor

from kilter.models import Item, LanguageModel
from kilter.models.flops import reading_flops
from kilter.models.scalar import ScalarModel
from kilter.training import (
    DPOSettings,
    GRPOSettings,
    KTOSettings,
    LoraSettings,
    MarkedItem,
    OnlineDPOSettings,
    PPOSettings,
    ProcessRewardSettings,
    RewardSettings,
    SFTSettings,
    SteppedItem,
    dpo,
    kto,
    make_models,
    process_reward,
    reward,
    rollout_loop,
    sft,
    train_dpo,
    train_grpo,
    train_kto,
    train_online_dpo,
    train_ppo,
    train_process_reward,
    train_reward,
    train_sft,
)
from kilter.training.loop import read_metrics

Make = Callable[..., LanguageModel]
FIRST, LAYERS = 2, 3
PROBE = 2 * 6  # tokens of the two passes that check whether layers can be left out
COMMON: dict[str, Any] = {
    "lora": LoraSettings(rank=4, alpha=8, first_layer=FIRST), "lr": 0.01, "seed": 3, "max_tokens": 64,
}  # fmt: skip
PAIRS = comparisons(6)
ITEMS = [Item(one.item.prompt, one.item.responses[:1]) for one in PAIRS]
MARKED = [MarkedItem(one, number % 2 == 0) for number, one in enumerate(ITEMS)]
STEPPED = [SteppedItem(one, (2, 6), (1.0, float(number % 2))) for number, one in enumerate(ITEMS)]
ROLLOUTS: dict[str, Any] = {
    **COMMON, "steps": 2, "prompts": 3, "samples": 4, "max_new_tokens": 6, "epochs": 2, "min_entropy": 0.0,
}  # fmt: skip
PROMPTS = ["ab", "c", "hello"]
Observed = list[tuple[list[list[int]], Any]]


def first_bytes(_: Sequence[Any], texts: Sequence[str]) -> list[float]:
    return [1 - (ord(one[0]) if one else 400) / 400 for one in texts]


def run_ppo(lm: LanguageModel, folder: Path, observe: Any) -> None:
    generator = torch.Generator().manual_seed(1)
    lm.adapters.add("reward", COMMON["lora"].config(), generator)
    for one in lm.adapters.parameters("reward"):
        one.data.add_(0.05 * torch.randn(one.shape, generator=generator))
    head = torch.nn.Parameter(torch.randn(lm.hidden_size, generator=generator))
    settings = PPOSettings(**ROLLOUTS, ptx_coef=0.0, max_kl=1e9)
    models = make_models(lm, ScalarModel(lm, "reward", head, LAYERS), settings)
    train_ppo(models, [lm.encode_prompt(one) for one in PROMPTS], settings, folder, observe=observe)


RUNS: dict[str, tuple[Any, Callable[[LanguageModel, Path, Any], Any]]] = {
    "sft": (sft, lambda lm, folder, _: train_sft(lm, ITEMS, SFTSettings(**COMMON, batch_size=4, epochs=3), folder)),
    "dpo": (dpo, lambda lm, folder, _: train_dpo(lm, PAIRS, DPOSettings(**COMMON, batch_size=4, epochs=1), folder)),
    "kto": (kto, lambda lm, folder, _: train_kto(lm, MARKED, KTOSettings(**COMMON, batch_size=4, epochs=2), folder)),
    "reward": (reward, lambda lm, folder, _: train_reward(lm, PAIRS, RewardSettings(**COMMON, batch_size=4), folder)),
    "process": (
        process_reward,
        lambda lm, folder, _: train_process_reward(
            lm, STEPPED, ProcessRewardSettings(**COMMON, batch_size=4, epochs=2), folder
        ),
    ),
    "grpo": (
        rollout_loop,
        lambda lm, folder, observe: train_grpo(
            lm, PROMPTS, first_bytes, GRPOSettings(**ROLLOUTS), folder, observe=observe
        ),
    ),
    "online": (
        rollout_loop,
        lambda lm, folder, observe: train_online_dpo(
            lm, PROMPTS, first_bytes, OnlineDPOSettings(**{**ROLLOUTS, "epochs": 1}), folder, observe=observe
        ),
    ),
    "ppo": (rollout_loop, run_ppo),
}


def read_tokens(method: str, observed: Observed, prompts: dict[int, int]) -> int:
    """Tokens of all that a run reads, each text of an item once."""
    if method in ("sft", "process"):
        return sum(one.length for one in ITEMS)
    if method in ("dpo", "reward"):
        return sum(one.item.length for one in PAIRS)
    if method == "kto":  # each prompt with its own response and the next one's
        return sum(one.length + len(ITEMS[(n + 1) % 6].responses[0]) for n, one in enumerate(ITEMS))
    return sum(prompts[n] + sum(len(r.tokens) for r in group) for numbers, groups in observed
               for n, group in zip(numbers, groups, strict=True))  # fmt: skip


def passed(lm: LanguageModel, number: int) -> list[int]:
    """Tokens of each training pass through a layer; sampling does not go through its modules."""
    seen: list[int] = []
    lm.model.base_model.layers[number].mlp.register_forward_pre_hook(lambda _, given: seen.append(given[0].shape[-2]))
    return seen


def outcome(lm: LanguageModel, folder: Path) -> tuple[list[dict[str, float]], list[Tensor]]:
    weights = [one.detach().clone() for name in lm.adapters.configs for one in lm.adapters.parameters(name)]
    return read_metrics(folder / "metrics.jsonl"), weights


@contextmanager
def naive(*_: Any, **__: Any) -> Iterator[None]:
    yield


@pytest.mark.parametrize("method", RUNS)
def test_lower_layers_are_computed_once_and_the_run_is_the_same(
    tiny_lm: Make, tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    module, run = RUNS[method]
    found, passes = [], []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr(module, "reusing_frozen", naive)
        lm = tiny_lm(layers=LAYERS)
        below, above = passed(lm, FIRST - 1), passed(lm, FIRST)
        observed: Observed = []
        folder = tmp_path / str(kept)
        run(lm, folder, lambda _, numbers, groups, seen=observed: seen.append((numbers, groups)) or {})
        assert lm.frozen is None
        prompts = {number: len(lm.encode_prompt(one)) for number, one in enumerate(PROMPTS)}
        passes.append((sum(below), sum(above), read_tokens(method, observed, prompts)))
        found.append(outcome(lm, folder))
    (below_kept, above_kept, tokens), (below_naive, above_naive, _) = passes
    assert below_kept == tokens + PROBE
    assert below_naive == above_naive
    assert below_naive >= 2 * tokens
    assert above_kept == above_naive + PROBE
    (rows, weights), (naive_rows, naive_weights) = found
    assert len(rows) == len(naive_rows) > 0
    for row, other in zip(rows, naive_rows, strict=True):
        assert row.keys() == other.keys()
        for name, value in row.items():
            assert value == pytest.approx(other[name], rel=1e-3, abs=1e-5), name
    for one, naive_one in zip(weights, naive_weights, strict=True):
        torch.testing.assert_close(one, naive_one, rtol=1e-3, atol=1e-4)


def test_the_first_gradient_is_that_of_the_naive_path(
    tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To 1e-5; later ones differ by what Adam makes of the first one's rounding."""
    for method in ("sft", "dpo", "kto", "reward", "process"):
        module, run = RUNS[method]
        rows = []
        for kept in (True, False):
            with monkeypatch.context() as patch:
                if not kept:
                    patch.setattr(module, "reusing_frozen", naive)
                folder = tmp_path / f"{method}-{kept}"
                run(tiny_lm(layers=LAYERS), folder, None)
            rows.append(read_metrics(folder / "metrics.jsonl")[0])
        for name in ("loss", "grad_norm"):
            assert rows[0][name] == pytest.approx(rows[1][name], rel=1e-5), (method, name)


def test_operations_are_those_that_were_done(tiny_lm: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two thirds of the layers below: of three passes forward, two are left out there."""
    results = []
    for kept in (True, False):
        if not kept:
            monkeypatch.setattr(sft, "reusing_frozen", naive)
        settings = SFTSettings(**COMMON, batch_size=6, epochs=3)
        results.append(train_sft(tiny_lm(layers=LAYERS), ITEMS, settings, tmp_path / str(kept)))
    saved = results[1]["flops"] - results[0]["flops"]
    assert results[0]["tokens"] == results[1]["tokens"]
    assert saved == pytest.approx(2 * reading_flops(tiny_lm(layers=LAYERS), ITEMS, FIRST), rel=1e-9)
