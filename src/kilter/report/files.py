"""Writing a file whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

from kilter.errors import StorageError


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
