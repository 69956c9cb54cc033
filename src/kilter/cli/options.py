"""From a settings class to a command: its flags, its YAML file and its reference page are one thing."""

from __future__ import annotations

import inspect
import types
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, get_args, get_origin

import typer
import yaml
from pydantic import BaseModel
from pydantic.fields import FieldInfo

from kilter.errors import SettingsError
from kilter.settings import Settings, build, merge, nearest, parse_overrides, parse_yaml

S = TypeVar("S", bound=Settings)


@dataclass(frozen=True)
class Setting:
    """One leaf of a settings class: `path` is ("lora", "rank") for `lora.rank`."""

    path: tuple[str, ...]
    field: FieldInfo

    @property
    def name(self) -> str:
        """The dotted name, as in YAML and key=value."""
        return ".".join(self.path)

    @property
    def flag(self) -> str:
        """The flag's name without its dashes."""
        return self.name.replace("_", "-")

    @property
    def annotation(self) -> Any:
        """The type without its `| None`."""
        return _without_none(self.field.annotation)

    @property
    def default(self) -> str:
        """The default in YAML's words, or "required"."""
        if self.field.is_required():
            return "required"
        return _as_yaml(self.field.get_default(call_default_factory=True))


def leaves(settings: type[BaseModel], path: tuple[str, ...] = ()) -> Iterator[Setting]:
    """Every setting of `settings` in order, going into nested settings."""
    for name, field in settings.model_fields.items():
        inner = _without_none(field.annotation)
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from leaves(inner, (*path, name))
        else:
            yield Setting((*path, name), field)


def command_from_settings(settings: type[S], function: Callable[[S], None]) -> Callable[..., None]:
    """Make a function for `typer.Typer().command()` that reads `settings` and calls `function` with them.

    Its flags are the fields, `--field-name` or `--nested.field-name`; `--config FILE.yaml` and trailing
    `key=value` words may set them too. What is said later wins: defaults, file, key=value, flags. Unknown
    names and wrong types raise `SettingsError`. The help is the docstring of `function`.
    """
    found = {"__".join(setting.path): setting for setting in leaves(settings)}

    def command(**given: Any) -> None:
        config: Path | None = given.pop("config")
        pairs: list[str] = given.pop("overrides") or []
        flags: dict[str, Any] = {}
        for parameter, value in given.items():
            if value is not None and value != []:
                flags = merge(flags, _nested(found[parameter], value))
        function(load_settings(settings, config, pairs, flags))

    command.__name__ = function.__name__
    command.__doc__ = function.__doc__
    parameters = [_parameter(name, setting) for name, setting in found.items()]
    command.__signature__ = inspect.Signature(  # type: ignore[attr-defined]
        [*_FIXED_PARAMETERS, *parameters]
    )
    command.__annotations__ = {each.name: each.annotation for each in [*_FIXED_PARAMETERS, *parameters]}
    return command


def load_settings(
    settings: type[S],
    config: Path | None = None,
    pairs: Sequence[str] = (),
    flags: dict[str, Any] | None = None,
) -> S:
    """Build `settings` from their defaults, a YAML file, key=value pairs and nested flags; later ones win."""
    values = merge(read_yaml(config) if config else {}, _overrides(settings, pairs))
    where = f"{config} and the command line" if config else "the command line"
    return build(settings, merge(values, flags or {}), where)


def read_yaml(path: Path) -> dict[str, Any]:
    """Read a YAML file of settings; raise `SettingsError` when it is missing, malformed or repeats a key."""
    if not path.is_file():
        siblings = [each.name for each in path.parent.glob("*.y*ml")] if path.parent.is_dir() else []
        hint = nearest(path.name, siblings) if siblings else "there is no YAML file in that folder."
        raise SettingsError(f"There is no settings file {path}; {hint}")
    content = parse_yaml(path)
    if content is None:
        return {}
    if not isinstance(content, dict):
        raise SettingsError(f"{path} must hold settings, one 'name: value' a line; it holds a {_kind(content)}.")
    return content


def settings_reference(settings: type[BaseModel]) -> str:
    """A Markdown table of every setting: name, type, default and meaning."""
    rows = ["| setting | type | default | meaning |", "|---|---|---|---|"]
    for setting in leaves(settings):
        default = setting.default if setting.field.is_required() else f"`{setting.default}`"
        cells = [f"`{setting.name}`", f"`{type_words(setting.field.annotation)}`", default]
        cells.append(setting.field.description or "")
        rows.append("| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |")
    return "\n".join(rows) + "\n"


