from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import DataError, TrainingStopped
from kilter.models import Item, LanguageModel, load, score
from kilter.training import LoraSettings, Policy, SFTSettings, mean_loss, sft, train_sft
from kilter.training.loop import Loop, read_metrics

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
FAST: dict[str, Any] = {"lr": 0.02, "batch_size": 8, "lora": LORA, "seed": 3}


def demonstrations(count: int, first: int = 0) -> list[Item]:
    """Whatever the prompt says, the reply is the same."""
    items = []
    for number in range(first, first + count):
        prompt = torch.randint(3, 40, (3,), generator=torch.Generator().manual_seed(number)).tolist()
        items.append(Item(prompt, [[10, 11, 12, 2]]))
    return items


def fail(*_: Any) -> None:
    raise AssertionError("nothing should train here")


def test_learns_what_is_shown_and_reports_it(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    items, heldout = demonstrations(64), demonstrations(16, first=1000)
    before = mean_loss(lm, heldout)
    result = train_sft(lm, items, SFTSettings(**FAST, epochs=4), tmp_path, heldout=heldout)
    assert result["heldout_loss_before"] == before
    assert result["heldout_loss_after"] == mean_loss(lm, heldout)
    assert result["heldout_loss_after"] < 0.5 * before
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert result["steps"] == len(rows) == 32
    assert result["loss"] == rows[-1]["loss"] < 0.5 * rows[0]["loss"]
    assert result["tokens"] == 32 * 8 * 7
    assert result["flops"] > 0
    assert lm.adapters.active == "sft"


def test_the_first_loss_is_the_mean_over_the_batchs_tokens(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    items = [
        Item([5], [[6, 7, 8, 9, 10, 11, 2]]),
        Item([12, 13], [[14, 2]], [[True, False]]),
        Item([15], [[2]]),
    ]
    logprobs = torch.cat([one for scores in score(lm, items) for one in scores.logprobs])
    result = train_sft(lm, items, SFTSettings(**{**FAST, "batch_size": 3}), tmp_path)
    assert len(logprobs) == 9
    assert result["loss"] == pytest.approx(-float(logprobs.mean()), rel=1e-5)


@pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
def test_micro_batches_add_up_to_the_whole_batchs_gradient(tiny_lm: Make, tmp_path: Path, lora: Any) -> None:
    """Exact under any split: responses of different lengths, masks, and one with nothing to learn."""
    items = [
        Item([5, 6], [[7] * length + [2]], [[place % 2 == 0 for place in range(length + 1)]])
        for length in (1, 30, 3, 12)
    ]
    items.append(Item([5] * 20, [[6] * 4], [[False] * 4]))
    found = []
    for max_tokens in (4096, 16):
        lm = tiny_lm()
        policy = Policy.create(lm, "sft", lora, 0)
        for index, parameter in enumerate(policy.parameters() if lora is not None else []):
            parameter.data.add_(0.1 * torch.randn(parameter.shape, generator=torch.Generator().manual_seed(index)))
        settings = SFTSettings(**{**FAST, "lora": lora, "max_tokens": max_tokens})
        loss = sft._accumulate(policy, items, settings, Loop(tmp_path, "sft", 1, "print", {}))
        gradient = torch.cat([one.grad.flatten() for one in policy.parameters() if one.grad is not None])
        found.append((loss, gradient))
    assert found[0][0] == pytest.approx(found[1][0], rel=1e-6)
    assert float((found[0][1] - found[1][1]).norm() / found[0][1].norm()) < 1e-5


def test_the_adapter_lies_where_peft_and_load_find_it(
    tiny_lm: Make, plain_model: Callable[..., Any], tmp_path: Path
) -> None:
    from peft import PeftModel

    lm = tiny_lm()
    train_sft(lm, demonstrations(16), SFTSettings(**FAST), tmp_path)
    ids, item = [5, 6, 7, 8, 2], [Item([5], [[6, 7, 8, 2]])]
    expected = score(lm, item)[0].logprobs[0]
    assert torch.equal(score(load(tmp_path / "model", dtype="float32"), item)[0].logprobs[0], expected)
    with pytest.warns(UserWarning, match="base_sha256"):  # ours, which peft passes over
        theirs = PeftModel.from_pretrained(plain_model(), str(tmp_path / "model"))
    table = theirs(torch.tensor([ids])).logits[0].log_softmax(1)
    torch.testing.assert_close(table[range(4), ids[1:]], expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_full_fine_tuning_can_go_on_stage_after_stage(tiny_lm: Make, tmp_path: Path, dtype: str) -> None:
    lm, items = tiny_lm(dtype=dtype), demonstrations(64)
    settings = SFTSettings(**{**FAST, "lora": None, "lr": 5e-3, "epochs": 2})
    losses = [mean_loss(lm, items)]
    for stage in ("first", "second"):
        train_sft(lm, items, settings, tmp_path / stage)
        losses.append(mean_loss(lm, items))
    assert losses[2] < losses[1] < losses[0]
    assert mean_loss(load(tmp_path / "second" / "model", dtype="float32"), items) == pytest.approx(losses[2], rel=0.02)


@pytest.mark.parametrize("lora", [LORA, None], ids=["lora", "full"])
def test_a_finished_run_gives_its_result_without_training(tiny_lm: Make, tmp_path: Path, lora: Any) -> None:
    settings = SFTSettings(**{**FAST, "lora": lora})
    first, again = tiny_lm(), tiny_lm()
    items = demonstrations(16)
    result = train_sft(first, items, settings, tmp_path)
    assert train_sft(again, items, settings, tmp_path, progress=fail) == result
    assert mean_loss(again, items) == mean_loss(first, items)


def test_a_finished_run_from_another_start_is_not_taken_for_this_one(tiny_lm: Make, tmp_path: Path) -> None:
    """Same settings, data and base, but training goes on from another adapter."""
    items, settings = demonstrations(16), SFTSettings(**FAST)
    losses = []
    for seed in (1, 2):
        lm = tiny_lm()
        start = Policy.create(lm, "start", LORA, seed)
        for parameter in start.parameters():
            parameter.data.add_(0.05 * seed)
        before = mean_loss(lm, items)
        train_sft(lm, items, settings, tmp_path)
        losses.append((before, mean_loss(lm, items)))
    assert losses[0][0] != losses[1][0]
    assert losses[0][1] != losses[1][1]


def test_another_compute_dtype_is_another_run(tiny_lm: Make, tmp_path: Path) -> None:
    items, settings, told = demonstrations(16), SFTSettings(**FAST), []
    train_sft(tiny_lm(), items, settings, tmp_path)
    train_sft(tiny_lm(dtype="bfloat16"), items, settings, tmp_path, progress=lambda *_: told.append(1))
    assert told


def test_what_cannot_be_learned_from_is_refused(tiny_lm: Make, tmp_path: Path) -> None:
    lm, settings = tiny_lm(), SFTSettings(**FAST)
    with pytest.raises(DataError, match="data set is empty"):
        train_sft(lm, [], settings, tmp_path)
    with pytest.raises(DataError, match="Example 1 has 513 tokens, more than the 512"):
        train_sft(lm, [Item([5], [[6]]), Item([5] * 500, [[6] * 13])], settings, tmp_path)
    with pytest.raises(DataError, match="no token to learn"):
        train_sft(lm, [Item([5], [[6, 7]], [[False, False]])], settings, tmp_path)


def test_a_model_that_is_not_finite_stops_before_any_step(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    lm.model.base_model.norm.weight.data[3] = float("nan")
    with pytest.raises(TrainingStopped, match=r"loss at step 0 is nan.*Lower the learning rate"):
        train_sft(lm, demonstrations(8), SFTSettings(**FAST), tmp_path)


def test_held_out_items_without_a_label_do_not_break_the_end_of_a_run(tiny_lm: Make, tmp_path: Path) -> None:
    result = train_sft(
        tiny_lm(), demonstrations(8), SFTSettings(**FAST), tmp_path, heldout=[Item([5], [[6]], [[False]])]
    )
    assert result["loss"] > 0
