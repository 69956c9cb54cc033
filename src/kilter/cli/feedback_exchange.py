"""`kilter feedback import|export`: items and old answers in, answers as training data out."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from kilter.cli.workspace import DatabaseOption, WorkspaceOption
from kilter.errors import SettingsError

if TYPE_CHECKING:
    from kilter.feedback.exchange import FoundData, Intake
    from kilter.feedback.tasks import Task, TaskItem

Answers = Literal["record", "count", "gold", "leave"]


def import_source(
    source: Annotated[
        str, typer.Argument(metavar="SOURCE", help="A file, a folder of `datasets`, or organization/name of the hub.")
    ],
    task: Annotated[
        str | None, typer.Option("--task", metavar="NAME", help="The task to add to, or its YAML file to open it.")
    ] = None,
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="Write the items to this .jsonl file instead.")
    ] = None,
    layout: Annotated[
        str | None, typer.Option("--format", metavar="NAME", help="The source's layout, where its content misleads.")
    ] = None,
    answers: Annotated[
        Answers | None,
        typer.Option("--answers", help="Old answers: record (beside the task), count, gold (as known), or leave."),
    ] = None,
    column: Annotated[
        list[str] | None,
        typer.Option("--column", metavar="NAME=THEIRS", help="What the source calls prompt, responses, rater, ..."),
    ] = None,
    question: Annotated[
        list[str] | None,
        typer.Option("--map", metavar="THEIRS=OURS", help="Which question of the task an old one stands for."),
    ] = None,
    raters: Annotated[
        str,
        typer.Option(
            "--source",
            metavar="NAME",
            help="Before the raters' names; by default the tool's or file's.",
        ),
    ] = "",
    split: Annotated[str | None, typer.Option("--split", metavar="NAME", help="Which split, where there are.")] = None,
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the file of --out.")] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Import prompts, responses and old annotations.

    Reads JSONL, JSON, CSV, Parquet, folders of `datasets`, exports of Label Studio and Argilla, PRM800K.

    Old answers go onto the record as judgments of their raters, whose names are replaced;
    they count toward nothing unless --answers says so.
    """
    from kilter.feedback.exchange import Columns, read_source
    from kilter.feedback.exchange.fields import NAMES
    from kilter.feedback.exchange.sources import FORMS

    if (task is None) == (out is None):
        raise SettingsError("Say where the items go: --task NAME for a task, or --out FILE for a file, not both.")
    named = _pairs(question or [], "--map", "better=quality")
    columns = Columns.parse(column or [])
    if out is not None:
        _check_out(out, answers, named, overwrite)
        data = read_source(source, layout, columns=columns, split=split)
        _say_read(data, FORMS[data.form].what, layout)
        _write_items(data, out)
        return
    assert task is not None
    from kilter.feedback.exchange import take_in
    from kilter.feedback.work import Desk
    from kilter.record import Workspace

    chosen = _task(task, workspace, database)
    asked = {*named, *({one.name for one in chosen.questions} - NAMES)} - set(columns.named)
    data = read_source(source, layout, columns=columns, asked=asked, split=split)
    _say_read(data, FORMS[data.form].what, layout)
    with Workspace.open(workspace, database) as opened:
        desk = Desk(opened.record)
        desk.add_task(chosen)
        _say_taken(take_in(desk, chosen, data, use=answers or "record", named=named, source=raters), chosen, answers)


def export_task(
    task: Annotated[str, typer.Argument(metavar="TASK", help="The task's name.")],
    target: Annotated[
        Path, typer.Argument(metavar="TARGET", help="A name in .jsonl or .parquet, or a folder for `datasets`.")
    ],
    layout: Annotated[
        str, typer.Option("--layout", metavar="NAME", help="preference, kto, prm, sft, ranking, rating or raw.")
    ],
    question: Annotated[
        str | None, typer.Option("--question", metavar="NAME", help="Which question, where several fit.")
    ] = None,
    aggregate: Annotated[
        str | None, typer.Option("--aggregate", metavar="NAME", help="none, majority or dawid-skene.")
    ] = None,
    desirable: Annotated[
        list[str] | None,
        typer.Option("--desirable", metavar="LABEL", help="For kto: labels, or the lowest grade, that are good."),
    ] = None,
    neutral: Annotated[
        Literal["good", "bad"], typer.Option("--neutral", help="For prm: what a neutral step counts as.")
    ] = "good",
    overwrite: Annotated[bool, typer.Option("--overwrite", help="Replace the target.")] = False,
    workspace: WorkspaceOption = None,
    database: DatabaseOption = None,
) -> None:
    """Export a task's answers as training data that TRL and Kilter read.

    Each row says on which judgments it rests; the whole is a data set on the record.

    Without --aggregate one row per item, by majority, where answers have one;
    'none' gives a row per judgment.
    """
    from kilter.feedback.exchange import Choices, export
    from kilter.feedback.work import Desk
    from kilter.record import Workspace

    with Workspace.open(workspace, database, create=False) as opened:
        done = export(
            Desk(opened.record), task, target, layout, question=question, aggregate=aggregate,
            choices=Choices(tuple(desirable or ()), neutral), overwrite=overwrite,
        )  # fmt: skip
    typer.echo(
        f"{done.target}: {done.rows:,} rows of layout {done.layout}, from {done.judgments:,} judgments of "
        f"{done.items:,} items by {done.judges:,} judges ('{done.question}', aggregated by {done.aggregate})"
    )
    if done.simulated:
        typer.echo(f"simulated  {done.simulated:,} of the judgments are SIMULATED, not of people")
    if done.adjudicated:
        typer.echo(f"adjudicated  {done.adjudicated:,} of the items have the answer that a researcher decided")
    if done.left_out.total:
        typer.echo(f"left out  {done.left_out.total:,}: {done.left_out.words()}")
    typer.echo(f"record  data set {done.dataset[:8]} (kilter record show {done.dataset[:8]})")
    typer.echo(f"keep  {done.size}:{done.root}  (for kilter record verify --since, at any later time)")


