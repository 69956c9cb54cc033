"""Rows as a file or folder that is there whole or not at all, with the same bytes for the same rows."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow as pa  # type: ignore[import-untyped]

from kilter.errors import DataError, SettingsError, StorageError

ENDINGS = (".jsonl", ".parquet", "")


def check_target(target: Path, overwrite: bool) -> None:
    """Raise where nothing can or may be written there: `SettingsError` for the name, `DataError` for what is there."""
    if target.suffix.lower() not in ENDINGS:
        raise SettingsError(
            f"{target} ends in '{target.suffix}': end it in .jsonl or .parquet, or in nothing for a folder that "
            "`datasets` reads."
        )
    if not target.parent.is_dir():
        raise DataError(f"There is no folder {target.parent} to put {target.name} into; make it first.")
    if target.exists() and not overwrite:
        raise DataError(f"{target} is there already; give another name, or --overwrite to replace it.")
    ours = target.is_dir() and (target / "dataset_info.json").is_file()
    if (target.is_dir() != (not target.suffix) and target.exists()) or (target.is_dir() and not ours):
        raise DataError(f"{target} is there and is no data set of this kind, so it is not replaced; give another name.")


def write_rows(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType], target: Path) -> None:
    """Write rows as JSON lines, Parquet or a folder of `datasets`, by the target's ending, replacing what is there.

    Args:
        rows: with these columns each.
        columns: name and type; also columns that are null in every row have theirs.
        target: what `check_target` let pass.

    Raises:
        StorageError: the disk is full or not writable; what was there before is whole.
    """
    if target.suffix.lower() == ".jsonl":
        write_lines((json.dumps({name: row.get(name) for name in columns}, ensure_ascii=False) for row in rows), target)
    else:
        with _whole(target) as part:
            (_write_parquet if target.suffix else _write_folder)(rows, columns, part)


def write_lines(lines: Iterable[str], target: Path) -> None:
    """Write lines of text as a file that is there whole or not at all; raises as `write_rows` does."""
    with _whole(target) as part, part.open("w", encoding="utf-8", newline="\n") as file:
        file.writelines(line + "\n" for line in lines)
        _flush(file)


@contextmanager
def _whole(target: Path) -> Iterator[Path]:
    """A path to write to, which becomes `target` when all is written, and is gone when it was not."""
    part = target.with_name(f".{target.name}.{os.getpid()}.part")
    try:
        yield part
        _put(part, target)
    except OSError as error:
        mend = "Make room" if error.errno in (errno.ENOSPC, errno.EDQUOT) else "Check its folder"
        raise StorageError(
            f"{target} cannot be written ({error.strerror or error}). {mend}, then try again."
        ) from error
    finally:
        shutil.rmtree(part) if part.is_dir() else part.unlink(missing_ok=True)


def table_of(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType]) -> pa.Table:
    """The rows as an Arrow table."""
    return pa.Table.from_pylist([dict(row) for row in rows], schema=pa.schema(list(columns.items())))


def _write_parquet(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType], part: Path) -> None:
    import pyarrow.parquet  # type: ignore[import-untyped]

    with part.open("wb") as file:
        pyarrow.parquet.write_table(table_of(rows, columns), file)
        _flush(file)


def _write_folder(rows: Sequence[Mapping[str, Any]], columns: Mapping[str, pa.DataType], part: Path) -> None:
    import datasets

    table = table_of(rows, columns)
    features = datasets.Features.from_arrow_schema(table.schema)
    content = json.dumps([dict(row) for row in rows], sort_keys=True).encode()
    dataset = datasets.Dataset(
        datasets.table.InMemoryTable(table), datasets.DatasetInfo(features=features),
        fingerprint=hashlib.sha256(content).hexdigest()[:16],  # drawn at random otherwise
    )  # fmt: skip
    shown = datasets.is_progress_bar_enabled()
    datasets.disable_progress_bar()
    try:
        dataset.save_to_disk(str(part))
    finally:
        if shown:
            datasets.enable_progress_bar()


def _flush(file: Any) -> None:
    file.flush()
    os.fsync(file.fileno())


def _put(part: Path, target: Path) -> None:
    """Move into place; a folder cannot replace another in one step, so the old one steps aside first."""
    if not part.is_dir() or not target.exists():
        os.replace(part, target)
        return
    aside = target.with_name(f".{target.name}.{os.getpid()}.old")
    os.replace(target, aside)
    try:
        os.replace(part, target)
    except OSError:
        os.replace(aside, target)
        raise
    shutil.rmtree(aside)
