"""Plain texts, for the pretraining term of PPO and for perplexity."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from kilter.feedback.readings import Readings, Skip, collect, text_column, wrong_columns
from kilter.feedback.rows import Rows, read_rows, stem_and_kind
from kilter.files import read_text

_PLAIN = (".txt", ".md")


class TextData(Readings[str]):
    """Documents as read from one source, with what was left out."""

    def contents(self) -> str:
        """How many, and how long in all."""
        return f"{len(self):,} texts, {sum(map(len, self.rows)):,} characters"


def read_texts(
    path_or_name: str | Path, *, split: str | None = None, columns: Mapping[str, str] | None = None
) -> TextData:
    """Read documents: a .txt or .md file (also .gz) is one, a folder of them is many, else the column `text`.

    Every other source that `kilter.feedback.rows` knows is read by its column `text`, or the one that
    `columns` maps to it. A folder that `datasets` saved is no folder of texts unless it holds such files.
    Raises `DataError` when the source is missing, malformed or has no text at all.
    """
    path = Path(path_or_name).expanduser()
    if files := _plain_files(path):
        return _from_files(files, path.name)
    source = read_rows(path_or_name, split).renamed(columns)
    if "text" not in source.columns():
        raise wrong_columns(source, "text", "text")
    kept, skipped = collect(source, lambda row, where: _some(text_column(row, "text", where)))
    return TextData(kept, source.source, source.sha256, skipped)


def _plain_files(path: Path) -> list[Path]:
    candidates = sorted(path.rglob("*")) if path.is_dir() else [path]
    return [each for each in candidates if each.is_file() and stem_and_kind(each)[1] in _PLAIN]


def _from_files(files: list[Path], source: str) -> TextData:
    rows = [{"text": read_text(path)} for path in files]
    digest = hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()
    texts = Rows(source, digest, rows, list(range(1, len(rows) + 1)), "file")
    kept, skipped = collect(texts, lambda row, where: _some(text_column(row, "text", where)))
    return TextData(kept, source, digest, skipped)


def _some(text: str) -> str:
    if not text.strip():
        raise Skip("empty text")
    return text
