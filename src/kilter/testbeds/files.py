"""Reading data files, gzipped or not, with errors that name the line."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from kilter.errors import DataError


def read_text(path: Path) -> str:
    """A text file in UTF-8; one that ends in .gz is unpacked. Raises `DataError`."""
    try:
        data = path.read_bytes()
        return (gzip.decompress(data) if path.suffix == ".gz" else data).decode("utf-8-sig")
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise DataError(f"{path} cannot be read ({error}). Give a text file in UTF-8, gzipped or not.") from error


def read_jsonl(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """The objects of a JSONL file, each with the number of its line. Raises `DataError`."""
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"{path}, line {number} is not JSON ({error}). Give one object a line.") from error
        if not isinstance(row, dict):
            raise DataError(f"{path}, line {number} is not a JSON object but {type(row).__name__}.")
        yield number, row
