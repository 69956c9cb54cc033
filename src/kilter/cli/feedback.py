"""`kilter feedback`: people judge, and what their judgments are worth."""

from __future__ import annotations

import typer

from kilter.cli.feedback_serve import serve

app = typer.Typer(
    help="People judge in their browsers, and what their judgments are worth.", no_args_is_help=True,
    rich_markup_mode="rich",
)  # fmt: skip
app.command()(serve)


@app.callback()
def _root() -> None:
    """People judge in their browsers, and what their judgments are worth."""