def _pairs(pairs: Iterable[str], option: str, example: str) -> dict[str, str]:
    found = {}
    for pair in pairs:
        name, sign, value = (part.strip() for part in pair.partition("="))
        if not name or not sign or not value:
            raise SettingsError(f"{option} {pair} is not of the form THEIRS=OURS, such as {example}.")
        found[name] = value
    return found


def _task(name: str, workspace: Path | None, database: str | None) -> Task:
    """The task of a YAML file, which may be new, or the one of this name."""
    from kilter.feedback.tasks import read_task
    from kilter.feedback.work import Desk
    from kilter.record import Workspace

    if name.endswith((".yaml", ".yml")):
        return read_task(Path(name))
    with Workspace.open(workspace, database, create=False) as opened:
        return Desk(opened.record).task(name)


def _check_out(out: Path, answers: Answers | None, named: dict[str, str], overwrite: bool) -> None:
    from kilter.feedback.exchange.files import check_target

    if answers not in (None, "leave") or named:
        raise SettingsError(
            "A file of items holds no old answers, so --answers and --map have no use with --out; with --task they go "
            "onto the record."
        )
    if out.suffix != ".jsonl":
        raise SettingsError(f"--out {out}: items are written as JSON lines; end the name in .jsonl.")
    check_target(out, overwrite)


def _say_read(data: FoundData, what: str, given: str | None) -> None:
    typer.echo(f"format  {data.form}: {what}" + ("" if given else " (told by its content; --format says otherwise)"))
    for name, theirs in data.columns.items():
        if theirs != (name,):
            typer.echo(f"columns  {name} from {', '.join(theirs)}")
    typer.echo(f"read  {data.summary()}")
    for note in data.notes:
        typer.echo(f"note  {note}")


def _write_items(data: FoundData, out: Path) -> None:
    from kilter.feedback.exchange.files import write_lines

    rows = list({json.dumps(_as_row(found.item), ensure_ascii=False): None for found in data})
    write_lines(rows, out)
    typer.echo(f"wrote  {len(rows):,} different items to {out}")
    answers = sum(len(found.answers) for found in data)
    if answers:
        typer.echo(f"left  {answers:,} old answers, which a file of items cannot hold; --task puts them on the record")


def _as_row(item: TaskItem) -> dict[str, object]:
    """The columns that say something."""
    return {name: value for name, value in item.as_json().items() if value or name == "prompt"}


def _say_taken(done: Intake, task: Task, answers: Answers | None) -> None:
    typer.echo(f"task  '{task.name}': {done.items:,} different items, {done.new:,} of them new")
    if done.skipped.total:
        typer.echo(f"skipped  {done.skipped.total:,}: {done.skipped.words()}")
    for theirs, ours in done.questions.items():
        typer.echo(f"question  '{theirs}' is " + (f"'{ours}' here" if ours else "none of this task (--map says which)"))
    if done.unused.total:
        typer.echo(f"answers  {done.unused.total:,} not taken: {done.unused.words()}")
    if done.gold:
        typer.echo(f"gold  {done.gold:,} items with known answers")
    if not done.judgments:
        return
    typer.echo(
        f"record  {done.judgments:,} judgments of {done.raters:,} raters, as data set {done.dataset[:8]} "
        f"(kilter record show {done.dataset[:8]})"
    )
    if done.hashed:
        typer.echo(f"raters  {done.hashed:,} names or addresses are not on the record; keyed hashes stand for them")
    if answers == "count":
        over = f"; {done.over:,} are more than the task asks for and stay beside it" if done.over else ""
        typer.echo(f"counted  {done.counted:,} pieces of old work count toward the task{over}")
    elif answers != "gold":
        typer.echo("counted  none: they count neither toward overlap nor as known answers (--answers count or gold)")
