"""Critics that are language models: trained, rewarded by truth or by what a judge gains, measured and compared.

`SurpriseCritic` suspects what it did not expect after the source; `PassageCritic` is asked about each passage;
`WrittenCritic` writes its problems, and learns by `TruthReward` or `GainReward`. `gdc_gap` compares what a model knows
as generator, discriminator and critic; a critique is a case of its own, so that critics take critics on.
"""

from kilter.oversight.critics.critique_cases import after_critique, critique_case, is_true, looked_over
from kilter.oversight.critics.critique_rewards import GainReward, TruthReward
from kilter.oversight.critics.gdc import GDC, gdc_by_model, gdc_gap
from kilter.oversight.critics.passage_critic import PassageCritic, demonstrations
from kilter.oversight.critics.quality import CriticQuality, critic_quality
from kilter.oversight.critics.several import agreed, best_of, draw, surest
from kilter.oversight.critics.surprise_critic import Curve, SurpriseCritic, fit_curve, readings
from kilter.oversight.critics.training import (
    reward_written_critic,
    train_passage_critic,
    train_surprise_critic,
    train_written_critic,
)
from kilter.oversight.critics.written_critic import (
    WrittenCritic,
    WrittenQuality,
    reference_critique,
    reference_critiques,
    written_quality,
)

__all__ = [
    "GDC",
    "CriticQuality",
    "Curve",
    "GainReward",
    "PassageCritic",
    "SurpriseCritic",
    "TruthReward",
    "WrittenCritic",
    "WrittenQuality",
    "after_critique",
    "agreed",
    "best_of",
    "critic_quality",
    "critique_case",
    "demonstrations",
    "draw",
    "fit_curve",
    "gdc_by_model",
    "gdc_gap",
    "is_true",
    "looked_over",
    "readings",
    "reference_critique",
    "reference_critiques",
    "reward_written_critic",
    "surest",
    "train_passage_critic",
    "train_surprise_critic",
    "train_written_critic",
    "written_quality",
]
