"""The `kilter` program: its commands, and what a user sees when one of them cannot go on."""

from __future__ import annotations

import errno
import importlib
import os
import sys
import traceback
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup

from kilter import __version__
from kilter.cli import environment, together
from kilter.errors import KilterError, SettingsError, StorageError

INTERRUPTED, BROKEN_PIPE = 130, 141
EXIT_CODES = """[bold]Exit codes[/bold]
  0  done
  1  a fault in Kilter itself (KILTER_DEBUG=1 shows where)
  2  a setting or flag is unknown, unused, of the wrong type or contradictory
  3  a data file cannot be read, or holds nothing to learn from
  4  a model is missing, damaged or does not fit
  5  a run stopped itself: it diverged, collapsed or had nothing to learn
  6  the disk is full or not writable, or the database of the record is not reached
  7  the record is damaged, or does not hold what was asked for
  8  a server did not answer, or not with what was asked for; the same command goes on from there
  9  other processes or machines cannot do their part of the work
 10  some combinations of a sweep failed; the others are done
 11  code that nobody has read cannot be run safely on this system
130  stopped by you (Ctrl-C); the same command goes on from there"""


@dataclass(frozen=True)
class _Lazy:
    module: str
    attribute: str
    help: str


_COMMANDS = {
    "run": _Lazy("kilter.cli.run", "run", "Walk a recipe, a whole loop in one YAML file, and write its report."),
    "sweep": _Lazy("kilter.cli.run", "sweep", "Walk a recipe once per combination of settings, and compare."),
    "train": _Lazy("kilter.cli.train", "app", "One stage alone: fine-tuning, a reward model, PPO."),
    "models": _Lazy("kilter.cli.models", "app", "Fetch models, list and show them, talk to one."),
    "serve": _Lazy("kilter.cli.serve", "serve", "Answer as an OpenAI-compatible server, for rollouts and judges."),
    "feedback": _Lazy("kilter.cli.feedback", "app", "People judge in their browsers, and what that is worth."),
    "testbed": _Lazy(
        "kilter.cli.testbed", "app", "Worlds whose truth is known: look at cases with planted flaws, write them."
    ),
    "oversee": _Lazy("kilter.cli.oversee", "app", "Experiments on help: what assistance is worth to whoever judges."),
    "record": _Lazy("kilter.cli.record", "app", "Where a model came from, down to each judgment."),
}


class _Interrupted(Exception):
    """Ctrl-C, in a form that typer does not swallow."""


class LazyGroup(TyperGroup):
    """A group that shows its commands' help without importing them."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: TyperCommand(name, help=lazy.help) for name, lazy in _COMMANDS.items()}

    def list_commands(self, ctx: Any) -> list[str]:
        """The commands in the order a user meets them."""
        return list(_COMMANDS)

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the command that `args` begin with, and import it."""
        name, found, rest = super().resolve_command(ctx, args)
        if together.started() and name != "train":
            raise SettingsError(
                f"'kilter {name}' works in one process, and torchrun started several. Start it alone; what several "
                "processes do together is 'kilter train'."
            )
        return name, _load(name) if name in _COMMANDS else found, rest

    def invoke(self, ctx: Any) -> Any:
        """Run the command; typer would end Ctrl-C and a closed pipe in its own way."""
        try:
            result = super().invoke(ctx)
            sys.stdout.flush()
            return result
        except (KeyboardInterrupt, BrokenPipeError) as error:
            raise _Interrupted(error) from error


def _load(name: str) -> Any:
    lazy = _COMMANDS[name]
    target = getattr(importlib.import_module(lazy.module), lazy.attribute)
    if not isinstance(target, typer.Typer):
        function, target = target, typer.Typer(rich_markup_mode="rich")
        target.command(name)(function)
    command = typer.main.get_command(target)
    command.name = name
    # typer takes every app for a program of its own and gives it the options to install completion
    command.params = [param for param in command.params if not str(param.name).endswith("_completion")]
    return command


app = typer.Typer(cls=LazyGroup, rich_markup_mode="rich", no_args_is_help=True, epilog=EXIT_CODES)


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"kilter {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool,
        typer.Option("--version", help="Show the version and leave.", callback=_show_version, is_eager=True),
    ] = False,
) -> None:
    """Kilter, a workbench for aligning language models.

    Start with [bold]kilter models pull smollm2-135m[/bold],
    then [bold]kilter run recipes/quickstart.yaml[/bold].
    """


def main(arguments: Sequence[str] | None = None) -> None:
    """Run `kilter` with these arguments (those of the process by default) and exit with its code."""
    environment.prepare()
    together.end(execute(arguments))


def execute(arguments: Sequence[str] | None = None) -> int:
    """Run `kilter` and return its exit code; every problem is one paragraph on stderr."""
    try:
        with together.working():
            return _execute(arguments)
    except Exception as error:
        return _explain(error)


def _execute(arguments: Sequence[str] | None) -> int:
    try:
        command = typer.main.get_command(app)
        code = command.main(args=arguments, prog_name="kilter", standalone_mode=False)
        return code if isinstance(code, int) else 0
    except Exception as error:
        with together.said_once(str(error)):  # before this process leaves the others, which would fail for that
            return _explain(error)


def _explain(error: Exception) -> int:
    if isinstance(error, _Interrupted):
        return _explain_end(error.__cause__)
    if environment.debugging():
        traceback.print_exception(error)
    if isinstance(error, KilterError):
        _print_error(str(error))
        return error.exit_code
    if hasattr(error, "format_message"):  # typer's usage errors; their class is private to it
        from typer import rich_utils

        rich_utils.rich_format_error(error)  # type: ignore[arg-type]
        return int(getattr(error, "exit_code", 2))
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        where = f" at {error.filename}" if error.filename else ""
        _print_error(
            f"The disk is full{where}. What was finished is kept; make room, and the same command goes on from there."
        )
        return StorageError.exit_code
    notes = "".join(f" {note}" for note in getattr(error, "__notes__", []))
    _print_error(
        f"Something that Kilter did not expect: {type(error).__name__}: {error}{notes} This is a fault in Kilter. "
        "KILTER_DEBUG=1 before the same command shows where it happened; please report it with that."
    )
    return 1


def _explain_end(cause: BaseException | None) -> int:
    if isinstance(cause, BrokenPipeError):
        # whoever read our output has gone; Python would complain once more while closing stdout
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return BROKEN_PIPE
    _print_paragraph("Stopped by you; what was finished is kept; the same command goes on from there.", "")
    return INTERRUPTED


def _print_error(message: str) -> None:
    _print_paragraph(message, f"Error{together.which()}: ")


def _print_paragraph(message: str, prefix: str) -> None:
    from rich.console import Console
    from rich.text import Text

    console = Console(stderr=True)
    text = Text.assemble((prefix, "bold red"), message)
    console.print(text, soft_wrap=not console.is_terminal, highlight=False)
