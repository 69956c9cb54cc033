"""`kilter testbed`: worlds whose truth is known, to look at and to write to a file."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from kilter.errors import SettingsError
from kilter.testbeds import catalog

if TYPE_CHECKING:
    from rich.text import Text

    from kilter.testbeds import Case

app = typer.Typer(
    help="Worlds whose truth is known, with planted flaws: look at them, write them to a file.",
    no_args_is_help=True,
    rich_markup_mode="rich",
)


NameArgument = Annotated[str, typer.Argument(metavar="TESTBED", help=f"One of: {', '.join(catalog.TESTBEDS)}.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Which cases; the same seed gives the same cases.")]
SplitOption = Annotated[str, typer.Option("--split", help="train or test; they share no structure and no wording.")]
DifficultyOption = Annotated[float, typer.Option("--difficulty", help="From 0, easy, to 1.")]
FlawedOption = Annotated[float, typer.Option("--flawed", help="Share of the cases that have flaws.")]
WordsOption = Annotated[
    int | None, typer.Option("--words", help="Length of a story, 200 to 20,000 words (by the difficulty if not set).")
]


@app.command()
def show(
    testbed: NameArgument,
    seed: SeedOption = 0,
    split: SplitOption = "train",
    difficulty: DifficultyOption = 0.5,
    flawed: FlawedOption = 1.0,
    words: WordsOption = None,
    number: Annotated[int, typer.Option("--number", help="Which of the seed's cases, from 0.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """Show one case: the source, the response with its flaws underlined, and a note on each."""
    if number < 0:
        raise SettingsError(f"--number {number} is no case; the first is 0.")
    case = catalog.generate(testbed, number + 1, seed, split, difficulty=difficulty, flawed=flawed, words=words)[number]
    if as_json:
        typer.echo(json.dumps(asdict(case), ensure_ascii=False))
        return
    from rich.console import Console

    console = Console(highlight=False)
    for title, body in (("Source", case.source), ("Task", case.task), ("Response", _underlined(case))):
        console.print(f"[bold]{title}[/]")
        console.print(body, "", markup=False, sep="\n")
    if not case.flaws:
        console.print("No flaws were planted.")
        return
    console.print("[bold]Flaws[/]")
    for index, flaw in enumerate(case.flaws, start=1):
        text = f"{index}. {flaw.type}, {flaw.severity}: {flaw.note}"
        quoted = [f'   "{case.source[start:end]}"' for start, end in flaw.evidence]
        console.print(text, *quoted, markup=False, sep="\n")
    console.print("", "[bold]Correct[/]", sep="\n")
    console.print(case.correct, markup=False)


@app.command()
def generate(
    testbed: NameArgument,
    out: Annotated[Path, typer.Option("--out", help="The JSONL file to write, one case a line.")],
    n: Annotated[int, typer.Option("--n", help="How many cases.")] = 100,
    seed: SeedOption = 0,
    split: SplitOption = "train",
    difficulty: DifficultyOption = 0.5,
    flawed: FlawedOption = 0.5,
    words: WordsOption = None,
) -> None:
    """Write cases to a JSONL file, each with its flaws, their passages and the truth behind it."""
    cases = catalog.generate(testbed, n, seed, split, difficulty=difficulty, flawed=flawed, words=words)
    _write(cases, out)


@app.command()
def load(
    kind: Annotated[str, typer.Argument(metavar="KIND", help=f"One of: {', '.join(catalog.LOADERS)}.")],
    path: Annotated[Path, typer.Argument(metavar="PATH", help="The published file.")],
    out: Annotated[Path, typer.Option("--out", help="The JSONL file to write, one case a line.")],
    documents: Annotated[
        Path | None, typer.Option("--documents", help="Of faithfulness: CSV or JSONL with id and document.")
    ] = None,
    agreed: Annotated[
        int | None, typer.Option("--agreed", help="Of faithfulness: workers who must have marked a passage.")
    ] = None,
    split: Annotated[str | None, typer.Option("--split", help="Of prm800k and gsm8k: train or test.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", help="Of humaneval and mbpp: which bugs.")] = None,
    flawed: Annotated[
        float | None, typer.Option("--flawed", help="Of humaneval and mbpp: share of the problems that get a bug.")
    ] = None,
    difficulty: Annotated[
        float | None, typer.Option("--difficulty", help="Of humaneval and mbpp: from 0, bugs easily found, to 1.")
    ] = None,
    limit: Annotated[
        int | None, typer.Option("--limit", help="Of humaneval, mbpp and bugs: only the first so many.")
    ] = None,
) -> None:
    """Write real data in a published layout as cases, which studies and trainers read as they read generated ones."""
    cases = catalog.load(
        kind, path, documents=documents, agreed=agreed, split=split, seed=seed, flawed=flawed, difficulty=difficulty,
        limit=limit,
    )  # fmt: skip
    _write(cases, out)


@app.command()
def check(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="Cases, as generate and load write them.")],
    held_out: Annotated[
        Path | None, typer.Option("--held-out", help="Cases to test on; without them, five-fold cross-validation.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON for machines.")] = False,
) -> None:
    """See whether length or words alone tell flawed responses from correct ones: both should stay near 0.5."""
    from kilter.testbeds.shortcuts import shortcuts

    found = shortcuts(catalog.read_cases(file), None if held_out is None else catalog.read_cases(held_out))
    if as_json:
        typer.echo(json.dumps({name: one.as_dict() for name, one in found.items()}))
        return
    typer.echo("Right about which of two responses is flawed (chance is 0.5), with 95 % interval:")
    for name, one in found.items():
        typer.echo(f"{name:>8} alone  {one.value:.3f} [{one.low:.3f}, {one.high:.3f}], {one.n} responses")


def _write(cases: Sequence[Case], out: Path) -> None:
    from kilter.files import write_atomically

    write_atomically(out, catalog.as_jsonl(cases))
    flaws = sum(len(case.flaws) for case in cases)
    with_flaws = sum(bool(case.flaws) for case in cases)
    typer.echo(f"{len(cases):,} cases, {with_flaws:,} with {flaws:,} flaws in all: {out}")


def _underlined(case: Case) -> Text:
    from rich.text import Text

    text = Text(case.response)
    for flaw in case.flaws:
        text.stylize("underline red", flaw.start, flaw.end)
    numbered = sorted(enumerate(case.flaws, start=1), key=lambda one: one[1].end, reverse=True)
    for index, flaw in numbered:  # a number too, where there are no colors
        text = text[: flaw.end] + Text(f" [{index}]", "bold") + text[flaw.end :]
    return text
