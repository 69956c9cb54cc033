"""A workspace: the folder where a project's record, blobs and runs lie."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from kilter.errors import RecordError
from kilter.record.blobs import storage_errors
from kilter.record.store import Record

DATABASE = "kilter.db"


@dataclass(frozen=True)
class Workspace:
    """`kilter.db`, `blobs/`, and `runs/` with what people open, in one folder; or the rows in PostgreSQL.

    Any number of processes may have it open at once; nothing is locked but for the moment of a write.
    """

    root: Path
    record: Record

    @classmethod
    def open(cls, path: Path | str | None = None, database: str | None = None, *, create: bool = True) -> Self:
        """Open the workspace at `path`, by default $KILTER_WORKSPACE or ./workspace.

        Args:
            path: its folder.
            database: address of the PostgreSQL database that holds its rows, `postgresql://USER:PASSWORD@HOST/NAME`;
                by default $KILTER_DATABASE, and without that the file `kilter.db` in the folder.
            create: make it where there is none, also inside a folder that holds other things.

        Raises:
            RecordError: there is no workspace and `create` is false; or its rows are not where `database` says.
            SettingsError: the address cannot be read, or psycopg is not installed.
            StorageError: the folder or the database cannot be reached or written.
        """
        root = Path(path or os.environ.get("KILTER_WORKSPACE") or "workspace").expanduser()
        address = database or os.environ.get("KILTER_DATABASE") or None
        create = _may_create(root, address, create)
        with storage_errors(root):
            root.mkdir(parents=True, exist_ok=True)
        record = Record(address or root / DATABASE, root / "blobs", create=create)
        for folder in (root / "blobs", root / "runs"):  # last: blobs/ says that there is a record somewhere
            with storage_errors(folder):
                folder.mkdir(exist_ok=True)
        return cls(root, record)

    @property
    def runs(self) -> Path:
        """The folder with one folder per run: reports, metrics, checkpoints."""
        return self.root / "runs"

    def close(self) -> None:
        """Close the record's connections."""
        self.record.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def _may_create(root: Path, address: str | None, create: bool) -> bool:
    """Whether a record may be made for this folder if there is none; `RecordError` when it belongs elsewhere.

    A folder with blobs/ has a record already. To make an empty one beside it, because --database was forgotten or
    names another database, would look as if everything were lost, and part the rows in two.
    """
    file, used = root / DATABASE, (root / "blobs").is_dir()
    if address is None:
        if file.is_file():
            return True
        if used:
            raise RecordError(
                f"The workspace {root} is in use, but it has no {DATABASE}. If its rows are in PostgreSQL, name "
                f"the database with --database or the variable KILTER_DATABASE; if {DATABASE} was lost, restore it "
                "from a backup; for a new record choose another folder with --workspace, or remove blobs/ as well."
            )
    elif file.is_file():
        raise RecordError(
            f"The workspace {root} has its rows in {file}, and --database or KILTER_DATABASE names another "
            "place for them. Leave that out, or choose another folder with --workspace."
        )
    if not create and not used:
        missing = DATABASE if address is None else "blobs/"
        raise RecordError(
            f"There is no workspace at {root} (no {missing} in it). Name the folder of yours with --workspace or the "
            "variable KILTER_WORKSPACE, or make one by running a recipe."
        )
    return create and not used