def type_words(annotation: Any) -> str:
    """A type as a person would write it in YAML: `int`, `list of str`, `fast | slow`, `path or null`."""
    inner = _without_none(annotation)
    if inner is not annotation:
        return f"{type_words(inner)} or null"
    origin, arguments = get_origin(annotation), get_args(annotation)
    if origin is Literal:
        return " | ".join(_as_yaml(value) for value in arguments)
    if origin in (Union, types.UnionType):
        return " or ".join(type_words(argument) for argument in arguments)
    if origin in (list, tuple, set, frozenset):
        return f"list of {type_words(arguments[0])}" if arguments else "list"
    if origin is dict:
        return "mapping"
    if annotation is Path:
        return "path"
    return getattr(annotation, "__name__", str(annotation))


def _fixed(name: str, annotation: Any, default: Any) -> inspect.Parameter:
    return inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=annotation)


_FIXED_PARAMETERS = [
    _fixed(
        "overrides",
        list[str] | None,
        typer.Argument(None, metavar="KEY=VALUE", help="Settings by name, such as seed=3.", show_default=False),
    ),
    _fixed(
        "config",
        Path | None,
        typer.Option(None, "--config", metavar="FILE.yaml", help="A file with settings.", show_default=False),
    ),
]


def _parameter(name: str, setting: Setting) -> inspect.Parameter:
    kind = _flag_type(setting.annotation)
    dashes = f"--{setting.flag}/--no-{setting.flag}" if kind is bool else f"--{setting.flag}"
    option = typer.Option(
        None,
        dashes,
        help=_help(setting),
        show_default=False,
        metavar="YAML" if kind is None else None,
        rich_help_panel=f"Options: {'.'.join(setting.path[:-1])}" if len(setting.path) > 1 else None,
    )
    return _fixed(name, (kind or str) | None, option)


def _help(setting: Setting) -> str:
    # typer reads the text as rich markup; a bracket in a default must stay a bracket
    default = "" if setting.default == "null" else f" [{setting.default}]"
    return f"{setting.field.description or ''}{default}".strip().replace("[", "\\[")


def _flag_type(annotation: Any) -> Any:
    """The type typer parses; None where a value is written in YAML."""
    if annotation in (bool, int, float, str, Path):
        return annotation
    if get_origin(annotation) is Literal and all(isinstance(value, str) for value in get_args(annotation)):
        return annotation
    arguments = get_args(annotation)
    if get_origin(annotation) in (list, tuple, set, frozenset) and arguments and set(arguments[1:]) <= {...}:
        inner = _flag_type(arguments[0])
        return types.GenericAlias(list, (inner,)) if inner in (int, float, str, Path) else None
    return None


def _nested(setting: Setting, value: Any) -> dict[str, Any]:
    if _flag_type(setting.annotation) is None:
        try:
            value = yaml.safe_load(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"The value of --{setting.flag} is not valid YAML: {value!r} ({error}).") from error
    for part in reversed(setting.path):
        value = {part: value}
    tree: dict[str, Any] = value
    return tree


def _overrides(settings: type[BaseModel], pairs: Sequence[str]) -> dict[str, Any]:
    tree = parse_overrides(pairs)
    texts = {setting.name for setting in leaves(settings) if setting.annotation in (str, Path)}
    for pair in pairs:
        key, _, raw = pair.partition("=")
        if key in texts and raw.lower() not in ("null", "~", ""):  # name=2024 means the text, not the number
            tree = merge(tree, _nested_text(key.split("."), raw))
    return tree


def _nested_text(path: list[str], raw: str) -> dict[str, Any]:
    value: Any = raw[1:-1] if len(raw) > 1 and raw[0] == raw[-1] and raw[0] in "'\"" else raw
    for part in reversed(path):
        value = {part: value}
    tree: dict[str, Any] = value
    return tree


def _without_none(annotation: Any) -> Any:
    if get_origin(annotation) not in (Union, types.UnionType):
        return annotation
    kept = [argument for argument in get_args(annotation) if argument is not type(None)]
    if len(kept) == len(get_args(annotation)):
        return annotation
    return kept[0] if len(kept) == 1 else Union[tuple(kept)]  # noqa: UP007


def _as_yaml(value: Any) -> str:
    if isinstance(value, Path):
        value = str(value)
    if isinstance(value, BaseModel):
        value = value.model_dump(mode="json")
    if isinstance(value, tuple | set | frozenset):
        value = list(value)
    text = yaml.safe_dump(value, default_flow_style=True, width=10_000).strip()
    return text.removesuffix("\n...").strip()


def _kind(value: Any) -> str:
    return {"str": "text", "list": "list"}.get(type(value).__name__, "single value")
