"""`kilter record`: where a model came from, down to each judgment, and whether the record is whole."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from kilter.cli.workspace import DatabaseOption, WorkspaceOption
from kilter.errors import RecordError, SettingsError

if TYPE_CHECKING:
    from rich.console import Console
    from rich.tree import Tree

    from kilter.record import Artifact, Judgment, Lineage, Record, Run, Verification, Workspace

BULK = 8  # siblings of one kind that are listed one by one; more are counted
LISTED = 10  # runs and models in the overview

app = typer.Typer(
    help="Where a model came from, down to each judgment, and whether the record is whole.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


@app.command()
def show(
    row: Annotated[
        str | None, typer.Argument(metavar="[ID]", help="An id, or its first characters (4 or more).")
    ] = None,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    judgments: Annotated[
        bool, typer.Option("--judgments", help="List each judgment, and the help its judge had seen.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show where something came from; without ID, what is on the record.

    For a model: what it was made from, and whose judgments shaped it.

    Simulated judges are marked SIMULATED.
    """
    with _opened(workspace, database) as opened:
        if row is None:
            _show_overview(opened, as_json)
            return
        lineage = opened.record.lineage(row)
        if as_json:
            typer.echo(json.dumps(lineage.as_dict(), indent=2, ensure_ascii=False))
        else:
            _console().print(_tree(opened.record, lineage, judgments))


@app.command()
def verify(
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
    proof: Annotated[
        str | None,
        typer.Option("--proof", metavar="ID", help="Print a proof, as JSON, that this row is on the record."),
    ] = None,
    since: Annotated[
        str | None,
        typer.Option("--since", metavar="SIZE:ROOT", help="What an earlier verify printed: check that too."),
    ] = None,
) -> None:
    """Hash every row and file again, and check them against the record's Merkle log.

    Prints OK and the root hash, or what is damaged (exit code 7).

    Keep what it prints for --since: only so can it be found later
    that the end of the log was cut off.
    """
    earlier = _parse_since(since)
    with _opened(workspace, database) as opened:
        if proof is not None:
            typer.echo(json.dumps(opened.record.inclusion_proof(proof).as_dict(), indent=2))
            return
        result = _verify_with_progress(opened, earlier)
        if not result.ok:
            _report_damages(result, opened.root)
    typer.echo(f"OK  {result.rows:,} rows and {result.bodies:,} bodies are as they were recorded.")
    typer.echo(f"root  {result.root}")
    if since:
        typer.echo(f"since  nothing that was recorded up to {since} was changed")
    typer.echo(f"keep  {result.size}:{result.root}  (for --since, at any later time)")


@contextmanager
def _opened(path: Path | None, database: str | None) -> Iterator[Workspace]:
    from kilter.record import Workspace

    with Workspace.open(path, database, create=False) as workspace:
        yield workspace


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = 1000  # a file or another program reads this: lines must stay whole
    return console


def _parse_since(text: str | None) -> tuple[int, str] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d+):([0-9a-f]{64})", text.strip().lower())
    if not match:
        raise SettingsError(
            f"--since {text} is not of the form SIZE:ROOT, a number, a colon and 64 hexadecimal digits. Give "
            "what 'kilter record verify' printed after 'keep'."
        )
    return int(match[1]), match[2]


def _verify_with_progress(workspace: Workspace, since: tuple[int, str] | None) -> Verification:
    from rich.console import Console
    from rich.progress import MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:2], MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(
        TextColumn("hashing"), *columns, console=console, transient=True, disable=not console.is_terminal
    ) as bar:
        task = bar.add_task("", total=None)

        def advance(done: int, total: int) -> None:
            if done % 256 == 0 or done == total:
                bar.update(task, completed=done, total=total)

        return workspace.record.verify(since, advance)


def _report_damages(result: Verification, workspace: Path) -> None:
    for damage in result.damages:
        typer.echo(f"DAMAGED  {damage.where}: {damage.what}")
    if result.found > len(result.damages):
        typer.echo(f"... and {result.found - len(result.damages):,} more")
    count = "one thing is" if result.found == 1 else f"{result.found:,} things are"
    raise RecordError(
        f"The record in {workspace} is damaged: {count} not as recorded, the first at "
        f"{result.damages[0].where}. Restore the workspace from a backup and verify that; rely on nothing "
        "listed above until then."
    )


