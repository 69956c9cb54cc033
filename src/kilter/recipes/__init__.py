"""The runner that walks a recipe: steps cached by the hash of their inputs, resumable, each on the record.

`run_recipe("recipes/quickstart.yaml")` is what `kilter run` does, `run_sweep` what `kilter sweep` does; both fan out
what is independent. Names are imported when they are first used, so that a cluster's worker starts fast.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kilter.recipes.parts import Part, Workers, fan_out, open_workers
    from kilter.recipes.recipe import Recipe, read_recipe
    from kilter.recipes.runner import RunResult, run_recipe
    from kilter.recipes.sweep import SweepResult, run_sweep
    from kilter.recipes.sweep_table import SweepRow

_FILES = {
    "parts": ("Part", "Workers", "fan_out", "open_workers"),
    "recipe": ("Recipe", "read_recipe"),
    "runner": ("RunResult", "run_recipe"),
    "sweep": ("SweepResult", "run_sweep"),
    "sweep_table": ("SweepRow",),
}
_HOMES = {name: file for file, names in _FILES.items() for name in names}

__all__ = [
    "Part",
    "Recipe",
    "RunResult",
    "SweepResult",
    "SweepRow",
    "Workers",
    "fan_out",
    "open_workers",
    "read_recipe",
    "run_recipe",
    "run_sweep",
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
