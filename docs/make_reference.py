"""Write docs/reference/ from the code: commands, recipe steps, settings, and the Python names of each room.

python docs/make_reference.py            write the pages
python docs/make_reference.py --check    only say which are out of date (exit code 1)
"""

from __future__ import annotations

import dataclasses
import importlib
import inspect
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, ForwardRef

FOLDER = Path(__file__).parent / "reference"
NOTE = "<!-- Made from the code by docs/make_reference.py: change the code, then run `make docs`. -->\n"

ROOMS = (
    "web",
    "web.oidc",
    "recipes",
    "report",
    "serving",
    "evals",
    "oversight",
    "oversight.critics",
    "oversight.recursion",
    "training",
    "judges",
    "feedback",
    "feedback.accounts",
    "feedback.tasks",
    "feedback.work",
    "feedback.exchange",
    "feedback.quality",
    "testbeds",
    "testbeds.instructions",
    "testbeds.facts",
    "testbeds.plain_text",
    "testbeds.reasoning",
    "testbeds.shortcuts",
    "testbeds.stories",
    "testbeds.code",
    "testbeds.code.problems",
    "models",
    "stats",
    "sandbox",
    "record",
    "settings",
    "errors",
)

VARIABLES = {
    "KILTER_WORKSPACE": "The workspace's folder; `./workspace` if it is not set. `--workspace` wins over it.",
    "KILTER_DATABASE": "The address of the PostgreSQL database with the record's rows; the workspace's `kilter.db` if "
    "it is not set. `--database` wins over it.",
    "KILTER_HOME": "Where pulled models are kept; `kilter` in your cache folder (`XDG_CACHE_HOME`) if it is not set.",
    "KILTER_NATIVE": "`0` computes without the native kernels ([speed](../speed.md)).",
    "KILTER_DEBUG": "`1` shows the traceback of an error.",
    "HF_HUB_OFFLINE": "Kilter sets it to `1` unless you have set it, because a look-up without a network blocks. "
    "A model or data set that you name by its hub id is fetched all the same; with your own `1`, nothing is.",
}


def pages() -> dict[str, str]:
    """Every page by its file name."""
    made = {
        "commands.md": _commands(),
        "steps.md": _steps(),
        "settings.md": _settings(),
        "python.md": _python(),
    }
    return {"README.md": _contents(made), **made}


def _contents(made: dict[str, str]) -> str:
    lines = [NOTE, "# Reference\n"]
    for name, text in made.items():
        _, title, about, *_ = (part for part in text.split("\n\n") if part.strip())
        lines.append(f"- [{title.removeprefix('# ')}]({name}): {_first_sentence(about)}")
    return "\n".join(lines) + "\n"


# Commands


def _commands() -> str:
    import typer

    from kilter.cli.main import EXIT_CODES, app

    parts = [NOTE, "# Commands\n", "Every command of `kilter`, its flags, exit codes and environment variables.\n"]
    for words, command in _walk(typer.main.get_command(app), ("kilter",)):
        parts.append(_command(words, command))
    parts += ["## Exit codes\n", _exit_codes(EXIT_CODES), "## Environment variables\n"]
    parts += ["| variable | meaning |", "|---|---|"]
    parts += [f"| `{name}` | {meaning} |" for name, meaning in VARIABLES.items()]
    return "\n".join(parts) + "\n"


def _walk(command: Any, words: tuple[str, ...]) -> Iterator[tuple[tuple[str, ...], Any]]:
    """Every command without subcommands, by the words that call it."""
    from kilter.cli.main import _COMMANDS, _load

    for name, found in getattr(command, "commands", {}).items():
        real = _load(name) if len(words) == 1 and name in _COMMANDS else found
        if getattr(real, "commands", None):
            yield from _walk(real, (*words, name))
        else:
            yield (*words, name), real


def _command(words: tuple[str, ...], command: Any) -> str:
    shown = [param for param in command.params if param.name != "help" and not getattr(param, "hidden", False)]
    arguments = [param for param in shown if param.param_type_name == "argument"]
    usage = " ".join([*words, "[OPTIONS]", *(_metavar(param) for param in arguments)])
    lines = [f"## {' '.join(words)}\n", _plain(inspect.cleandoc(command.help or "")), "", f"```\n{usage}\n```\n"]
    lines += ["| argument or option | default | meaning |", "|---|---|---|"]
    for param in shown:
        lines.append("| " + " | ".join(_cell(text) for text in _param(param)) + " |")
    return "\n".join(lines) + "\n"


