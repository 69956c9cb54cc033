"""From judgments to a better model: one algorithm per file, one shared loop with checkpoints.

`train_sft`, `train_reward` and `train_ppo` are the three steps of InstructGPT, each usable alone; `train_dpo` and
`train_kto` learn from preferences directly, `train_grpo` and `train_best_of_n` from any reward.
"""

from kilter.training.best_of_n import BestOfNSettings, train_best_of_n
from kilter.training.dpo import DPOSettings, train_dpo
from kilter.training.ensemble import EnsembleSettings, train_ensemble
from kilter.training.episodes import Environment, Episode
from kilter.training.grpo import GRPOSettings, train_grpo
from kilter.training.kto import KTOSettings, MarkedItem, train_kto
from kilter.training.loop import Progress
from kilter.training.online_dpo import OnlineDPOSettings, train_online_dpo
from kilter.training.pairs import RankedItem
from kilter.training.policy import Policy
from kilter.training.ppo import Models, PPOSettings, make_models, train_ppo
from kilter.training.process_reward import (
    ProcessRewardModel,
    ProcessRewardSettings,
    SteppedItem,
    stepped,
    train_process_reward,
)
from kilter.training.reward import RewardSettings, pair_margins, reward_scores, train_reward
from kilter.training.rewards import RewardFunction, Weighted
from kilter.training.settings import LoraSettings
from kilter.training.sft import SFTSettings, mean_loss, train_sft
from kilter.training.step_cases import case_prompt, step_labels
from kilter.training.uncertainty import preference_uncertainty

__all__ = [
    "BestOfNSettings",
    "DPOSettings",
    "EnsembleSettings",
    "Environment",
    "Episode",
    "GRPOSettings",
    "KTOSettings",
    "LoraSettings",
    "MarkedItem",
    "Models",
    "OnlineDPOSettings",
    "PPOSettings",
    "Policy",
    "ProcessRewardModel",
    "ProcessRewardSettings",
    "Progress",
    "RankedItem",
    "RewardFunction",
    "RewardSettings",
    "SFTSettings",
    "SteppedItem",
    "Weighted",
    "case_prompt",
    "make_models",
    "mean_loss",
    "pair_margins",
    "preference_uncertainty",
    "reward_scores",
    "step_labels",
    "stepped",
    "train_best_of_n",
    "train_dpo",
    "train_ensemble",
    "train_grpo",
    "train_kto",
    "train_online_dpo",
    "train_ppo",
    "train_process_reward",
    "train_reward",
    "train_sft",
]
