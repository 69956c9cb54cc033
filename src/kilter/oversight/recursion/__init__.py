"""Recursive reward modeling: an evaluation too hard for a judge, split into parts that learned evaluators help with.

`recursive_reward_model` spends the same labels at every depth; `RewardLearner` makes each evaluator a reward model of
the training room, of which the last can train a policy.
"""

from kilter.oversight.recursion.evaluation import (
    BareJudge,
    Labeled,
    Pair,
    Predictor,
    accuracy,
    pairs_of,
    recursive_reward_model,
)
from kilter.oversight.recursion.learner import RewardLearner

__all__ = [
    "BareJudge",
    "Labeled",
    "Pair",
    "Predictor",
    "RewardLearner",
    "accuracy",
    "pairs_of",
    "recursive_reward_model",
]
