"""Kinds of steps, and what a step sees while it runs."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from kilter.models.catalogue import file_sha256
from kilter.recipes.parts import Here, Workers
from kilter.record import Record
from kilter.settings import Settings
from kilter.training.loop import Progress

Pages = Callable[[Record], AbstractContextManager[None]]
"""Opens the pages of a record inside a block, and tells the user their address."""


@dataclass(frozen=True)
class Output:
    """What a finished step left: its folder, its result (JSON), and the key that names its content."""

    name: str
    folder: Path
    result: dict[str, Any]
    key: str
    run: str


@dataclass(frozen=True)
class Context:
    """What a step may use besides its settings.

    Attributes:
        folder: its own folder; whatever it writes there is kept.
        inputs: outputs of the steps it depends on, by the name it knows them by.
        record: the workspace's record.
        seed: a seed of its own, derived from the recipe's seed and the step's name.
        run: id of its run on the record.
        progress: told how far it is.
        recipe: name, description, source and overrides, for the report.
        outputs: every finished step so far, for the report's tables.
        workers: where independent parts of its work are done; it alone writes on the record.
        pages: opens the pages on which people judge, for as long as a step waits for them; None where this program has
            none, and somebody else serves the workspace.
    """

    folder: Path
    inputs: Mapping[str, Output]
    record: Record
    seed: int
    run: str
    progress: Progress
    recipe: Mapping[str, Any]
    outputs: Mapping[str, Output]
    workers: Workers = field(default_factory=Here)
    pages: Pages | None = None

    def input(self, name: str) -> Output:
        """The output of an input step."""
        return self.inputs[name]

    def follow(self, stage: str, total: int, results: Iterable[Any]) -> Iterator[Any]:
        """The results of `total` parts as they come, with the progress told."""
        self.progress(stage, 0, total, {})
        for number, result in enumerate(results, 1):
            self.progress(stage, number, total, {})
            yield result


@dataclass(frozen=True)
class Kind:
    """A kind of step.

    Attributes:
        name: what a recipe writes after `use:`.
        settings: its settings' class.
        run: does the work; returns a JSON result. May be called again after a kill, with its folder as it was.
        inputs, optional: names of the steps it depends on.
        files: hashes of the files that the settings name, so that a changed file is read anew.
        names_run: whether the recipe's name and overrides show in what it makes, as in a report.
        version: raised when the code changes what it makes, so that old results are not taken for new ones.
    """

    name: str
    settings: type[Settings]
    run: Callable[[Any, Context], dict[str, Any]]
    inputs: tuple[str, ...] = ()
    optional: tuple[str, ...] = ()
    version: int = 1
    files: Callable[[Any], dict[str, str]] | None = None
    names_run: bool = False


_MODULES = ("model", "instructions", "preferences", "sft", "compare", "reward", "ppo", "evaluate", "report")


def file_hashes(*names: str | None) -> dict[str, str]:
    """Hash of each file named, and of each file in a folder named; what is not on this machine is left out."""
    paths = [Path(name) for name in names if name is not None]
    inside = [one for path in paths for one in (sorted(path.rglob("*")) if path.is_dir() else [path])]
    return {str(path): file_sha256(path) for path in inside if path.is_file()}


@cache
def kinds() -> dict[str, Kind]:
    """All kinds of steps by name."""
    found = [importlib.import_module(f"kilter.recipes.steps.{module}").KIND for module in _MODULES]
    return {kind.name: kind for kind in found}
