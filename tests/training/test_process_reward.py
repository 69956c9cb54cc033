from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from kilter.errors import DataError, ModelError
from kilter.models import LanguageModel, pack, sample
from kilter.models.ensemble import load_reward_model
from kilter.models.scalar import ScalarModel
from kilter.training import (
    GRPOSettings,
    LoraSettings,
    ProcessRewardModel,
    ProcessRewardSettings,
    SteppedItem,
    process_reward,
    stepped,
    train_grpo,
    train_process_reward,
)
from kilter.training.loop import Loop, read_metrics
from kilter.training.step_rewards import cut_into_steps, step_advantages

Make = Callable[..., LanguageModel]
LORA = LoraSettings(rank=4, alpha=8)
FAST: dict[str, Any] = {"lr": 0.01, "batch_size": 8, "lora": LORA, "seed": 5, "epochs": 4}


def solutions(lm: LanguageModel, count: int, first: int = 0) -> list[SteppedItem]:
    """Three steps each, of which those with an x are wrong."""
    items = []
    for number in range(first, first + count):
        generator = torch.Generator().manual_seed(number)
        wrong = (torch.rand(3, generator=generator) < 0.4).tolist()
        letters = torch.randint(97, 117, (3, 4), generator=generator).tolist()
        steps = ["".join(map(chr, row)) + ("x" if bad else "") for row, bad in zip(letters, wrong, strict=True)]
        items.append(stepped(lm, f"p{number % 7}", steps, [float(not bad) for bad in wrong]))
    return items


