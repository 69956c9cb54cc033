"""Critics from cases with planted flaws: by supervised fine-tuning, and those that write by reinforcement after it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.models import LanguageModel
from kilter.oversight.critics.critique_rewards import GainReward, TruthReward
from kilter.oversight.critics.passage_critic import PassageCritic, demonstrations
from kilter.oversight.critics.surprise_critic import SurpriseCritic, fit_curve, readings, require_both
from kilter.oversight.critics.written_critic import WrittenCritic, named_types, reference_critiques
from kilter.testbeds import Case
from kilter.training.grpo import GRPOSettings, train_grpo
from kilter.training.loop import Progress, no_progress
from kilter.training.sft import SFTSettings, train_sft

FIT = 5  # every fifth case is for the curve: what was learned surprises less


def train_surprise_critic(
    lm: LanguageModel, cases: Sequence[Case], settings: SFTSettings, folder: Path, *, heldout: Sequence[Case] = (),
    progress: Progress = no_progress,
) -> tuple[SurpriseCritic, dict[str, Any]]:  # fmt: skip
    """Learn the right responses of four fifths of the cases; the rest fit the curve. The critic lies in `folder/model`.

    Returns:
        The critic, and the metrics of `train_sft` with the curve's slope (per nat) and intercept.

    Raises:
        DataError: there are fewer than five cases, or those for the curve are all right or all wrong.
    """
    if len(cases) < FIT:
        raise DataError(f"A critic needs {FIT} cases or more, one of them for its curve; there are {len(cases)}.")
    require_both(cases[::FIT])  # before hours of training
    learn = [case for number, case in enumerate(cases) if number % FIT]
    result = train_sft(
        lm, readings(lm, learn), settings, folder, heldout=readings(lm, heldout) if heldout else (), progress=progress
    )
    curve = fit_curve(lm, cases[::FIT])
    critic = SurpriseCritic(lm, curve)
    critic.save(folder / "model")
    return critic, {**result, "slope": curve.slope, "intercept": curve.intercept}


def train_passage_critic(
    lm: LanguageModel, cases: Sequence[Case], settings: SFTSettings, folder: Path, *, heldout: Sequence[Case] = (),
    notes: bool = True, progress: Progress = no_progress,
) -> tuple[PassageCritic, dict[str, Any]]:  # fmt: skip
    """Learn the verdict on every passage of the cases, and with `notes` why. The critic lies in `folder/model`.

    Returns:
        The critic, and the metrics of `train_sft`.

    Raises:
        DataError: there are no cases.
    """
    learn, measure = (demonstrations(lm, some, notes=notes) for some in (cases, heldout))
    result = train_sft(lm, learn, settings, folder, heldout=measure, progress=progress)
    return PassageCritic(lm), result


def train_written_critic(
    lm: LanguageModel, cases: Sequence[Case], settings: SFTSettings, folder: Path, *, heldout: Sequence[Case] = (),
    max_new_tokens: int = 200, progress: Progress = no_progress,
) -> tuple[WrittenCritic, dict[str, Any]]:  # fmt: skip
    """Learn to write the reference critiques of the cases. The critic lies in `folder/model`.

    Returns:
        The critic, and the metrics of `train_sft`.

    Raises:
        DataError: no case has a flaw.
    """
    types = named_types(cases)
    learn, measure = (reference_critiques(lm, some, types) for some in (cases, heldout))
    result = train_sft(lm, learn, settings, folder, heldout=measure, progress=progress)
    return WrittenCritic(lm, types, max_new_tokens=max_new_tokens), result


def reward_written_critic(
    lm: LanguageModel, reward: TruthReward | GainReward, settings: GRPOSettings, folder: Path, *,
    progress: Progress = no_progress,
) -> tuple[WrittenCritic, dict[str, Any]]:  # fmt: skip
    """Learn from what its own critiques of the reward's cases are worth. The critic lies in `folder/model`.

    Args:
        lm: as `train_written_critic` left it; a model that never wrote in this form earns nothing to learn from.

    Returns:
        The critic, and the metrics of `train_grpo`.

    Raises:
        TrainingStopped: see `train_grpo`; rewards that never differ are those of critiques that nobody can read.
    """
    result = train_grpo(lm, reward.prompts, reward, settings, folder, progress=progress)
    return WrittenCritic(lm, reward.types, max_new_tokens=settings.max_new_tokens), result
