"""A recipe: a whole loop in one YAML file, step by step."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import SettingsError
from kilter.recipes.step import Kind, kinds
from kilter.settings import Settings, build, merge, nearest, parse_overrides, parse_yaml

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]*")


@dataclass(frozen=True)
class Step:
    """One step: its kind, its settings, and for each input of the kind the name of the step that gives it."""

    name: str
    kind: Kind
    settings: Settings
    inputs: Mapping[str, str]


@dataclass(frozen=True)
class Recipe:
    """Steps in an order in which every step comes after those it needs."""

    name: str
    description: str
    seed: int
    steps: tuple[Step, ...]
    source: str


def read_recipe(file: Path, overrides: Iterable[str] = ()) -> Recipe:
    """Read a recipe and apply `step.setting=value` overrides (and `seed=1`, `name=other`).

    Raises:
        SettingsError: the file is missing or no recipe, a step or setting is unknown, or an input is not there.
    """
    pairs = list(overrides)
    if not file.is_file():
        there = sorted(path.name for path in file.parent.glob("*.yaml")) if file.parent.is_dir() else []
        hint = nearest(file.name, there) if there else "there is no recipe in that folder."
        raise SettingsError(f"There is no recipe {file}; {hint}")
    tree = parse_yaml(file)
    if not isinstance(tree, dict) or not isinstance(tree.get("steps"), dict) or not tree["steps"]:
        raise SettingsError(f"{file} is no recipe: it needs a mapping 'steps' of step names to settings.")
    changes = parse_overrides(pairs)
    top: dict[str, Any] = {key: changes.pop(key) for key in ("seed", "name") if key in changes}
    for key in changes:
        if key not in tree["steps"]:
            raise SettingsError(
                f"'{key}' is no step of {file.name}: {nearest(key, tree['steps'])} Write step.setting=value."
            )
        if not isinstance(changes[key], dict):
            raise SettingsError(
                f"'{key}' is a step of {file.name}; write {key}.setting=value to change one of its settings."
            )
    return _build({**tree, **top, "steps": merge(tree["steps"], changes)}, file)


def _build(tree: Mapping[str, Any], file: Path) -> Recipe:
    unknown = tree.keys() - {"name", "description", "seed", "steps"}
    if unknown:
        key = sorted(unknown)[0]
        raise SettingsError(f"{file.name} has an unknown key '{key}': {nearest(key, ['name', 'description', 'seed'])}")
    name, seed = str(tree.get("name", file.stem)), tree.get("seed", 0)
    if not _NAME.fullmatch(name):
        raise SettingsError(
            f"The name '{name}' of {file.name} becomes a folder: use letters, digits, '-' and '_' only."
        )
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        raise SettingsError(f"The seed of {file.name} must be a whole number of at least 0, not {seed!r}.")
    steps: list[Step] = []
    for step_name, values in tree["steps"].items():
        steps.append(_step(str(step_name), values, [one.name for one in steps], file))
    return Recipe(name, str(tree.get("description", "")).strip(), seed, tuple(steps), str(file))


def _step(name: str, values: Any, before: list[str], file: Path) -> Step:
    where = f"step '{name}' of {file.name}"
    if not isinstance(values, dict):
        raise SettingsError(f"The {where} must be a mapping with at least 'use'.")
    values = dict(values)
    use, inputs = values.pop("use", name), values.pop("inputs", {})
    known = kinds()
    if not isinstance(inputs, dict) or not all(isinstance(source, str) for source in inputs.values()):
        raise SettingsError(f"The inputs of {where} must be names of steps, written as {{INPUT: STEP}}.")
    if not isinstance(use, str) or use not in known:
        raise SettingsError(f"The {where} uses an unknown kind '{use}': {nearest(str(use), known)}")
    kind = known[use]
    if "seed" in values:
        raise SettingsError(
            f"The {where} sets a seed, but every step's seed is derived from the recipe's: write seed at the top, or "
            "seed=1 on the command line."
        )
    for key in inputs:
        if key not in kind.inputs and key not in kind.optional:
            raise SettingsError(f"The {where} has no input '{key}': {nearest(key, [*kind.inputs, *kind.optional])}")
    wired = {key: inputs.get(key, key) for key in kind.inputs}
    wired |= {key: inputs.get(key, key) for key in kind.optional if inputs.get(key, key) in before}
    for key, source in wired.items():
        if source not in before:
            raise SettingsError(
                f"The {where} needs '{key}' from a step '{source}', but no such step comes before it. "
                f"Put that step first or write inputs: {{{key}: OTHER_STEP}}."
            )
    return Step(name, kind, build(kind.settings, values, where), wired)
