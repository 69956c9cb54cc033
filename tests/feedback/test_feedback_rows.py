from __future__ import annotations

import gzip
import json
import sys
import types
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.feedback.rows import read_rows

ROWS = [
    {"prompt": "a", "chosen": "b\u2028c", "rejected": "d"},
    {"prompt": "é", "chosen": "f", "rejected": "g\ng"},
]


def write_jsonl(path: Path, rows: list[dict[str, Any]]) -> Path:
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    path.write_bytes(gzip.compress(text.encode()) if path.suffix == ".gz" else text.encode())
    return path


def write_csv(path: Path) -> Path:
    path.write_text('prompt,chosen,rejected\na,b\u2028c,d\né,f,"g\ng"\n', encoding="utf-8", newline="")
    return path


def write_parquet(path: Path) -> Path:
    import pyarrow
    import pyarrow.parquet

    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def write_json(path: Path) -> Path:
    path.write_text(json.dumps(ROWS))
    return path


@pytest.mark.parametrize(
    "write",
    [
        lambda folder: write_jsonl(folder / "a.jsonl", ROWS),
        lambda folder: write_jsonl(folder / "a.jsonl.gz", ROWS),
        lambda folder: write_json(folder / "a.json"),
        lambda folder: write_csv(folder / "a.csv"),
        lambda folder: write_parquet(folder / "a.parquet"),
    ],
    ids=["jsonl", "jsonl.gz", "json", "csv", "parquet"],
)
def test_every_kind_of_file_gives_the_same_rows(write: Any, tmp_path: Path) -> None:
    path = write(tmp_path)
    assert read_rows(path).rows == ROWS
    assert read_rows(tmp_path).rows == ROWS  # a folder with one file
    assert len(read_rows(path).sha256) == 64


def test_saved_data_sets_and_their_splits(tmp_path: Path) -> None:
    import datasets

    one = datasets.Dataset.from_list(ROWS)
    one.save_to_disk(tmp_path / "one")
    assert read_rows(tmp_path / "one").rows == ROWS
    with pytest.raises(DataError, match="without splits"):
        read_rows(tmp_path / "one", "test")
    both = datasets.DatasetDict({"train": one, "test": datasets.Dataset.from_list(ROWS[:1])})
    both.save_to_disk(tmp_path / "both")
    assert read_rows(tmp_path / "both").rows == ROWS
    assert read_rows(tmp_path / "both", "test").rows == ROWS[:1]
    with pytest.raises(DataError, match="no split 'tets': did you mean 'test'"):
        read_rows(tmp_path / "both", "tets")
    assert read_rows(tmp_path / "one").sha256 == read_rows(tmp_path / "both").sha256


def test_folder_with_a_file_per_split(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "good.jsonl", ROWS)
    write_jsonl(tmp_path / "bad.jsonl.gz", ROWS[:1])
    with pytest.raises(DataError, match="splits bad, good; say which"):
        read_rows(tmp_path)
    assert read_rows(tmp_path, "bad").rows == ROWS[:1]
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds neither a data set"):
        read_rows(tmp_path / "empty")


def test_lines_are_numbered_as_an_editor_does(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text('\n{"a": "x\u2028y"}\n\n{"a": 2}\n', encoding="utf-8")
    rows = read_rows(path)
    assert [rows.where(0), rows.where(1)] == ["a.jsonl, line 2", "a.jsonl, line 4"]


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.jsonl", b'{"a": 1}\n{"a": \n', "line 2 is not valid JSON"),
        ("a.jsonl", b'{"a": 1}\n[1]\n', "line 2 holds a list"),
        ("a.jsonl", b'{"a": 1}\n\xff\n', "line 2 is not UTF-8"),
        ("a.jsonl", b"\n\n", "holds no rows at all"),
        ("a.jsonl.gz", b"not zipped", "not a whole gzip file"),
        ("a.jsonl.gz", gzip.compress(b'{"a": 1}\n' * 99, mtime=0)[:-9], "not a whole gzip file"),
        ("a.json", b'{"a": 1}\n{"a": 2}\n', r"name it \.jsonl"),
        ("a.json", b'{"rows": []}', "must hold a list"),
        ("a.csv", b"a,b\n1,2\n1\n", "line 3 has another number of fields"),
        ("a.csv", b"a,b\n1,2\n1,2,3\n", "line 3 has another number of fields"),
        ("a.parquet", b"PAR1", "not a whole Parquet file"),
        ("a.xlsx", b"", "ends in '.xlsx'"),
    ],
)
def test_what_is_wrong_with_a_file_is_said_with_its_place(
    name: str, content: bytes, words: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(DataError, match=words):
        read_rows(tmp_path / name)


def test_missing_file_names_the_nearest(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "train.jsonl", ROWS)
    with pytest.raises(DataError, match=r"did you mean 'train\.jsonl'"):
        read_rows(str(tmp_path / "trian.jsonl"))
    with pytest.raises(DataError, match="not even a folder"):
        read_rows(str(tmp_path / "nowhere" / "train.jsonl"))
    with pytest.raises(DataError, match="There is no file"):
        read_rows("some/file.jsonl")


def test_columns_are_renamed_or_named(tmp_path: Path) -> None:
    rows = read_rows(write_jsonl(tmp_path / "a.jsonl", [{"question": "a", "better": "b"}]))
    assert rows.renamed({"prompt": "question"}).rows == [{"prompt": "a", "better": "b"}]
    with pytest.raises(DataError, match="no column 'quetsion': did you mean 'question'"):
        rows.renamed({"prompt": "quetsion"})


def test_hub_names_go_to_the_datasets_library(monkeypatch: pytest.MonkeyPatch) -> None:
    import datasets

    asked: list[tuple[str, str | None]] = []

    def fake(name: str, data_dir: str | None = None) -> Any:
        asked.append((name, data_dir))
        return datasets.DatasetDict({"train": datasets.Dataset.from_list(ROWS)})

    monkeypatch.setattr(datasets, "load_dataset", fake)
    monkeypatch.setitem(sys.modules, "kilter.models", types.ModuleType("kilter.models"))
    from contextlib import nullcontext

    stand_in = types.ModuleType("kilter.models.hub")
    stand_in.access = nullcontext  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "kilter.models.hub", stand_in)
    monkeypatch.setattr(sys.modules["kilter.models"], "hub", stand_in, raising=False)
    assert read_rows("some-org/some-set").rows == ROWS
    assert read_rows("some-org/some-set/part").rows == ROWS
    assert asked == [("some-org/some-set", None), ("some-org/some-set", "part")]

    def absent(*_: object, **__: object) -> Any:
        raise ConnectionError("no route\nand more")

    monkeypatch.setattr(datasets, "load_dataset", absent)
    with pytest.raises(DataError, match=r"name: no route Check the path"):
        read_rows("some-org/some-set")


@settings(max_examples=50, deadline=None)
@given(rows=st.lists(st.dictionaries(st.text(min_size=1), st.text() | st.integers(), min_size=1), min_size=1))
def test_json_lines_come_back_as_written(rows: list[dict[str, Any]], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("rows") / "a.jsonl.gz"
    assert read_rows(write_jsonl(path, rows)).rows == rows
