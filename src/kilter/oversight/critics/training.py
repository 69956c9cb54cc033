"""Critics from cases with planted flaws, by supervised fine-tuning."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.models import LanguageModel
from kilter.oversight.critics.passage_critic import PassageCritic, demonstrations
from kilter.oversight.critics.surprise_critic import SurpriseCritic, fit_curve, readings, require_both
from kilter.testbeds import Case
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