def _metavar(param: Any) -> str:
    text = param.metavar or param.name.upper()
    return text if param.required or text.startswith("[") else f"[{text}]"


def _param(param: Any) -> tuple[str, str, str]:
    if param.param_type_name == "argument":
        name = f"`{param.metavar or param.name.upper()}`"
    else:
        name = " / ".join(f"`{flag}`" for flag in [*param.opts, *param.secondary_opts])
    meaning = _plain(getattr(param, "help", None) or "")
    default = "required" if param.required else ""
    stated = re.fullmatch(r"(.*?)\s*\\?\[([^\[]*|\[.*\])\]", meaning)
    if stated and not default:
        meaning, default = stated[1], f"`{stated[2]}`"
    elif not default and _says_something(param.default):
        default = f"`{param.default}`"
    return name, default, meaning


def _says_something(default: Any) -> bool:
    return default is not None and default is not False and default not in ("", ()) and not callable(default)


def _exit_codes(text: str) -> str:
    rows = [line.split(maxsplit=1) for line in text.splitlines()[1:]]
    return (
        "\n".join(["| code | meaning |", "|---|---|", *(f"| {code} | {_plain(words)} |" for code, words in rows)])
        + "\n"
    )


# Steps and settings


def _steps() -> str:
    from kilter.cli.options import settings_reference
    from kilter.recipes.step import kinds

    about = (
        "What a recipe can be made of. A recipe is a YAML file with `name`, `description`, `seed` and `steps`; each "
        "step has a name of its own, the kind it uses (`use`, by default the step's name), the steps it takes its "
        "inputs from (`inputs`, by default the steps that are called like them), and settings. From the command "
        "line, `step.setting=value` changes one setting.\n"
    )
    parts = [NOTE, "# Recipe steps\n", about]
    for name, kind in kinds().items():
        module = inspect.getmodule(kind.run)
        said = inspect.getdoc(module) or "" if module else ""
        parts += [f"## {name}\n", _first_sentence(said.partition(": ")[2]) + "\n"]
        needed = [f"`{one}`" for one in kind.inputs] + [f"`{one}` (optional)" for one in kind.optional]
        parts.append(f"Inputs: {', '.join(needed)}.\n" if needed else "Inputs: none.\n")
        parts.append(settings_reference(kind.settings) if kind.settings.model_fields else "It has no settings.\n")
    return "\n".join(parts)


def _settings() -> str:
    from kilter import training
    from kilter.cli.options import settings_reference

    trainers = ("SFT", "Reward", "DPO", "KTO", "PPO", "GRPO", "BestOfN")

    about = (
        "What the trainers can be told, from Python, in a recipe and as flags of `kilter train`. A name that "
        "is not here is an error that names the nearest one.\n"
    )
    parts = [NOTE, "# Training settings\n", about]
    for settings in (getattr(training, f"{name}Settings") for name in trainers):
        parts += [f"## {settings.__name__}\n", f"{inspect.getdoc(settings)}\n", settings_reference(settings)]
    return "\n".join(parts)


# Python


def _python() -> str:
    about = (
        "The public names of each room, from the top floor down; a room imports only from rooms below it. Shapes, "
        "units and errors are in the docstrings (`help(kilter.models.sample)`).\n"
    )
    parts = [NOTE, "# Python\n", about]
    for room in ROOMS:
        module = importlib.import_module(f"kilter.{room}")
        parts += [f"## kilter.{room}\n", f"{inspect.getdoc(module)}\n"]
        for name in getattr(module, "__all__", None) or _own_names(module):
            parts.append(_name(name, getattr(module, name)))
    return "\n".join(parts)


def _own_names(module: Any) -> list[str]:
    return [name for name, value in vars(module).items() if _is_own(value, module) and not name.startswith("_")]


def _is_own(value: Any, module: Any) -> bool:
    return (inspect.isclass(value) or inspect.isfunction(value)) and value.__module__ == module.__name__


def _name(name: str, value: Any) -> str:
    if inspect.isfunction(value):
        return f"### {name}\n\n```python\n{_signature(name, value)}\n```\n\n{_about(value)}\n"
    if inspect.isclass(value):
        return f"### {name}\n\n```python\n{_class(name, value)}\n```\n\n{_about(value)}\n"
    return f"### {name}\n\n```python\n{name} = {_without_modules(repr(value))}\n```\n"


