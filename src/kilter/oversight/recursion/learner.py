"""The learner of recursive reward modeling: a reward model of the training room, asked about parts of an evaluation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

from scipy.special import expit

from kilter.models import Item, LanguageModel
from kilter.models.scalar import ScalarModel
from kilter.oversight.recursion.evaluation import Labeled, Pair, question
from kilter.training.pairs import RankedItem
from kilter.training.reward import RewardSettings, reward_scores, train_reward


class RewardLearner:
    """Learns evaluators from labels; each is a reward model in a folder of its own.

    Args:
        load: gives the trunk, anew for each reward model.
        settings: of the training.
        folder: where the reward models lie, numbered from 0 in the order in which they were learned.

    Attributes:
        models: the reward models, in the same order; the last one judges whole replies and can train a policy.
    """

    def __init__(self, load: Callable[[], LanguageModel], settings: RewardSettings, folder: Path) -> None:
        self._load, self._settings, self._folder = load, settings, folder
        self.models: list[ScalarModel] = []

    def __call__(self, labeled: Sequence[Labeled]) -> Evaluator:
        """Train on what a judge said."""
        lm = self._load()
        items = [RankedItem(_item(lm, one.pair, one.node), ((one.better, 1 - one.better),)) for one in labeled]
        model, _ = train_reward(lm, items, self._settings, self._folder / str(len(self.models)))
        self.models.append(model)
        return Evaluator(model)


class Evaluator:
    """A reward model that says how likely the first reply is the better one in a part of the evaluation."""

    def __init__(self, model: ScalarModel) -> None:
        self._model = model

    def __call__(self, asked: Sequence[tuple[Pair, str]]) -> list[float]:
        """P(the first reply is better), by the Bradley-Terry model that the reward model was trained with."""
        items = [_item(self._model.lm, pair, node) for pair, node in asked]
        return [float(expit(float(one[0] - one[1]))) for one in reward_scores(self._model, items)]


def _item(lm: LanguageModel, pair: Pair, node: str) -> Item:
    return Item(lm.encode_prompt(question(pair, node)), [lm.encode_response(reply) for reply in pair.replies])