# The overview


def _show_overview(workspace: Workspace, as_json: bool) -> None:
    from rich.markup import escape
    from rich.table import Table

    record = workspace.record
    counts, size, root = record.counts(), record.size(), record.root()
    runs, models = record.runs(newest=LISTED)[::-1], record.artifacts("model", newest=LISTED)[::-1]
    titles = record.titles(model.id for model in models)
    if as_json:
        overview = {
            "workspace": str(workspace.root),
            "counts": counts,
            "size": size,
            "root": root,
            "runs": [_run_summary(run) for run in runs],
            "models": [{"id": m.id, "name": titles[m.id], "producer": m.producer} for m in models],
        }
        typer.echo(json.dumps(overview, indent=2, ensure_ascii=False))
        return
    console = _console()
    console.print(f"[bold]Record[/] of {escape(str(workspace.root))}")
    tables = ("artifacts", "judgments", "exposures", "runs", "evidence")
    console.print("  " + "  ".join(f"[dim]{name}[/] {counts[name]:,}" for name in tables))
    console.print(f"  [dim]log[/] {size:,}  [dim]root[/] {root}")
    for title, headings, rows in (
        ("Last runs", ("id", "run", "status", "started", "took"), [_run_cells(run) for run in runs]),
        (
            "Last models",
            ("id", "model", "made by"),
            [(m.id[:8], titles[m.id] or "", m.producer or "") for m in models],
        ),
    ):
        if rows:
            table = Table(*headings, title=title, title_justify="left", box=None, pad_edge=False)
            for cells in rows:
                table.add_row(*map(escape, cells))
            console.print()
            console.print(table)
    if models:
        console.print(f"\nWhere one came from: kilter record show {models[0].id[:8]}")


def _run_summary(run: Run) -> dict[str, Any]:
    names = ("name", "status", "started", "finished", "seconds", "flops")
    return {"id": run.run_id, **{name: getattr(run, name) for name in names}}


def _run_cells(run: Run) -> tuple[str, ...]:
    took = "" if run.seconds is None else f"{run.seconds:,.0f} s"
    return run.run_id[:8], run.name, run.status, run.started[:19].replace("T", " "), took


# The tree


def _tree(record: Record, lineage: Lineage, each: bool) -> Tree:
    from rich.tree import Tree

    from kilter.record import Artifact, Evidence, Run

    row, seen = lineage.root, set[str]()
    if isinstance(row, Artifact):
        tree = Tree(_label(lineage, row))
        _grow_artifact(tree, lineage, row, seen, each)
    elif isinstance(row, Run):
        tree = Tree(_run_label(row))
        _grow_run(tree, record, lineage, row, seen, each)
    else:
        tree = Tree(f"[bold]{type(row).__name__.lower()}[/] {row.id[:8]}")
        for name, value in vars(row).items():
            if name in row.__dataclass_fields__ and value not in (None, [], ()):
                tree.add(_field(name, value))
        if isinstance(row, Evidence):
            run = record.run(row.run)
            _grow_run(tree.add(_run_label(run)), record, lineage, run, seen, each)
        else:
            _add_judges(tree, lineage, list(lineage.judgments), each)
            named = [key for _, key in row.references() if key in lineage.artifacts]
            _grow(tree, lineage, named or lineage.artifacts, seen, each)
    return tree


def _run_label(run: Run) -> str:
    took = "" if run.seconds is None else f" in {run.seconds:,.0f} s"
    return f"[bold]run[/] {run.run_id[:8]}  [cyan]{_safe(run.name)}[/]  {_safe(run.status)}{took}"


def _grow_run(tree: Tree, record: Record, lineage: Lineage, run: Run, seen: set[str], each: bool) -> None:
    for name in ("started", "finished", "seed", "config", "code", "flops"):
        if (value := getattr(run, name)) is not None:
            tree.add(_field(name, value))
    for row in record.evidence(run=run.run_id):
        interval = "" if row.low is None or row.high is None else f" ({row.low:.4g} to {row.high:.4g})"
        tree.add(f"{_safe(row.metric)} {row.value:.4g}{interval}, n {row.n:,}, {_safe(row.method)}")
    for title, ids in (("from", run.inputs), ("made", run.outputs)):
        if ids:
            _grow(tree.add(f"[dim]{title}[/]"), lineage, ids, seen, each)


