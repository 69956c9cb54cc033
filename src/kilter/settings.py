"""Typed settings: one pydantic model per command is its flags, its YAML and its reference page."""

from __future__ import annotations

import contextlib
import difflib
from collections.abc import Hashable, Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError

from kilter.errors import SettingsError


class Settings(BaseModel):
    """Base of all settings: frozen, and an unknown key is an error that names the nearest one."""

    model_config = ConfigDict(extra="forbid", frozen=True, protected_namespaces=())


S = TypeVar("S", bound=Settings)


def parse_overrides(pairs: Iterable[str]) -> dict[str, Any]:
    """Turn `["data.path=x", "lr=1e-4"]` into nested dicts; values are read as YAML scalars."""
    tree: dict[str, Any] = {}
    for pair in pairs:
        key, sign, raw = pair.partition("=")
        if not sign or not key:
            raise SettingsError(f"'{pair}' is not of the form key=value; write for example ppo.steps=20.")
        try:
            value = yaml.safe_load(raw)
        except yaml.YAMLError as error:
            raise SettingsError(f"The value of '{key}' is not valid YAML: {raw!r} ({error}).") from error
        if isinstance(value, str):  # YAML 1.1 reads 1e-4 as a string; people mean the number
            with contextlib.suppress(ValueError):
                value = float(value)
        node = tree
        *path, leaf = key.split(".")
        for part in path:
            child = node.setdefault(part, {})
            if not isinstance(child, dict):
                raise SettingsError(f"'{pair}' sets '{key}', but '{part}' was already set to a plain value.")
            node = child
        node[leaf] = value
    return tree


def parse_yaml(file: Path) -> Any:
    """What a YAML file holds; raises `SettingsError` when it cannot be read, is malformed or sets a key twice."""
    try:
        return yaml.load(file.read_text(encoding="utf-8-sig"), Loader=_UniqueKeyLoader)
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{file} is not valid YAML: {' '.join(str(error).split())}") from error


class _UniqueKeyLoader(yaml.SafeLoader):
    """Refuses a key that is set twice, which YAML would silently settle in favor of the later."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[Any] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if not isinstance(key, Hashable):
                raise yaml.constructor.ConstructorError(None, None, "a name cannot be a list", key_node.start_mark)
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"'{key}' is set twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


def merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Overlay `over` on `base`, key by key, without changing either."""
    merged = dict(base)
    for key, value in over.items():
        old = merged.get(key)
        merged[key] = merge(old, value) if isinstance(old, Mapping) and isinstance(value, Mapping) else value
    return merged


def build(settings: type[S], values: Mapping[str, Any], where: str) -> S:
    """Validate `values` against `settings`; raise `SettingsError` with every problem named, at `where`."""
    try:
        return settings.model_validate(dict(values))
    except ValidationError as error:
        raise SettingsError(_explain(settings, error, where)) from error


def nearest(name: str, known: Iterable[str]) -> str:
    """A hint that names the closest known word, or lists what is known when nothing is close."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    return f"did you mean '{close[0]}'?" if close else f"known: {', '.join(names)}."


def _fields_at(settings: type[BaseModel], path: tuple[Any, ...]) -> list[str]:
    """Names of the settings at `path`, going into nested ones (and those that may be null)."""
    for part in path:
        field = settings.model_fields.get(str(part))
        kinds = (field.annotation, *get_args(field.annotation)) if field else ()
        nested = next((kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), None)
        if nested is None:
            break
        settings = nested
    return list(settings.model_fields)


def _explain(settings: type[BaseModel], error: ValidationError, where: str) -> str:
    lines = []
    for problem in error.errors():
        path = tuple(problem["loc"])
        name = ".".join(str(part) for part in path)
        if problem["type"] == "extra_forbidden":
            lines.append(f"unknown setting '{name}': {nearest(str(path[-1]), _fields_at(settings, path[:-1]))}")
        elif problem["type"] == "missing":
            lines.append(f"'{name}' is required and not given")
        else:
            message = problem["msg"].removeprefix("Value error, ")
            given = f" (given: {problem['input']!r})" if path else ""
            lines.append(f"{f'{chr(39)}{name}{chr(39)}: ' if name else ''}{message}{given}")
    return f"In {where}: " + "; ".join(lines)
