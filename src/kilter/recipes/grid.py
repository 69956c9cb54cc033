"""The combinations of a sweep: `step.setting=a,b,c` crossed with each other, seeds included."""

from __future__ import annotations

import hashlib
import itertools
import json
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from kilter.errors import SettingsError
from kilter.recipes.recipe import Recipe, read_recipe

_LONGEST = 60  # characters of a folder's name before its hash


@dataclass(frozen=True)
class Combination:
    """One recipe of a sweep.

    Attributes:
        recipe: with its settings.
        values: what the sweep varies, by setting, as written on the command line.
        overrides: all changes to the recipe's file, those that every combination shares included.
        name: its folder in `runs/`; the same for the same recipe and overrides.
    """

    recipe: Recipe
    values: dict[str, str]
    overrides: list[str]
    name: str

    @property
    def label(self) -> str:
        """What distinguishes it, for people."""
        return " ".join(f"{key}={value}" for key, value in self.values.items()) or self.recipe.name


@dataclass(frozen=True)
class Grid:
    """All combinations, the last setting changing fastest, and a name for the whole."""

    name: str
    combinations: tuple[Combination, ...]

    @property
    def settings(self) -> list[str]:
        """The settings that vary."""
        return list(self.combinations[0].values)


def read_grid(file: Path, pairs: Iterable[str]) -> Grid:
    """Read `step.setting=a,b,c`, each of which may have one value or several, and check every combination.

    Commas inside brackets, braces and quotes belong to the value.

    Raises:
        SettingsError: nothing is given, a value is given twice, or a combination does not fit the recipe.
    """
    choices = [_choices(pair) for pair in pairs]
    names = [key for key, _ in choices]
    if not choices:
        raise SettingsError("A sweep needs a setting with its values, such as ppo.lr=1e-4,3e-4 or seed=0,1,2.")
    twice = next((key for key in names if names.count(key) > 1), None)
    if twice is not None:
        raise SettingsError(f"The sweep sets '{twice}' twice; write all its values after one '=', between commas.")
    varied = [key for key, values in choices if len(values) > 1]
    if "name" in varied:
        raise SettingsError("A sweep names its runs itself; give one name, or none.")
    found = []
    for values in itertools.product(*(values for _, values in choices)):
        overrides = [f"{key}={value}" for key, value in zip(names, values, strict=True)]
        own = {key: value for key, value in zip(names, values, strict=True) if key in varied}
        recipe = read_recipe(file, overrides)
        found.append(Combination(recipe, own, overrides, _name(recipe, own, overrides)))
    every = [one.overrides for one in found]
    return Grid(f"{found[0].recipe.name}-sweep-{_hash(every)}", tuple(found))


def _choices(pair: str) -> tuple[str, list[str]]:
    key, sign, raw = pair.partition("=")
    if not sign or not key:
        raise SettingsError(f"'{pair}' is not of the form key=value,value; write for example ppo.steps=20,40.")
    values = list(_split(raw))
    if len(set(values)) < len(values):
        raise SettingsError(f"'{pair}' has the same value twice.")
    if len(values) > 1 and not all(values):
        raise SettingsError(f"'{pair}' has an empty value; write 'null' if that is meant.")
    return key, values


def _split(text: str) -> Iterator[str]:
    """Cut at the commas outside of brackets, braces and quotes."""
    depth, quote, value = 0, "", ""
    for letter in text:
        if quote:
            quote = "" if letter == quote else quote
        elif letter in "'\"":
            quote = letter
        else:
            depth += (letter in "[{(") - (letter in "]})")
        if letter == "," and not quote and depth == 0:
            yield value.strip()
            value = ""
        else:
            value += letter
    yield value.strip()


def _name(recipe: Recipe, values: dict[str, str], overrides: list[str]) -> str:
    told = re.sub(r"[^A-Za-z0-9_]+", "-", "-".join(f"{key}-{value}" for key, value in values.items())).strip("-")
    return "-".join(filter(None, [recipe.name, told[:_LONGEST].strip("-"), _hash(overrides)]))


def _hash(content: object) -> str:
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()[:6]
