"""Rows of a data set, wherever they lie: JSON lines, JSON, CSV, Parquet, a `datasets` folder, a hub."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.files import csv_rows, json_lines, read_text
from kilter.settings import nearest

SUFFIXES = (".jsonl", ".json", ".csv", ".parquet")


@dataclass(frozen=True)
class Rows:
    """The rows of one data set in order, and how to name each to a person."""

    source: str
    sha256: str
    rows: list[dict[str, Any]]
    numbers: list[int]  # line numbers where there are lines, else counted from 1
    unit: str  # "line" or "row"

    def where(self, index: int) -> str:
        """The place of row `index` in words: "answers.jsonl, line 12"."""
        return f"{self.source}, {self.unit} {self.numbers[index]}"

    def columns(self) -> list[str]:
        """The column names of the first row."""
        return list(self.rows[0])

    def renamed(self, columns: Mapping[str, str] | None) -> Rows:
        """The same rows with columns under the names Kilter looks for: {"chosen": "better"}.

        Raises `DataError` when a column named as the source of another is not there.
        """
        if not columns:
            return self
        for theirs in columns.values():
            if theirs not in self.rows[0]:
                raise DataError(
                    f"{self.source} has no column '{theirs}': {nearest(theirs, self.columns())} "
                    f"Found: {', '.join(self.columns())}."
                )
        ours = {theirs: name for name, theirs in columns.items()}
        rows = [{ours.get(name, name): value for name, value in row.items()} for row in self.rows]
        return Rows(self.source, self.sha256, rows, self.numbers, self.unit)


def read_rows(path_or_name: str | Path, split: str | None = None) -> Rows:
    """Read every row of a file, a folder or a hub data set (`organization/name[/folder]`).

    Files are .jsonl, .json (a list of objects), .csv or .parquet, the first three also gzipped (.gz). A
    folder is what `datasets` saved with `save_to_disk`, or holds one such file per split. `split` names the
    part to read where there are several; "train" if it is not given. Raises `DataError` for a source that
    is missing, malformed (with its line) or empty.
    """
    path = Path(path_or_name).expanduser()
    if path.is_dir():
        rows = _read_folder(path, split)
    elif path.is_file():
        rows = _read_file(path)
    elif not isinstance(path_or_name, Path) and _may_be_hub_id(path_or_name):
        rows = _read_hub(path_or_name, split)
    else:
        raise DataError(_missing(path))
    if not rows.rows:
        raise DataError(f"{path_or_name} holds no rows at all; there is nothing to learn from.")
    return rows


def stem_and_kind(path: Path) -> tuple[str, str]:
    """The name without its ending, and the ending without .gz: ("train", ".jsonl") for train.jsonl.gz."""
    plain = Path(path.name.removesuffix(".gz"))
    return plain.stem, plain.suffix.lower()


def _read_file(path: Path) -> Rows:
    kind = stem_and_kind(path)[1]
    if kind == ".jsonl":
        pairs, unit = list(json_lines(path)), "line"
    elif kind == ".json":
        pairs, unit = list(enumerate(_json_list(path), start=1)), "row"
    elif kind == ".csv":
        pairs, unit = list(csv_rows(path)), "line"
    elif kind == ".parquet":
        pairs, unit = list(enumerate(_parquet_rows(path), start=1)), "row"
    else:
        raise DataError(
            f"{path} ends in '{kind}', which is none of {', '.join(SUFFIXES)} (.gz may follow). Rename or convert it."
        )
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return Rows(path.name, digest, [row for _, row in pairs], [number for number, _ in pairs], unit)


def _json_list(path: Path) -> list[dict[str, Any]]:
    try:
        content = json.loads(read_text(path))
    except ValueError as error:
        hint = " It looks like JSON lines: name it .jsonl." if "Extra data" in str(error) else ""
        raise DataError(f"{path} is not valid JSON: {error}.{hint}") from error
    if isinstance(content, dict) and isinstance(content.get("data"), list):
        content = content["data"]
    if not isinstance(content, list) or not all(isinstance(row, dict) for row in content):
        raise DataError(f'{path} must hold a list of objects, [{{...}}, ...], or {{"data": [...]}}.')
    return content


def _parquet_rows(path: Path) -> list[dict[str, Any]]:
    import pyarrow  # type: ignore[import-untyped]
    import pyarrow.parquet  # type: ignore[import-untyped]

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise DataError(f"{path} is not a whole Parquet file: {error}.") from error
    return rows


def _read_folder(folder: Path, split: str | None) -> Rows:
    if (folder / "dataset_dict.json").is_file() or (folder / "dataset_info.json").is_file():
        return _read_saved(folder, split)
    files = {
        stem_and_kind(path)[0]: path
        for path in sorted(folder.iterdir())
        if path.is_file() and stem_and_kind(path)[1] in SUFFIXES
    }
    if not files:
        raise DataError(
            f"The folder {folder} holds neither a data set saved by `datasets` nor a file that ends in "
            f"{', '.join(SUFFIXES)} or .gz."
        )
    return _read_file(files[_choose_split(list(files), split, str(folder))])


def _read_saved(folder: Path, split: str | None) -> Rows:
    import datasets

    try:
        loaded = datasets.load_from_disk(str(folder))
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"{folder} is not a whole data set of `datasets`: {error}.") from error
    if isinstance(loaded, datasets.DatasetDict):
        loaded = loaded[_choose_split(list(loaded), split, str(folder))]
    elif split is not None:
        raise DataError(f"{folder} holds one data set without splits, so there is no split '{split}'; leave it out.")
    return _from_dataset(loaded, folder.name)


def _read_hub(name: str, split: str | None) -> Rows:
    import datasets

    from kilter.models import hub

    organization, repository, *folder = name.split("/")
    try:
        with hub.access():
            loaded = datasets.load_dataset(f"{organization}/{repository}", data_dir="/".join(folder) or None)
    except Exception as error:  # the hub client raises a dozen kinds, of three libraries
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0]
        raise DataError(
            f"'{name}' is neither a file nor a folder here, and the hub did not give a data set of that "
            f"name: {reason} Check the path, or the name and the network."
        ) from error
    return _from_dataset(loaded[_choose_split(list(loaded), split, name)], name)


def _from_dataset(dataset: Any, source: str) -> Rows:
    rows: list[dict[str, Any]] = dataset.to_list()
    digest = hashlib.sha256()
    for row in rows:
        digest.update(json.dumps(row, sort_keys=True, default=str).encode())
    return Rows(source, digest.hexdigest(), rows, list(range(1, len(rows) + 1)), "row")


def _choose_split(splits: list[str], wanted: str | None, where: str) -> str:
    if wanted in splits:
        return str(wanted)
    if wanted is None and (len(splits) == 1 or "train" in splits):
        return "train" if "train" in splits else splits[0]
    if wanted is None:
        raise DataError(f"{where} has the splits {', '.join(splits)}; say which to read with split=NAME.")
    raise DataError(f"{where} has no split '{wanted}': {nearest(wanted, splits)}")


def _may_be_hub_id(name: str) -> bool:
    """organization/name[/folder], and not a path whose folder is here or whose ending says it is a file."""
    parts = name.split("/")
    if len(parts) < 2 or not all(part and not part.startswith((".", "~")) for part in parts):
        return False
    return not Path(parts[0]).exists() and stem_and_kind(Path(name))[1] not in (*SUFFIXES, ".txt", ".md")


def _missing(path: Path) -> str:
    folder = path.parent
    if not folder.is_dir():
        return f"There is no file {path}; there is not even a folder {folder}. Check the path."
    siblings = sorted(os.listdir(folder))
    hint = nearest(path.name, siblings[:200]) if siblings else "its folder is empty."
    return f"There is no file or folder {path}; {hint}"
