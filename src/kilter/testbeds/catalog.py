"""The testbeds by name, and cases of them: generated, made of real data, or read back from a file."""

from __future__ import annotations

import importlib
import json
from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError, SettingsError
from kilter.files import json_lines
from kilter.settings import nearest
from kilter.testbeds.case import Case, Flaw


@dataclass(frozen=True)
class Testbed:
    """Where a testbed's `generate(n, seed, split, *, difficulty, flawed)` is.

    Attributes:
        words: whether it takes `words` too.
        views: whether a judge may be shown less of the source than an expert.
    """

    module: str
    help: str
    words: bool = False
    views: bool = False


# Adding a testbed is adding a line.
TESTBEDS = {
    "code": Testbed("kilter.testbeds.code", "Python functions, their docstrings and hidden tests."),
    "facts": Testbed(
        "kilter.testbeds.facts", "A made-up world's encyclopedia and short answers about its articles.", views=True
    ),
    "reasoning": Testbed("kilter.testbeds.reasoning", "Problems solved in steps, some of which go wrong."),
    "stories": Testbed("kilter.testbeds.stories", "Stories of 200 to 20,000 words and summaries of them.", words=True),
}


@dataclass(frozen=True)
class Loader:
    """The function that makes cases of real data in a published layout, and which of `load`'s settings it takes."""

    module: str
    function: str
    help: str
    settings: tuple[str, ...] = ()


_TAMPERED = ("seed", "flawed", "difficulty", "limit")
LOADERS = {
    "humaneval": Loader("kilter.testbeds.code", "load_humaneval", "HumanEval's problems, tampered with.", _TAMPERED),
    "mbpp": Loader("kilter.testbeds.code", "load_mbpp", "MBPP's problems, tampered with.", _TAMPERED),
    "bugs": Loader("kilter.testbeds.code", "load_bugs", "Bugs that somebody has collected.", ("limit",)),
    "faithfulness": Loader(
        "kilter.testbeds.stories", "load_faithfulness", "Summaries with the passages that workers marked, as of XSum.",
        ("documents", "agreed"),
    ),
    "prm800k": Loader("kilter.testbeds.reasoning", "load_prm800k", "Solutions with PRM800K's step labels.", ("split",)),
    "gsm8k": Loader("kilter.testbeds.reasoning", "load_gsm8k", "GSM8K's correct solutions.", ("split",)),
}  # fmt: skip


def load(kind: str, path: Path, **settings: Any) -> list[Case]:
    """Cases of real data of a `kind` of `LOADERS`; what the settings mean is told by the loader, None is its default.

    Raises:
        SettingsError: there is no such kind, or it has no such setting.
        DataError: the file cannot be read, with its line.
        SandboxError: the data hold programs, and code of others cannot be run safely here.
    """
    if kind not in LOADERS:
        raise SettingsError(f"There is no loader for '{kind}': {nearest(kind, LOADERS)}")
    loader = LOADERS[kind]
    given = {name: value for name, value in settings.items() if value is not None}
    for name in given:
        if name not in loader.settings:
            raise SettingsError(f"'{name}' is not a setting of '{kind}'; leave it out.")
    function: Callable[..., list[Case]] = getattr(importlib.import_module(loader.module), loader.function)
    return function(path, **given)


def generate(
    name: str, n: int, seed: int, split: str = "train", *, difficulty: float = 0.5, flawed: float = 0.5,
    words: int | None = None,
) -> list[Case]:  # fmt: skip
    """`n` cases of the testbed `name`; what the settings mean is told by the testbed's own `generate`.

    Raises:
        SettingsError: there is no such testbed, or it has no `words`.
        DataError: a setting out of range.
    """
    if name not in TESTBEDS:
        raise SettingsError(f"There is no testbed '{name}': {nearest(name, TESTBEDS)}")
    more: dict[str, Any] = {}
    if words is not None:
        if not TESTBEDS[name].words:
            raise SettingsError(f"'words' is not a setting of the testbed '{name}'; leave it out.")
        more["words"] = words
    function: Callable[..., list[Case]] = importlib.import_module(TESTBEDS[name].module).generate
    return function(n, seed, split, difficulty=difficulty, flawed=flawed, **more)


def as_jsonl(cases: Iterable[Case]) -> str:
    """One case a line, the truth behind it included, as `read_cases` reads them."""
    return "".join(f"{json.dumps(asdict(case), ensure_ascii=False)}\n" for case in cases)


def read_cases(path: Path) -> list[Case]:
    """Cases of a JSONL file that `kilter testbed generate` wrote, or of the same form.

    Raises:
        DataError: there is no such file, or a line is no case, with its number.
    """
    if not path.is_file():
        raise DataError(f"There is no file {path}; 'kilter testbed generate' writes one.")
    cases = [_case(row, f"{path}, line {number}") for number, row in json_lines(path)]
    if not cases:
        raise DataError(f"{path} holds no cases.")
    return cases


def _case(row: dict[str, Any], where: str) -> Case:
    try:
        flaws = tuple(Flaw(**{**one, "evidence": _pairs(one.get("evidence", ()))}) for one in row["flaws"])
        return Case(**{**row, "flaws": flaws, "units": _pairs(row["units"])})
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise DataError(f"{where} is no case of a testbed ({error}); 'kilter testbed generate' writes them.") from error


def _pairs(listed: Iterable[Iterable[int]]) -> tuple[tuple[int, int], ...]:
    return tuple((int(first), int(last)) for first, last in listed)
