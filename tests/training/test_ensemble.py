from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest
import torch
from planted import comparisons

from kilter.errors import ModelError
from kilter.models import Item, LanguageModel, pack
from kilter.models.ensemble import FILE, Combine, RewardEnsemble, disagreement, load_reward_model
from kilter.training import (
    EnsembleSettings,
    GRPOSettings,
    LoraSettings,
    PPOSettings,
    make_models,
    reward_scores,
    train_ensemble,
    train_grpo,
    train_ppo,
)
from kilter.training.loop import read_metrics

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=2, alpha=4)
FAST: dict[str, Any] = {"lr": 0.01, "batch_size": 8, "lora": LORA, "seed": 5, "members": 3}
PACKED = pack([Item([70, 71], [[50, 80, 2], [90, 2]]), Item([72], [[95, 96, 2]])])
POLICY: dict[str, Any] = {
    "steps": 1, "prompts": 2, "samples": 2, "max_new_tokens": 5, "lora": LORA, "seed": 1, "min_entropy": 0.0,
}  # fmt: skip


@pytest.fixture
def trained(tiny_lm: Make, tmp_path: Path) -> tuple[LanguageModel, RewardEnsemble, Path]:
    lm = tiny_lm()
    model, _ = train_ensemble(lm, comparisons(16), EnsembleSettings(**FAST), tmp_path)
    return lm, model, tmp_path / "model"


def test_it_learns_and_says_where_it_is_sure(tiny_lm: Make, tmp_path: Path) -> None:
    settings = EnsembleSettings(**FAST, epochs=3, combine="mean")
    heldout = comparisons(200, first=9_000)
    model, result = train_ensemble(tiny_lm(), comparisons(96), settings, tmp_path, heldout=heldout)
    assert len(model.members) == 3
    assert result["heldout_accuracy"] > 0.62
    assert result["heldout_accuracy"] >= result["member_accuracy"] - 0.02
    assert result["sure_accuracy"] > result["unsure_accuracy"]
    mean = (result["sure_accuracy"] + result["unsure_accuracy"]) / 2
    assert mean == pytest.approx(result["heldout_accuracy"], abs=0.02)


def test_members_differ_and_their_units_agree(trained: tuple[LanguageModel, RewardEnsemble, Path]) -> None:
    _, model, _ = trained
    opinions = model.opinions(PACKED)
    assert opinions.shape == (3, 3)
    assert float(opinions.detach().std(0).min()) > 1e-3
    for member in model.members:
        scores = torch.cat(reward_scores(member, [one.item for one in comparisons(16)]))
        assert (float(scores.mean()), float(scores.std())) == (pytest.approx(0, abs=1e-4), pytest.approx(1, rel=1e-4))


def test_the_combinations_are_what_they_say() -> None:
    opinions = torch.tensor([[1.0, 2.0], [3.0, 2.0], [5.0, -4.0]])
    expected = {"mean": [3.0, 0.0], "worst": [1.0, -4.0], "penalized": [3 - 0.5 * 8 / 3, -0.5 * 8.0]}
    assert set(expected) == set(get_args(Combine))
    for combine, values in expected.items():
        assert RewardEnsemble([], combine, 0.5).combined(opinions).tolist() == pytest.approx(values)  # type: ignore[arg-type]


def test_saved_and_loaded_it_scores_the_same(
    trained: tuple[LanguageModel, RewardEnsemble, Path], tiny_lm: Make
) -> None:
    _, model, folder = trained
    loaded = load_reward_model(tiny_lm(), folder)
    assert isinstance(loaded, RewardEnsemble)
    scores, spread = disagreement(loaded, PACKED)
    torch.testing.assert_close(scores, model.scores(PACKED))
    torch.testing.assert_close(spread, model.opinions(PACKED).std(0, unbiased=False))
    alone, none = disagreement(model.members[0], PACKED)
    assert none is None
    torch.testing.assert_close(alone, model.members[0].scores(PACKED))


def test_a_second_run_does_nothing_and_gives_the_same(tiny_lm: Make, tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        model, _ = train_ensemble(tiny_lm(), comparisons(16), EnsembleSettings(**FAST), tmp_path)
        found.append(model.scores(PACKED))
        written = [file.stat().st_mtime_ns for file in sorted(tmp_path.glob("member-*/metrics.jsonl"))]
        found.append(written)
    assert torch.equal(found[0], found[2])
    assert found[1] == found[3]


def test_ppo_and_grpo_learn_from_it_and_log_how_far_it_disagrees(
    trained: tuple[LanguageModel, RewardEnsemble, Path], tmp_path: Path
) -> None:
    lm, model, _ = trained
    prompts = [lm.encode_prompt(text) for text in ("ab", "c")]
    ppo = PPOSettings(**POLICY, ptx_coef=0.0)
    train_ppo(make_models(lm, model, ppo), prompts, ppo, tmp_path / "ppo")
    lm.adapters.activate(None)
    train_grpo(lm, ["ab", "c"], model, GRPOSettings(**POLICY), tmp_path / "grpo")
    for name in ("ppo", "grpo"):
        [row] = read_metrics(tmp_path / name / "metrics.jsonl")
        assert row["reward_disagreement"] > 0


def test_a_broken_description_is_an_error(trained: tuple[LanguageModel, RewardEnsemble, Path], tiny_lm: Make) -> None:
    _, _, folder = trained
    (folder / FILE).write_text("{}")
    with pytest.raises(ModelError, match="does not describe an ensemble"):
        load_reward_model(tiny_lm(), folder)


@pytest.mark.parametrize(
    ("settings", "words"),
    [({"penalty": 0.2}, "penalty has no effect with combine: worst"), ({"lora": None}, "needs adapters")],
)
def test_what_has_no_effect_is_refused(settings: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        EnsembleSettings(**settings)
