"""Recursive reward modeling with a learner that could learn anything, so that what is tested are the labels."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
from sklearn.linear_model import LogisticRegression

from kilter.errors import SettingsError
from kilter.models import LanguageModel
from kilter.oversight.recursion.evaluation import (
    TOTAL,
    BareJudge,
    Labeled,
    Pair,
    Predictor,
    accuracy,
    pairs_of,
    question,
    recursive_reward_model,
)
from kilter.oversight.recursion.learner import RewardLearner
from kilter.training import GRPOSettings, LoraSettings, train_grpo
from kilter.training.loop import read_metrics
from kilter.training.reward import RewardSettings

HARD = list(islice(pairs_of(1, "test", hard=True), 150))
BETTER = [pair.difference(TOTAL) > 0 for pair in HARD]


def features(pair: Pair) -> list[float]:
    return [pair.difference(leaf) for part in ("content", "manners") for leaf in pair.leaves(part)] + [
        pair.difference("explicit")
    ]


class Linear:
    """For each part of the evaluation a logistic regression on the true differences; counts its labels."""

    def __init__(self) -> None:
        self.labels: list[int] = []

    def __call__(self, labeled: Sequence[Labeled]) -> Predictor:
        self.labels.append(len(labeled))
        models = {}
        for node in {one.node for one in labeled}:
            mine = [one for one in labeled if one.node == node]
            x = np.array([features(one.pair) for one in mine] + [[-f for f in features(one.pair)] for one in mine])
            y = [1 - one.better for one in mine] + [one.better for one in mine]
            models[node] = LogisticRegression(C=1.0).fit(x, y)

        def predict(asked: Sequence[tuple[Pair, str]]) -> list[float]:
            return [
                float(models[node].predict_proba([features(pair)])[0, 1]) if node in models else 0.5
                for pair, node in asked
            ]

        return predict


def test_a_bare_judge_sees_too_little_of_a_whole_and_enough_of_a_part() -> None:
    judge, rng = BareJudge(attention=2, temperature=0.05), random.Random(0)

    def right(node: str) -> float:
        decided = [pair for pair in HARD if abs(pair.difference(node)) > 0.2]
        return float(np.mean([(judge.judge(pair, node, rng) == 0) == (pair.difference(node) > 0) for pair in decided]))

    assert right(TOTAL) < 0.7
    assert right("civil") > 0.95


def test_a_true_helper_makes_the_judge_better_and_a_liar_worse() -> None:
    judge, rng = BareJudge(), random.Random(0)

    def share(sign: int) -> float:
        hints = [{part: 0.5 + 0.5 * sign * pair.difference(part) for part in pair.parts(TOTAL)} for pair in HARD]
        said = [judge.judge(pair, TOTAL, rng, each) for pair, each in zip(HARD, hints, strict=True)]
        return float(np.mean([(one == 0) == better for one, better in zip(said, BETTER, strict=True)]))

    assert share(-1) < share(0) < share(1)


def test_every_depth_costs_the_same_labels_and_depth_two_helps_on_hard_pairs() -> None:
    found = []
    for depth, costs in ((0, [640]), (1, [320, 320]), (2, [160, 160, 320])):
        learner = Linear()
        predict = recursive_reward_model(learner, BareJudge(), pairs_of(0, "train"), depth, 640)
        assert learner.labels == costs
        found.append(accuracy(predict, HARD).value)
    assert found[2] > found[0] + 0.1


@pytest.mark.parametrize(("depth", "labels", "said"), [(3, 100, "depth of 0 to 2"), (2, 15, "too few to divide")])
def test_what_cannot_be_divided_is_refused(depth: int, labels: int, said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        recursive_reward_model(Linear(), BareJudge(), pairs_of(0, "train"), depth, labels)


def test_a_reward_model_is_the_learner_and_is_asked_about_parts(
    tiny_lm: Callable[..., LanguageModel], tmp_path: Path
) -> None:
    learner = RewardLearner(tiny_lm, RewardSettings(batch_size=8), tmp_path)
    short = (pair for pair in pairs_of(0, "train") if sum(map(len, pair.replies)) < 250)
    predict = recursive_reward_model(learner, BareJudge(), short, 1, 16)
    assert len(learner.models) == 2
    chances = predict([(pair, TOTAL) for pair in HARD[:4]])
    assert all(0 < one < 1 for one in chances)
    assert question(HARD[0], TOTAL) == HARD[0].instruction.prompt
    assert question(HARD[0], "civil").endswith("Which reply is more polite?")


def test_the_one_of_whole_replies_trains_a_policy(tiny_lm: Callable[..., LanguageModel], tmp_path: Path) -> None:
    learner = RewardLearner(tiny_lm, RewardSettings(batch_size=8), tmp_path / "evaluators")
    short = (pair for pair in pairs_of(0, "train") if sum(map(len, pair.replies)) < 250)
    recursive_reward_model(learner, BareJudge(), short, 1, 16)
    settings = GRPOSettings(
        lr=0.03, steps=10, prompts=4, samples=16, max_new_tokens=4, lora=LoraSettings(rank=4, alpha=8), warmup=0.0,
        seed=1, min_entropy=0.0, kl_coef=0.0,
    )  # fmt: skip
    prompts = [pair.instruction.prompt for pair in HARD[:4]]
    train_grpo(tiny_lm(), prompts, learner.models[-1], settings, tmp_path / "policy")
    rewards = [row["reward"] for row in read_metrics(tmp_path / "policy" / "metrics.jsonl")]
    assert sum(rewards[-3:]) > sum(rewards[:3])
