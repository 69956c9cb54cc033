"""`kilter oversee`: experiments on help, from one file, with simulated raters, models or people."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilter.cli.workspace import DatabaseOption, WorkspaceOption

if TYPE_CHECKING:
    from kilter.models.chat import ChatModel
    from kilter.oversight.conduct import Ask, Conducted
    from kilter.oversight.results import Results
    from kilter.oversight.study import PromptedSettings
    from kilter.record import Workspace

app = typer.Typer(
    help="Experiments on help: plant flaws, give raters help in arms, and measure what it is worth.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def run(
    study: Annotated[Path, typer.Argument(help="The study's YAML file.", metavar="STUDY")],
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Run a study and write its report; stopped or killed, the same command goes on.

    The power is computed first, and a study that is too small is refused. Every trial is on the record as soon as it
    is done: the answer before help, the help that was shown, and the answer after it. Where people judge, the pages
    are opened on this machine; raters elsewhere are let in by 'kilter feedback serve' on the same workspace.
    """
    from kilter.cli.pages import open_pages
    from kilter.cli.progress import StageProgress
    from kilter.oversight.conduct import conduct
    from kilter.oversight.study import read_study
    from kilter.record import Workspace

    plan = read_study(study)
    with Workspace.open(workspace, database) as opened, StageProgress() as shown, _models() as ask:
        shown.step(plan.name, "running")
        done = conduct(
            plan, opened, ask, lambda what, step, total: shown.progress(what, step, total, {}),
            lambda record, task: open_pages(record, task, shown.note, opened.runs),
        )  # fmt: skip
        _write(done, opened)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="The study's name.", metavar="NAME")],
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Compute the figures of a study from its trials and write its report anew."""
    from kilter.oversight.conduct import done_so_far
    from kilter.record import Workspace

    with Workspace.open(workspace, database, create=False) as opened:
        _write(done_so_far(opened, name), opened)


@app.command()
def export(
    name: Annotated[str, typer.Argument(help="The study's name.", metavar="NAME")],
    out: Annotated[Path, typer.Option("--out", help="The JSONL file to write, one case a line.")],
    share: Annotated[
        float, typer.Option("--share", help="Share of a case's raters that must have marked a passage.")
    ] = 0.5,
    arm: Annotated[list[str] | None, typer.Option("--arm", help="Only trials with this help; may be repeated.")] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Write the cases with what raters marked, and not what was planted: 'kilter train critic' learns of them."""
    from kilter.errors import SettingsError
    from kilter.files import write_atomically
    from kilter.oversight.conduct import done_so_far
    from kilter.oversight.marked import marked_cases
    from kilter.record import Workspace
    from kilter.settings import nearest
    from kilter.testbeds import as_jsonl

    if not 0 < share <= 1:
        raise SettingsError(f"--share {share:g} is no share of raters; give one above 0, up to 1.")
    with Workspace.open(workspace, database, create=False) as opened:
        done = done_so_far(opened, name)
    chosen = [one for one in done.study.arms if arm is None or one in arm]
    for odd in set(arm or ()) - set(done.study.arms):
        raise SettingsError(f"The study {name} has no arm '{odd}': {nearest(odd, done.study.arms)}")
    cases = marked_cases(done.cases, done.outcomes, chosen, share)
    write_atomically(out, as_jsonl(cases))
    flawed = sum(bool(one.flaws) for one in cases)
    typer.echo(f"{len(cases):,} cases, {flawed:,} of them with marked passages: {out}")


def _write(done: Conducted, workspace: Workspace) -> None:
    from kilter.oversight.account import notices
    from kilter.oversight.page import WHO, opening, write_page
    from kilter.oversight.recording import finish_run
    from kilter.oversight.results import evidence_of, results_of

    results = results_of(done)
    written = write_page(done, results)
    if done.run is not None:
        finish_run(workspace.record, done.run, evidence_of(results), written.summary)
    _table(results)
    typer.echo(opening(results, WHO[done.study.raters.kind]))
    for notice in notices(done):
        typer.echo(notice)
    typer.echo(f"Report: {written.page}")


def _table(results: Results) -> None:
    from rich.console import Console
    from rich.table import Table

    from kilter.oversight.page import ARM_NAMES
    from kilter.report import numbers

    table = Table("", "Flaws found", "Right marked", "Found, against no help", box=None, pad_edge=False)
    for arm, one in results.arms.items():
        ratio = one.effect.ratio.estimate if one.effect.ratio else None
        table.add_row(
            ARM_NAMES[arm],
            f"{numbers.value(one.effect.found)} {numbers.interval(one.effect.found)}",
            f"{numbers.value(one.effect.false)} {numbers.interval(one.effect.false)}",
            "" if ratio is None else f"{numbers.value(ratio)}x {numbers.interval(ratio)}",
        )
    Console(highlight=False).print(table)


@contextmanager
def _models() -> Iterator[Ask]:
    """Opens models: an address is asked as it is, a name or folder is served on this machine inside the block."""
    from kilter.models.chat import ChatModel
    from kilter.oversight.study import is_address

    with ExitStack() as stack:

        def ask(asked: PromptedSettings) -> ChatModel:
            address = asked.model if is_address(asked.model) else stack.enter_context(_served(asked.model))
            chat = ChatModel(address, asked.name, key=asked.key, max_tokens=asked.max_tokens)
            stack.callback(chat.close)
            return chat

        yield ask


@contextmanager
def _served(model: str) -> Iterator[str]:
    from kilter.models import load
    from kilter.serving import ServedModel, create_app, running

    with running(create_app(ServedModel(load(model), Path(model).name))) as address:
        yield address