def test_it_learns_which_steps_are_right(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    model, result = train_process_reward(
        lm, solutions(lm, 96), ProcessRewardSettings(**FAST), tmp_path, heldout=solutions(lm, 48, first=5_000)
    )
    assert result["heldout_accuracy"] > 0.9
    assert result["first_error_accuracy"] > 0.8
    good, bad = model.steps(["p1", "p1"], [["abcd", "bbbb"], ["abcd", "bbbbx"]])
    assert bad[1] < 0.5 < min(good)
    assert bad[0] == pytest.approx(good[0], abs=1e-5)  # a step is judged without those that follow
    assert model(["p1", "p1", "p1"], ["abcd\nbbbb", "abcd\n\nbbbbx\n", " \n"]) == pytest.approx(
        [min(good), min(bad), 0.0], abs=1e-5
    )


def test_the_loss_is_the_mean_cross_entropy_of_the_steps(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    items = [stepped(lm, "ab", ["x", "yy", "z"], [1.0, 0.25, 0.0]), stepped(lm, "c", ["long step here"], [0.0])]
    model = ScalarModel.create(lm, None)
    model.head.data.normal_(generator=torch.Generator().manual_seed(0))
    for max_tokens in (4096, 16):
        settings = ProcessRewardSettings(**FAST, max_tokens=max_tokens)
        model.head.grad = None
        loss, _ = process_reward._accumulate(model, items, settings, Loop(tmp_path, "process", 1, "print", {}))
        expected = 0.0
        for one in items:
            tokens = one.item.responses[0]
            for end, label in zip(one.ends, one.labels, strict=True):
                packed = pack([type(one.item)(one.item.prompt, [tokens[: end + 1]])])
                p = float(torch.sigmoid(model.values(packed, packed.ends)).detach())
                expected -= (label * math.log(p) + (1 - label) * math.log(1 - p)) / 4
        assert loss == pytest.approx(expected, rel=1e-4)


def test_saved_and_loaded_it_judges_the_same(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    settings = ProcessRewardSettings(**{**FAST, "epochs": 1}, combine="product")
    model, _ = train_process_reward(lm, solutions(lm, 16), settings, tmp_path)
    loaded = ProcessRewardModel.load(tiny_lm(), tmp_path / "model")
    judged = model(["p1"], ["ab\ncdx\nef"])
    assert loaded(["p1"], ["ab\ncdx\nef"]) == pytest.approx(judged, abs=1e-6)
    assert judged[0] == pytest.approx(math.prod(model.steps(["p1"], [["ab", "cdx", "ef"]])[0]), rel=1e-5)
    assert ProcessRewardModel(model.model, "last")(["p1"], ["ab\ncd"]) == [model.steps(["p1"], [["ab", "cd"]])[0][1]]
    with pytest.raises(ModelError, match="judges single steps"):
        load_reward_model(tiny_lm(), tmp_path / "model")
    again, _ = train_process_reward(tiny_lm(), solutions(lm, 16), settings, tmp_path)
    assert again(["p1"], ["ab\ncdx"]) == pytest.approx(model(["p1"], ["ab\ncdx"]), abs=1e-6)


def test_a_response_is_cut_at_its_lines(tiny_lm: Make) -> None:
    lm = tiny_lm()
    tokens = lm.encode_text("ab\n\ncd \nef")
    steps, ends = cut_into_steps(lm, [*tokens, lm.eos])
    assert steps == ["ab", "cd", "ef"]
    assert [lm.decode(tokens[: end + 1]).splitlines()[-1].strip() for end in ends[:2]] == ["ab", "cd"]
    assert ends[-1] == len(tokens)
    assert cut_into_steps(lm, lm.encode_text("ab\n")) == (["ab"], [2])
    assert cut_into_steps(lm, [lm.eos]) == ([], [])


def test_step_advantages_are_what_the_steps_from_here_on_are_worth() -> None:
    per_token = torch.tensor([0.0, 1.0, 0.0, 0.0, 0.0, 3.0, 0.0, 5.0, 5.0])
    ends = torch.tensor([0, 1, 0, 1, 0, 1, 0, 1, 1], dtype=torch.bool)
    counts = [4, 2, 2, 1]
    got = step_advantages(per_token, ends, counts, 2, False)
    mean = 4 / 3  # of the first group's three steps; the second group's are alike
    first = [1 - mean + (0 - mean)] * 2 + [-mean] * 2
    assert got.tolist() == pytest.approx([*first, 3 - mean, 3 - mean, 0.0, 0.0, 0.0], abs=1e-6)
    spread = float(torch.tensor([1.0, 0.0, 3.0]).std(unbiased=False)) + 1e-4
    standardized = step_advantages(per_token, ends, counts, 2, True)
    assert standardized[:6].tolist() == pytest.approx([one / spread for one in got[:6].tolist()], rel=1e-5)


def test_grpo_learns_from_steps(tiny_lm: Make, tmp_path: Path) -> None:
    def low(prompts: list[Any], steps: list[list[str]]) -> list[list[float]]:
        return [[1 - ord(step[0]) / 400 for step in one] for one in steps]

    settings = GRPOSettings(
        lr=0.03, steps=12, prompts=2, samples=32, max_new_tokens=2, lora=LORA, warmup=0.0, seed=1, min_entropy=0.0,
        kl_coef=0.0,
    )  # fmt: skip
    same = [0.0] * 64  # the outcome tells nothing: all that is learned comes from the steps
    train_grpo(tiny_lm(), ["ab", "c"], lambda p, r: same, settings, tmp_path, step_reward=low)
    rows = read_metrics(tmp_path / "metrics.jsonl")
    assert rows[-1]["step_reward"] > rows[0]["step_reward"] + 0.1


def test_grpo_learns_from_the_steps_that_a_trained_model_judges(tiny_lm: Make, tmp_path: Path) -> None:
    trunk, lm = tiny_lm(), tiny_lm()

    def drawn(seed: int) -> list[list[str]]:
        """Steps as the policy writes them: of random bytes, so that half of them begin with no letter at all."""
        texts = [one.text for one in sample(lm, [lm.encode_prompt("ab")], n=128, max_new_tokens=2, seed=seed)[0]]
        return [[line.strip() for line in text.split("\n") if line.strip()] for text in texts if text.strip()]

    def right(steps: list[list[str]]) -> float:
        return sum(step[0].isascii() for one in steps for step in one) / sum(map(len, steps))

    items = [stepped(trunk, "ab", steps, [float(one[0].isascii()) for one in steps]) for steps in drawn(0)]
    judge, result = train_process_reward(
        trunk, items[28:], ProcessRewardSettings(**FAST), tmp_path / "judge", heldout=items[:28]
    )
    assert result["heldout_accuracy"] > 0.8
    settings = GRPOSettings(
        lr=0.03, steps=12, prompts=2, samples=32, max_new_tokens=2, lora=LORA, warmup=0.0, seed=1, min_entropy=0.0,
        kl_coef=0.0, max_kl=1000,
    )  # fmt: skip
    before = right(drawn(1))
    same = [0.0] * 64  # the outcome tells nothing: all that is learned comes from the judge of steps
    train_grpo(lm, ["ab", "c"], lambda p, r: same, settings, tmp_path / "policy", step_reward=judge.steps)
    rows = read_metrics(tmp_path / "policy" / "metrics.jsonl")
    assert rows[-1]["step_reward"] > rows[0]["step_reward"] + 0.1
    assert right(drawn(1)) > before + 0.1  # by the truth, too


@pytest.mark.parametrize(
    ("reward", "words"),
    [
        (lambda p, s: [[] for _ in s], "gave 0 values for"),
        (lambda p, s: [["a"] * len(one) for one in s], "gave 'a' for a step"),
        (lambda p, s: [[math.nan] * len(one) for one in s], "gave nan for a step"),
        (lambda p, s: 3, "gave a int for"),
        (lambda p, s: [1.0] * len(s), "gave 1.0 for"),
        (lambda p, s: s[0].nothing, "step reward failed with AttributeError"),
    ],
)
def test_a_wrong_step_reward_is_refused_with_words(reward: Any, words: str, tiny_lm: Make, tmp_path: Path) -> None:
    settings = GRPOSettings(steps=1, prompts=1, samples=4, max_new_tokens=2, lora=LORA, seed=1)
    with pytest.raises(DataError, match=words):
        train_grpo(tiny_lm(), ["ab"], lambda p, r: [0.0] * 4, settings, tmp_path, step_reward=reward)


def test_labels_that_are_all_alike_are_refused(tiny_lm: Make, tmp_path: Path) -> None:
    lm = tiny_lm()
    with pytest.raises(DataError, match="All steps have the same label"):
        train_process_reward(lm, [stepped(lm, "p", ["a"], [1.0])], ProcessRewardSettings(**FAST), tmp_path)
