"""The options that say where a record lies, the same on every command that opens one."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

WorkspaceOption = Annotated[
    Path | None,
    typer.Option("--workspace", envvar="KILTER_WORKSPACE", help="Folder of the record. [./workspace]"),
]
DatabaseOption = Annotated[
    str | None,
    typer.Option(
        "--database",
        envvar="KILTER_DATABASE",
        metavar="ADDRESS",
        help="PostgreSQL database of the rows, postgresql://USER@HOST/NAME. \\[kilter.db in that folder]",
    ),
]
