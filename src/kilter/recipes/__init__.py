"""The runner that walks a recipe: steps cached by the hash of their inputs, resumable, each on the record.

`run_recipe("recipes/quickstart.yaml")` is what `kilter run` does, `run_sweep` what `kilter sweep` does; both fan out
what is independent, on this process or on a Ray cluster.
"""

from kilter.recipes.fan_out import Part, Workers, fan_out, open_workers
from kilter.recipes.recipe import Recipe, read_recipe
from kilter.recipes.runner import RunResult, run_recipe
from kilter.recipes.sweep import SweepResult, run_sweep
from kilter.recipes.sweep_table import SweepRow

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
