from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from planted import LIKED, comparisons
from torch import Tensor

from kilter.errors import DataError, KilterError, TrainingStopped
from kilter.models import Item, LanguageModel, LoraConfig, pack
from kilter.models.scalar import ScalarModel
from kilter.training import (
    LoraSettings,
    Policy,
    RankedItem,
    RewardSettings,
    pair_margins,
    reward,
    reward_scores,
    train_reward,
)
from kilter.training.loop import Loop, read_metrics

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
FAST: dict[str, Any] = {"lr": 0.01, "batch_size": 8, "lora": LORA, "seed": 5, "probe": False, "pooling": "last"}


def started(lm: LanguageModel, seed: int = 0) -> ScalarModel:
    """A reward model whose head and adapter already say something."""
    lm.adapters.add("reward", LoraConfig(2, 4.0, ("q_proj", "up_proj")), torch.Generator().manual_seed(seed))
    model = ScalarModel.create(lm, "reward")
    for index, parameter in enumerate(model.parameters()):
        parameter.data.add_(0.2 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
    return model


def gradients(model: ScalarModel) -> Tensor:
    return torch.cat([one.grad.flatten() for one in model.parameters() if one.grad is not None])


def test_learns_a_planted_preference_and_generalizes(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    heldout = comparisons(64, first=10_000)
    model, result = train_reward(lm, comparisons(160), RewardSettings(**FAST, epochs=2), tmp_path, heldout=heldout)
    margins = torch.cat(pair_margins(model, heldout))
    assert margins.shape == (256,)
    assert result["heldout_accuracy"] == pytest.approx(float((margins > 0).float().mean()))
    assert result["heldout_accuracy"] > 0.9
    assert result["accuracy"] > 0.6
    assert result["steps"] == 40


def test_the_first_loss_is_that_of_a_coin_and_scores_end_normalized(tiny_lm: Make, tmp_path: Path) -> None:
    items = comparisons(24)
    model, _ = train_reward(tiny_lm(), items, RewardSettings(**FAST, smoothing=0.0), tmp_path)
    assert read_metrics(tmp_path / "metrics.jsonl")[0]["loss"] == pytest.approx(math.log(2), rel=1e-6)
    scores = torch.cat(reward_scores(model, [one.item for one in items]))
    assert float(scores.mean()) == pytest.approx(0, abs=1e-4)
    assert float(scores.std()) == pytest.approx(1, rel=1e-4)


def test_a_batchs_loss_and_gradient_are_those_of_all_pairs_one_by_one(tiny_lm: Make, tmp_path: Path) -> None:
    """Each pair in a forward pass of its own; every prompt has the same say however many pairs it has."""
    items = comparisons(3)
    items.append(RankedItem(Item([70, 71], [[LIKED, 2], [80, 81, 2], [82, 2]]), ((0, 2),)))
    items.append(RankedItem(Item([70, 71], [[72, 2], [73, 2], [74, 2]]), ((1, 2),), ((0, 1),)))  # whose tie is left out
    model = started(tiny_lm())
    loop = Loop(tmp_path, "reward", 1, "print", {})
    settings = RewardSettings(**FAST, smoothing=0.1)
    loss, accuracy, margin = reward._accumulate(model, items, settings, loop)
    ours = gradients(model)
    model.lm.model.zero_grad()
    model.head.grad = None
    total, right, margins = torch.zeros(()), 0, []
    for one in items:
        for winner, loser in one.pairs:
            packed = pack([Item(one.item.prompt, [one.item.responses[place]]) for place in (winner, loser)])
            better, worse = model.values(packed, packed.ends)
            p = torch.sigmoid(better - worse)
            total = total - (0.9 * p.log() + 0.1 * (1 - p).log()) / len(one.pairs) / 5
            right += bool(better > worse)
            margins.append(float((better - worse).detach()))
    total.backward()  # type: ignore[no-untyped-call]
    assert loss == pytest.approx(float(total.detach()), rel=1e-5)
    assert accuracy == pytest.approx(right / len(margins))
    assert margin == pytest.approx(sum(margins) / len(margins), rel=1e-4)
    assert float((ours - gradients(model)).norm() / ours.norm()) < 1e-5


def test_ties_and_margins_enter_the_loss(tiny_lm: Make, tmp_path: Path) -> None:
    replies = [[LIKED, 2], [80, 81, 2], [82, 2]]
    items = [
        RankedItem(Item([70], replies), ((0, 2),), ((0, 1),), 0.7),
        RankedItem(Item([71], replies[1:]), (), ((0, 1),)),
    ]
    model, tie = started(tiny_lm()), 0.25
    settings = RewardSettings(**FAST, smoothing=0.0, ties=tie)
    loss, accuracy, margin = reward._accumulate(model, items, settings, Loop(tmp_path, "reward", 1, "print", {}))
    first, second = (one.double() for one in reward_scores(model, [one.item for one in items]))
    nu = 2 * tie / (1 - tie)

    def shares(difference: Tensor) -> list[float]:
        won, lost = math.exp(difference / 2), math.exp(-difference / 2)
        return [one / (won + lost + nu) for one in (won, lost, nu)]

    won, tied = math.log(shares(first[0] - first[2] - 0.7)[0]), math.log(shares(first[0] - first[1])[2])
    alone = math.log(shares(second[0] - second[1])[2])
    assert loss == pytest.approx(-(won / 2 + tied / 2 + alone) / 2, rel=1e-5)
    assert accuracy == float(first[0] > first[2])
    assert margin == pytest.approx(float(first[0] - first[2]), rel=1e-4)


def test_ties_bring_the_scores_of_equals_together(tiny_lm: Make, tmp_path: Path) -> None:
    """Two liked tokens are worth the same, but only one of them ever won."""
    items = []
    for number in range(60):
        a, b, none = ([60 + number, token, 2] for token in (LIKED, LIKED + 1, 100))
        items.append(RankedItem(Item([70 + number % 9], [a, none]), ((0, 1),)))
        items.append(RankedItem(Item([70 + number % 9], [a, b]), (), ((0, 1),)))
    gaps = []
    for ties in (0.0, 0.5):
        model, _ = train_reward(tiny_lm(), items, RewardSettings(**FAST, epochs=3, ties=ties), tmp_path / str(ties))
        a, none = reward_scores(model, [items[0].item])[0].tolist()
        b = float(reward_scores(model, [items[1].item])[0][1])
        gaps.append((a - b) / (a - none))
    assert gaps[1] < 0.5 * gaps[0]


def test_the_probe_minimizes_the_penalized_loss_on_the_trunk_as_it_is(tiny_lm: Make) -> None:
    items = [*comparisons(30), RankedItem(Item([70, 71], [[LIKED, 2], [80, 81, 2], [82, 2]]), ((0, 2),))]
    model = ScalarModel.create(tiny_lm(), None, None, "mean")
    reward.fit_head(model, items, 100)
    features = [model.features(pack([one.item])).detach().double() for one in items]
    pairs = [
        (one[i] - one[j], 1 / len(row.pairs)) for one, row in zip(features, items, strict=True) for i, j in row.pairs
    ]
    x = torch.stack([difference for difference, _ in pairs])
    weight = torch.tensor([share for _, share in pairs]).double()
    scale = x.square().mean(0).sqrt()
    head = (model.head.detach().double() * scale).requires_grad_()
    loss = (torch.nn.functional.softplus(-(x / scale) @ head) * weight).sum()
    (loss + len(head) / 2 * head.square().sum()).backward()  # type: ignore[no-untyped-call]
    assert head.grad is not None
    assert float(head.grad.norm()) < 1e-3 * len(head) * float(head.detach().norm())
    assert float(loss.detach() / weight.sum()) < math.log(2) - 0.05


def test_training_starts_from_the_probe(tiny_lm: Make, tmp_path: Path) -> None:
    settings = RewardSettings(**{**FAST, "lr": 1e-9, "probe": True, "pooling": "mean"}, smoothing=0.0)
    train_reward(tiny_lm(), comparisons(24), settings, tmp_path)
    assert all(row["loss"] < math.log(2) - 0.01 for row in read_metrics(tmp_path / "metrics.jsonl"))


def test_micro_batches_add_up(tiny_lm: Make, tmp_path: Path) -> None:
    items = comparisons(5)
    items.append(RankedItem(Item([70], [[LIKED, 2], [80, 81, 2]]), ((0, 1),)))
    found = []
    for max_tokens in (4096, 40, 16):
        model = started(tiny_lm())
        settings = RewardSettings(**FAST, max_tokens=max_tokens)
        loss, _, _ = reward._accumulate(model, items, settings, Loop(tmp_path, "reward", 1, "print", {}))
        found.append((loss, gradients(model)))
    for loss, gradient in found[1:]:
        assert loss == pytest.approx(found[0][0], rel=1e-6)
        assert float((gradient - found[0][1]).norm() / gradient.norm()) < 1e-5


def test_scores_do_not_depend_on_what_shares_the_batch(tiny_lm: Make) -> None:
    model = started(tiny_lm())
    items = [one.item for one in comparisons(6)]
    for together, alone in zip(reward_scores(model, items), reward_scores(model, items, 1), strict=True):
        torch.testing.assert_close(together, alone, rtol=1e-4, atol=1e-5)
    assert [tuple(one.shape) for one in reward_scores(model, items)] == [(4,)] * 6


def test_ties_have_no_margins(tiny_lm: Make) -> None:
    model = started(tiny_lm())
    tie = RankedItem(Item([70, 71], [[72, 2], [73, 2]]), ())
    one = comparisons(1)[0]
    margins = pair_margins(model, [tie, one])
    assert [len(found) for found in margins] == [0, 4]
    scores = reward_scores(model, [one.item])[0]
    expected = [float(scores[i] - scores[j]) for i, j in one.pairs]
    assert margins[1].tolist() == pytest.approx(expected, abs=1e-5)


def test_the_saved_model_gives_the_same_scores_on_a_fresh_trunk(tiny_lm: Make, tmp_path: Path) -> None:
    items = comparisons(16)
    model, _ = train_reward(tiny_lm(), items, RewardSettings(**FAST), tmp_path)
    again = ScalarModel.load(tiny_lm(), tmp_path / "model", "judge")
    for a, b in zip(
        reward_scores(model, [one.item for one in items]),
        reward_scores(again, [one.item for one in items]),
        strict=True,
    ):
        assert torch.equal(a, b)


def test_starts_from_the_active_adapter_and_leaves_it_active_and_untouched(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    policy = Policy.create(lm, "sft", LORA, 0)
    for parameter in policy.parameters():
        parameter.data.add_(0.01)
    kept = [one.detach().clone() for one in policy.parameters()]
    model, _ = train_reward(lm, comparisons(16), RewardSettings(**FAST), tmp_path)
    assert lm.adapters.active == "sft"
    assert model.adapter == "reward"
    assert all(torch.equal(a, b) for a, b in zip(kept, policy.parameters(), strict=True))
    assert not all(torch.equal(a, b) for a, b in zip(kept, lm.adapters.parameters("reward"), strict=True))


def test_the_former_adapter_is_active_again_after_a_failure(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    Policy.create(lm, "sft", LORA, 0)

    def stop(*_: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_reward(lm, comparisons(16), RewardSettings(**FAST), tmp_path, progress=stop)
    assert lm.adapters.active == "sft"


@pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
@pytest.mark.parametrize("layers", [None, 1])
def test_a_finished_run_gives_its_result_without_training(
    tiny_lm: Make, tmp_path: Path, lora: Any, layers: int | None
) -> None:
    settings = RewardSettings(**{**FAST, "lora": lora, "lr": 1e-3, "layers": layers})
    items = comparisons(16)
    model, result = train_reward(tiny_lm(), items, settings, tmp_path)
    assert model.layers == (layers or 2)

    def fail(*_: Any) -> None:
        raise AssertionError("nothing should train here")

    again, stored = train_reward(tiny_lm(), items, settings, tmp_path, progress=fail)
    assert stored == result
    inputs = [one.item for one in items]
    assert all(
        torch.equal(a, b) for a, b in zip(reward_scores(model, inputs), reward_scores(again, inputs), strict=True)
    )


def test_a_reward_model_that_was_trained_whole_brings_its_trunk(tiny_lm: Make, tmp_path: Path) -> None:
    """Its head on anybody else's trunk would give scores of nothing."""
    lm, items = tiny_lm(), comparisons(16)
    model, _ = train_reward(lm, items, RewardSettings(**{**FAST, "lora": None, "lr": 1e-3}), tmp_path)
    inputs = [one.item for one in items]
    expected = reward_scores(model, inputs)
    other = tiny_lm()
    loaded = ScalarModel.load(other, tmp_path / "model", "reward")
    assert loaded.lm is not other
    for ours, theirs in zip(reward_scores(loaded, inputs), expected, strict=True):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-4)
    assert ScalarModel.load(loaded.lm, tmp_path / "model", "reward").lm is loaded.lm


def test_reading_more_layers_than_there_are_is_refused(tiny_lm: Make, tmp_path: Path) -> None:
    with pytest.raises(KilterError, match="layers"):
        train_reward(tiny_lm(), comparisons(8), RewardSettings(**FAST, layers=3), tmp_path)


def test_data_without_a_preference_are_refused(tiny_lm: Make, tmp_path: Path) -> None:
    tie = RankedItem(Item([70, 71], [[72, 2], [73, 2]]), ())
    with pytest.raises(DataError, match="all are ties"):
        train_reward(tiny_lm(), [tie, tie], RewardSettings(**FAST), tmp_path)
    with pytest.raises(DataError, match="data set is empty"):
        train_reward(tiny_lm(), [], RewardSettings(**FAST), tmp_path)


def test_a_batch_of_ties_among_others_does_not_stop_the_run(tiny_lm: Make, tmp_path: Path) -> None:
    tie = RankedItem(Item([70, 71], [[72, 2], [73, 2]]), ())
    settings = RewardSettings(**{**FAST, "batch_size": 1, "epochs": 1})
    _, result = train_reward(tiny_lm(), [*comparisons(3), tie], settings, tmp_path, heldout=[tie])
    assert "heldout_accuracy" not in result


def test_a_model_that_is_not_finite_stops(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.model.base_model.norm.weight.data[3] = float("nan")
    with pytest.raises(TrainingStopped, match="at step 0 is"):
        train_reward(lm, comparisons(8), RewardSettings(**FAST), tmp_path)
