"""Functions from the user's own files, named FILE.py:NAME: rewards and held-out judges."""

from __future__ import annotations

import importlib.util
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from kilter.errors import SettingsError


def load_function(named: str) -> Callable[..., Any]:
    """The function NAME of a FILE.py:NAME.

    Raises:
        SettingsError: there is no such file or function, or the file cannot be run.
    """
    file, _, name = named.rpartition(":")
    spec = importlib.util.spec_from_file_location("kilter_user_code", file) if file else None
    if spec is None or spec.loader is None or not Path(file).exists():
        raise SettingsError(
            f"'{named}' names no function: {f'there is no file {file}' if file else 'it has no colon'}. Write "
            "FILE.py:NAME, and in that file: def NAME(prompts, responses): return [...]"
        )
    module = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except Exception as error:
        raise SettingsError(
            f"{file} cannot be run: {type(error).__name__}: {error}. Try it with Python alone."
        ) from error
    function: Callable[..., Any] | None = getattr(module, name, None)
    if function is None or not callable(function):
        raise SettingsError(f"{file} has no function '{name}'. Write: def {name}(prompts, responses): return [...]")
    return function


def load_reward(named: str, trunk: Any) -> Any:
    """A function from the user's own file, or a reward model of any kind loaded onto `trunk`."""
    from kilter.models.ensemble import load_reward_model
    from kilter.models.scalar import PROCESS_FILE
    from kilter.training import ProcessRewardModel

    if named.rpartition(":")[0].endswith(".py") or named.endswith(".py"):
        return load_function(named)
    if (Path(named) / PROCESS_FILE).exists():
        return ProcessRewardModel.load(trunk, Path(named))
    return load_reward_model(trunk, Path(named))


def observer(named: str | None, prompts: Sequence[Any]) -> Any:
    """A held-out judge from the user's own file, shown every step's responses and never trained on."""
    if named is None:
        return None
    from kilter.training.rewards import judged

    judge = load_function(named)

    def observe(step: int, numbers: Sequence[int], responses: Sequence[Sequence[Any]]) -> dict[str, float]:
        given = [prompts[number] for number, group in zip(numbers, responses, strict=True) for _ in group]
        values = judged(judge, "judge", given, [one.text for group in responses for one in group])
        return {"judge": sum(values) / len(values)}

    return observe
