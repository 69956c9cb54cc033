"""The model that this process holds: loaded once, for as many parts as need it one after another.

One at a time, because memory may hold no two.
"""

from __future__ import annotations

from pathlib import Path

from kilter.models import LanguageModel, load
from kilter.models.scalar import ScalarModel
from kilter.recipes.memory import release_memory


class _Held:
    folder: str | None = None
    lm: LanguageModel | None = None
    reward_folder: str | None = None
    reward: ScalarModel | None = None


_held = _Held()


def held_model(folder: str) -> LanguageModel:
    """The model in `folder`, which takes the place of the one held before.

    Raises:
        ModelError: there is no such model on this machine.
    """
    if _held.lm is None or _held.folder != folder or _held.reward is not None:
        release_model()
        _held.folder, _held.lm = folder, load(folder)
    return _held.lm


def held_reward_model(trunk: str, folder: str) -> ScalarModel:
    """The reward model in `folder`, on the model in `trunk`.

    Raises:
        ModelError: one of them is not on this machine, or they do not belong together.
    """
    if _held.reward is None or (_held.folder, _held.reward_folder) != (trunk, folder):
        lm = held_model(trunk)
        _held.reward_folder, _held.reward = folder, ScalarModel.load(lm, Path(folder), "reward")
    return _held.reward


def release_model() -> None:
    """Hold no model any more."""
    if _held.lm is not None:
        _held.folder = _held.lm = _held.reward_folder = _held.reward = None
        release_memory()
