"""`kilter feedback`: people judge, and what their judgments are worth."""

from __future__ import annotations

import typer

from kilter.cli.feedback_exchange import export_task, import_source
from kilter.cli.feedback_prioritize import prioritize
from kilter.cli.feedback_quality import aggregate, agreement, disagreements, raters
from kilter.cli.feedback_serve import serve

app = typer.Typer(
    help="People judge in their browsers, and what their judgments are worth.", no_args_is_help=True,
    rich_markup_mode="rich",
)  # fmt: skip
for command in (serve, agreement, raters, aggregate, disagreements, prioritize):
    app.command()(command)
app.command("import")(import_source)
app.command("export")(export_task)


@app.callback()
def _root() -> None:
    """People judge in their browsers, and what their judgments are worth."""
