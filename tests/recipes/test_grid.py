from __future__ import annotations

from pathlib import Path

import pytest

from kilter.errors import SettingsError
from kilter.recipes.grid import read_grid

QUICKSTART = Path(__file__).parents[2] / "recipes" / "quickstart.yaml"


def test_every_combination_the_last_setting_fastest() -> None:
    grid = read_grid(QUICKSTART, ["ppo.steps=1,2", "sft.epochs=2", "seed=0,1"])
    assert grid.settings == ["ppo.steps", "seed"]
    assert [one.label for one in grid.combinations] == [
        "ppo.steps=1 seed=0", "ppo.steps=1 seed=1", "ppo.steps=2 seed=0", "ppo.steps=2 seed=1",
    ]  # fmt: skip
    assert [one.recipe.seed for one in grid.combinations] == [0, 1, 0, 1]
    assert grid.combinations[3].overrides == ["ppo.steps=2", "sft.epochs=2", "seed=1"]
    settings = {step.name: step.settings for step in grid.combinations[3].recipe.steps}
    assert settings["ppo"].steps == 2  # type: ignore[attr-defined]


def test_names_are_folders_that_stay_the_same_when_the_grid_grows() -> None:
    small = read_grid(QUICKSTART, ["ppo.lr=1e-4,3e-4"])
    large = read_grid(QUICKSTART, ["ppo.lr=1e-4,3e-4,1e-3"])
    names = [one.name for one in large.combinations]
    assert names[:2] == [one.name for one in small.combinations]
    assert len(set(names)) == 3
    assert all(name.replace("-", "").replace("_", "").isalnum() for name in [*names, large.name])
    assert names[0].startswith("quickstart-ppo-lr-1e-4-")
    assert large.name != small.name
    assert read_grid(QUICKSTART, ["ppo.lr=1e-4,3e-4", "ppo.steps=3"]).combinations[0].name != names[0]


@pytest.mark.parametrize(
    ("pair", "values"),
    [
        ("sft.lora={rank: 2, alpha: 4},null", ["{rank: 2, alpha: 4}", "null"]),
        ("model.name='a,b',c", ["'a,b'", "c"]),
        ("ppo.lr=1e-4, 3e-4", ["1e-4", "3e-4"]),
    ],
)
def test_commas_within_a_value_stay(pair: str, values: list[str]) -> None:
    grid = read_grid(QUICKSTART, [pair])
    assert [next(iter(one.values.values())) for one in grid.combinations] == values


@pytest.mark.parametrize(
    ("pairs", "said"),
    [
        ([], "needs a setting with its values"),
        (["ppo.lr"], "not of the form key=value,value"),
        (["ppo.steps=1,1"], "same value twice"),
        (["ppo.steps=1,"], "empty value"),
        (["ppo.steps=1,2", "ppo.steps=3"], "sets 'ppo.steps' twice"),
        (["name=a,b"], "names its runs itself"),
        (["ppo.steps=1,many"], "'steps'"),
        (["ppo.stepps=1,2"], "did you mean 'steps'"),
    ],
)
def test_what_is_wrong_is_said_before_anything_runs(pairs: list[str], said: str) -> None:
    with pytest.raises(SettingsError, match=said):
        read_grid(QUICKSTART, pairs)
