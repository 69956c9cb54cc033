"""Files of data: read whole, gzipped or not, with errors that name the line; written whole or not at all."""

from __future__ import annotations

import csv
import gzip
import io
import json
import os
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kilter.errors import DataError, StorageError


def read_bytes(path: Path) -> bytes:
    """A file's content, unzipped where it ends in .gz; raises `DataError` when it cannot be read."""
    try:
        raw = path.read_bytes()
        return gzip.decompress(raw) if path.suffix == ".gz" else raw
    except (EOFError, zlib.error, gzip.BadGzipFile) as error:
        raise DataError(f"{path} is not a whole gzip file ({error}); fetch or pack it again.") from error
    except OSError as error:
        raise DataError(f"{path} cannot be read: {error.strerror}.") from error


def read_text(path: Path) -> str:
    """A UTF-8 file's text, without a byte order mark; raises `DataError` when it is no UTF-8."""
    raw = read_bytes(path)
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise DataError(
            f"{path}, line {line} is not UTF-8 text (byte {error.start}); convert the file to UTF-8."
        ) from error


def json_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a file of JSON lines, each with the number of its line; raises `DataError` for anything else."""
    # not splitlines(): a dialogue may hold U+2028 and the like, which JSON does not escape
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not valid JSON: {error}.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} holds a {type(row).__name__}, not an object {{...}}.")
        yield number, row


def csv_rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The rows of a CSV file with a header, each with the number of its last line; raises `DataError` for odd ones."""
    csv.field_size_limit(1 << 30)
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise DataError(
                    f"{path}, line {reader.line_num} has another number of fields than the header: a "
                    "field that holds a comma needs quotes around the text."
                )
            yield reader.line_num, dict(row)
    except csv.Error as error:
        raise DataError(f"{path}, line {reader.line_num} is not valid CSV: {error}.") from error


def write_atomically(path: Path, text: str) -> None:
    """Write `text` as UTF-8 beside `path` and move it there, so that a reader never sees half a file.

    Raises `StorageError` when the disk is full or the folder not writable; an older file at `path` is then
    whole.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as error:
        draft.unlink(missing_ok=True)
        raise StorageError(
            f"The file {path} could not be written ({error.strerror or error}). Free some space or choose a "
            "folder you may write to, then run the same command again: the steps already done are kept."
        ) from error