def _class(name: str, value: type) -> str:
    from pydantic import BaseModel

    bases = [base.__name__ for base in value.__bases__ if base.__name__ not in ("object", "Generic")]
    lines = [f"class {name}({', '.join(bases)}):" if bases else f"class {name}:"]
    if not issubclass(value, BaseModel):  # the fields of settings are in their own tables
        lines += [f"    {line}" for line in _fields(value)]
    for method, found in vars(value).items():
        if not method.startswith("_") and (line := _method(method, found)):
            lines += [f"    {part}" for part in line.split("\n")]
    return "\n".join(lines) if len(lines) > 1 else f"{lines[0]} ..."


def _fields(value: type) -> list[str]:
    defaults = {}
    if dataclasses.is_dataclass(value):
        parts = dataclasses.fields(value)
        defaults = {part.name: part.default for part in parts if part.default is not dataclasses.MISSING}
    lines = []
    for field, kind in inspect.get_annotations(value).items():
        if not field.startswith("_"):
            default = f" = {_without_modules(repr(defaults[field]))}" if field in defaults else ""
            lines.append(f"{field}: {_annotation(kind)}{default}")
    return lines


def _method(name: str, found: Any) -> str:
    if isinstance(found, staticmethod | classmethod):
        return f"@{type(found).__name__}\n{_signature(name, found.__func__)}"
    if inspect.isfunction(found):
        return _signature(name, found)
    if isinstance(found, property) or type(found).__name__ == "cached_property":
        function = found.fget if isinstance(found, property) else found.func
        return f"{name}: {_annotation(inspect.signature(function).return_annotation)}  # property"
    return ""


def _signature(name: str, function: Any) -> str:
    signature = inspect.signature(function)
    kept = [
        param.replace(annotation=inspect.Parameter.empty) if param.name in ("self", "cls") else param
        for param in signature.parameters.values()
    ]
    text = f"def {name}{signature.replace(parameters=kept)}"
    # annotations are strings under `from __future__ import annotations`, and are shown in quotes
    return _without_modules(re.sub(r"(?<=: )'([^']*)'|(?<=-> )'([^']*)'$|(?<=-> )\"(.*)\"$", _unquote, text))


def _unquote(match: re.Match[str]) -> str:
    return next(group for group in match.groups() if group is not None)


def _annotation(kind: Any) -> str:
    if isinstance(kind, ForwardRef):
        kind = kind.__forward_arg__
    return _without_modules(kind if isinstance(kind, str) else inspect.formatannotation(kind))


def _without_modules(text: str) -> str:
    """`kilter.models.pack.Item` as `Item`, objects without an address that changes from run to run, double quotes."""
    text = re.sub(r"<(?:function|class) '?([\w.]+)'?(?: at 0x[0-9a-f]+)?>", r"\1", text)
    text = re.sub(r"\b(?:kilter|typing|collections|pathlib)(?:\.[a-z_]+)*\.(?=\w)", "", text)
    return re.sub(r"'([^'\"]*)'", r'"\1"', text)


# Words


def _about(value: Any) -> str:
    """The first paragraph of a docstring, as one line."""
    return " ".join((inspect.getdoc(value) or "").split("\n\n")[0].split())


def _first_sentence(text: str) -> str:
    one_line = " ".join(text.split("\n\n")[0].split())
    sentence = re.split(r"(?<=\.)\s", one_line)[0]
    return sentence[:1].upper() + sentence[1:]


def _plain(text: str) -> str:
    """Rich markup as Markdown."""
    return re.sub(r"\[/?bold\]", "**", text).replace("\\[", "[")


def _cell(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


def main() -> int:
    """Write or check every page."""
    made = pages()
    FOLDER.mkdir(exist_ok=True)
    stale = [name for name, text in made.items() if _read(FOLDER / name) != text]
    extra = sorted({path.name for path in FOLDER.glob("*.md")} - made.keys())
    if "--check" in sys.argv[1:]:
        for name in [*stale, *extra]:
            print(f"out of date: docs/reference/{name}")
        return 1 if stale or extra else 0
    for name in stale:
        (FOLDER / name).write_text(made[name], encoding="utf-8")
    for name in extra:
        (FOLDER / name).unlink()
    print(f"docs/reference: {len(made)} pages, {len(stale) + len(extra)} changed")
    return 0


def _read(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.is_file() else None


if __name__ == "__main__":
    sys.exit(main())