def _field(name: str, value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return f"[dim]{name}[/] {_safe(text)}"


def _grow(tree: Tree, lineage: Lineage, ids: Iterable[str], seen: set[str], each: bool) -> None:
    """Add artifacts under `tree`: one by one, or, where there are many of a kind, as one counted node."""
    kinds: dict[str, list[Artifact]] = {}
    for key in ids:
        kinds.setdefault(lineage.artifacts[key].kind, []).append(lineage.artifacts[key])
    for kind, members in kinds.items():
        if len(members) > BULK:
            node = tree.add(f"{len(members):,} artifacts of kind [bold]{_safe(kind)}[/]")
            behind = dict.fromkeys(link for member in members for link in lineage.links(member.id))
            _grow(node, lineage, behind, seen, each)
            continue
        for member in members:
            if member.id in seen:
                tree.add(f"{_label(lineage, member)} [dim](shown above)[/]")
            else:
                node = tree.add(_label(lineage, member))
                _grow_artifact(node, lineage, member, seen, each)


def _grow_artifact(tree: Tree, lineage: Lineage, row: Artifact, seen: set[str], each: bool) -> None:
    seen.add(row.id)
    dataset = lineage.datasets.get(row.id)
    if dataset:
        _add_judges(tree, lineage, dataset.judgments, each)
    _grow(tree, lineage, lineage.links(row.id), seen, each)


def _label(lineage: Lineage, row: Artifact) -> str:
    parts = [f"[bold]{_safe(row.kind)}[/] {row.id[:8]}"]
    title, run, dataset = lineage.titles.get(row.id), lineage.runs.get(row.id), lineage.datasets.get(row.id)
    if title:
        parts.append(f"[cyan]{_safe(title)}[/]")
    if dataset:
        comparisons, judgments = len(dataset.comparisons), len(dataset.judgments)
        parts.append(f"{judgments:,} judgments of {comparisons:,} comparisons")
    if row.producer:
        parts.append(f"[dim]by {_safe(row.producer)}[/]")
    if run:
        took = "" if run.seconds is None else f" in {run.seconds:,.0f} s"
        parts.append(f"[dim]run {run.run_id[:8]} {_safe(run.name)}, {_safe(run.status)}{took}[/]")
    return "  ".join(parts)


def _add_judges(tree: Tree, lineage: Lineage, judgment_ids: Iterable[str], each: bool) -> None:
    ids = list(judgment_ids)
    for summary in lineage.judges(ids):
        mark = "[bold yellow]SIMULATED[/]" if summary.simulated else _safe(summary.principal)
        counted = "1 judgment" if summary.judgments == 1 else f"{summary.judgments:,} judgments"
        helped = f", {summary.helped:,} after being shown help" if summary.helped else ""
        model = lineage.judge_models.get(summary.judge)
        which = f"  [dim]model {model[:8]}[/]" if model else ""
        node = tree.add(f"{_safe(summary.judge)}  {mark}  {counted}{helped}{which}")
        if each:
            for key in ids:
                row = lineage.judgments[key]
                if (row.judge, row.principal) == (summary.judge, summary.principal):
                    node.add(_judgment_line(lineage, key, row))


def _judgment_line(lineage: Lineage, key: str, row: Judgment) -> str:
    parts = [key[:8], _safe(json.dumps(row.value, ensure_ascii=False)), f"of {row.target[:8]}"]
    parts += [f"{name} {value}" for name, value in (("p", row.probability), ("seed", row.seed)) if value is not None]
    for exposure in lineage.help.get(key, ()):
        followed = {None: "", True: ", accepted", False: ", not accepted"}[exposure.accepted]
        kind = lineage.artifacts[exposure.assistance].kind
        opened = "opened" if exposure.opened else "not opened"
        parts.append(f"help: {_safe(kind)} {exposure.assistance[:8]} ({opened}{followed})")
    return "  ".join(parts)


def _safe(text: str) -> str:
    from rich.markup import escape

    return escape("".join(char if char.isprintable() else " " for char in text))
