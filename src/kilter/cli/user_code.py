"""Whoever judges, as named on the command line: functions FILE.py:NAME, reward models, judges at an address."""

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

    if is_address(named):
        raise SettingsError(
            f"A judge at an address ({named}) orders responses and gives no rewards; use it with kilter train "
            "online-dpo, or give a function or a reward model here."
        )
    if named.rpartition(":")[0].endswith(".py") or named.endswith(".py"):
        return load_function(named)
    if (Path(named) / PROCESS_FILE).exists():
        return ProcessRewardModel.load(trunk, Path(named))
    return load_reward_model(trunk, Path(named))


def is_address(named: str) -> bool:
    """Whether it names a server."""
    return named.startswith(("http://", "https://"))


def prompted_judge(named: str, key: str | None) -> Any:
    """The judge behind ADDRESS#MODEL; without #MODEL, the first model that the server lists."""
    from kilter.judges import PromptedJudge

    address, _, model = named.partition("#")
    return PromptedJudge(address, model or None, key=key)


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
