"""Critics that are language models: trained, rewarded by truth or by what a judge gains, measured and compared.

`SurpriseCritic` suspects what it did not expect after the source; `PassageCritic` is asked about each passage;
`gdc_gap` compares what a model knows as generator, discriminator and critic; a critique is a case of its own, so that
critics take critics on.
"""

from kilter.oversight.critics.critique_cases import after_critique, critique_case, is_true, surest
from kilter.oversight.critics.critique_rewards import gain_reward, truth_reward
from kilter.oversight.critics.gdc import GDC, gdc_gap
from kilter.oversight.critics.passage_critic import PassageCritic, demonstrations
from kilter.oversight.critics.quality import CriticQuality, critic_quality
from kilter.oversight.critics.surprise_critic import Curve, SurpriseCritic, fit_curve, readings
from kilter.oversight.critics.training import train_passage_critic, train_surprise_critic

__all__ = [
    "GDC",
    "CriticQuality",
    "Curve",
    "PassageCritic",
    "SurpriseCritic",
    "after_critique",
    "critic_quality",
    "critique_case",
    "demonstrations",
    "fit_curve",
    "gain_reward",
    "gdc_gap",
    "is_true",
    "readings",
    "surest",
    "train_passage_critic",
    "train_surprise_critic",
    "truth_reward",
]
