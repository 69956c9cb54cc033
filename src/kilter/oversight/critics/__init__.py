"""Critics that are language models: trained by passages, rewarded by truth or by what a judge gains, and compared.

`PassageCritic` says of each passage how likely it is wrong; `gdc_gap` compares what a model knows as generator,
discriminator and critic; a critique is a case of its own, so that critics take critics on.
"""

from kilter.oversight.critics.critique_cases import after_critique, critique_case, is_true, surest
from kilter.oversight.critics.critique_rewards import gain_reward, truth_reward
from kilter.oversight.critics.gdc import GDC, gdc_gap
from kilter.oversight.critics.passage_critic import PassageCritic, demonstrations
from kilter.oversight.critics.quality import CriticQuality, critic_quality

__all__ = [
    "GDC",
    "CriticQuality",
    "PassageCritic",
    "after_critique",
    "critic_quality",
    "critique_case",
    "demonstrations",
    "gain_reward",
    "gdc_gap",
    "is_true",
    "surest",
    "truth_reward",
]
