"""The record: one door to everything that happened. Rows are added and read, never changed."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypedDict

from sqlalchemy import Connection, MetaData, func, insert, select

from kilter.errors import DataError, RecordError
from kilter.record import bodies, log, queries
from kilter.record.blobs import Blobs, hash_file
from kilter.record.bodies import Body, Dataset, Folder, FolderFile
from kilter.record.canonical import sha256
from kilter.record.engine import open_database
from kilter.record.environment import environment
from kilter.record.lineage import Lineage, Shaping, trace
from kilter.record.rows import ROW_TYPES, Artifact, Evidence, Exposure, Judgment, Row, Run
from kilter.record.tables import metadata
from kilter.record.verification import Verification, verify


@dataclass(frozen=True)
class NewArtifact:
    """An artifact that is not on the record yet, with its body."""

    kind: str
    body: Body
    producer: str | None = None
    parents: Sequence[str] = ()


class Transaction:
    """What is added to the record together with changes of other tables in its database: all of it, or nothing.

    No other writer is at work meanwhile, so that what was counted still holds when it is written.
    """

    def __init__(self, connection: Connection) -> None:
        self.connection = connection

    def add_judgments(self, judgments: Iterable[Judgment]) -> list[str]:
        """Add judgments; return their ids."""
        return _append(self.connection, list(judgments))

    def add_exposures(self, exposures: Iterable[Exposure]) -> list[str]:
        """Add what judges were shown; return the ids."""
        return _append(self.connection, list(exposures))


class Addition(TypedDict):
    """What one call added to a record, as plain data.

    rows: table and stored columns of each row, in order.
    contents: bodies that the rows speak of and that are small enough to lie in the database.
    references: table and id of rows that must be there.
    """

    rows: list[tuple[str, dict[str, Any]]]
    contents: list[bytes]
    references: list[tuple[str, str]]


class Record:
    """The record of a workspace. Safe for many threads and processes at once.

    Everything that adds is one transaction, is appended to the Merkle log in it, and is idempotent: equal
    content is one row with one id. Errors: `DataError` for content that cannot be kept, `RecordError` for
    ids that are not there, `StorageError` for a disk that is full or not writable.
    """

    def __init__(self, database: Path | str, blobs: Path, *, create: bool = True) -> None:
        """Open the rows in a SQLite file or at the address of a PostgreSQL database; large bodies lie in `blobs`.

        Without `create`, `RecordError` when there are no rows' tables yet.
        """
        self.blobs = Blobs(blobs)
        self._database = open_database(database, create=create)

    def close(self) -> None:
        """Close the database's connections; the record opens new ones when it is used again."""
        self._database.close()

    # Adding

    def add_artifact(self, kind: str, body: Body, *, producer: str | None = None, parents: Sequence[str] = ()) -> str:
        """Add one artifact; return its id, SHA-256 of its kind, body's hash, parents and producer."""
        return self.add_artifacts([NewArtifact(kind, body, producer, parents)])[0]

    def add_artifacts(self, new: Iterable[NewArtifact]) -> list[str]:
        """Add many artifacts in one transaction; a later one may have earlier ones as parents."""
        rows, contents = [], []
        for item in new:
            content = bodies.body_bytes(item.body)
            rows.append(Artifact(item.kind, sha256(content), item.producer, tuple(item.parents)))
            contents.append(content)
        return self._add(rows, contents)

    def add_dataset(
        self,
        comparisons: Sequence[str],
        judgments: Sequence[str],
        *,
        meta: dict[str, Any] | None = None,
        producer: str | None = None,
        parents: Sequence[str] = (),
    ) -> str:
        """Add a dataset made of judgments, as an artifact of kind "dataset"; lineage follows it to each.

        Args:
            comparisons: ids of the artifacts that were judged.
            judgments: ids of the judgments a model will learn from.
            meta: whatever else there is to say; `meta["name"]` is shown to people.
            producer: what made it, by a name that stays the same in every repetition.
            parents: datasets or models it was made from.
        """
        dataset = Dataset(tuple(comparisons), tuple(judgments), meta or {})
        content = bodies.body_bytes(dataset.body())
        row = Artifact("dataset", sha256(content), producer, tuple(parents))
        named = [*((Artifact, key) for key in comparisons), *((Judgment, key) for key in judgments)]
        return self._add([row], [content], named)[0]

    def add_folder(
        self,
        kind: str,
        folder: Path,
        *,
        producer: str | None = None,
        parents: Sequence[str] = (),
        meta: dict[str, Any] | None = None,
        keep_files: bool = True,
        leave_out: Sequence[str] = (),
    ) -> str:
        """Add a folder, such as a saved model: its body lists each file with its hash and size.

        With `keep_files` the files are copied to the record; without, only their hashes are. `leave_out` names
        files that say nothing of the content, such as one that holds the time of a download.
        """
        paths = sorted(path for path in Path(folder).rglob("*") if path.is_file() and path.name not in leave_out)
        if not paths:
            raise DataError(f"{folder} is no folder with files in it, so there is nothing to put on the record.")
        put = self.blobs.put_file if keep_files else hash_file
        try:
            hashes = [put(path) for path in paths]
        except OSError as error:
            raise DataError(f"{error.filename} cannot be read ({error.strerror}): check the folder.") from error
        files = {
            path.relative_to(folder).as_posix(): FolderFile(digest, path.stat().st_size)
            for path, digest in zip(paths, hashes, strict=True)
        }
        body = Folder(files, keep_files, meta or {}).body()
        return self.add_artifact(kind, body, producer=producer, parents=parents)

    def add_judgments(self, judgments: Iterable[Judgment]) -> list[str]:
        """Add judgments in one transaction; return their ids."""
        return self._add(list(judgments))

    def add_exposures(self, exposures: Iterable[Exposure]) -> list[str]:
        """Add what judges were shown, in one transaction; return the ids."""
        return self._add(list(exposures))

    def add_exposure(
        self,
        judgment: str,
        assistance: str,
        *,
        shown_at: str | None = None,
        opened: bool = False,
        accepted: bool | None = None,
    ) -> str:
        """Add one piece of help that a judge was shown before a judgment."""
        return self.add_exposures([Exposure(judgment, assistance, shown_at, opened, accepted)])[0]

    def start_run(self, name: str, config: dict[str, Any], seed: int | None = None, inputs: Sequence[str] = ()) -> str:
        """Record that a run starts, with the environment it runs in; return the id that names the run."""
        found = environment()
        code = found.pop("code")
        row = Run(name, config, code, found, uuid.uuid4().hex, _now(), seed, tuple(inputs))
        return self._add([row])[0]

    def finish_run(
        self,
        run_id: str,
        outputs: Sequence[str] = (),
        metrics: Path | None = None,
        flops: float | None = None,
        seconds: float | None = None,
        status: str = "done",
    ) -> str:
        """Record how a run ended, well or not; return the id of the row, which supersedes the run's last one.

        Args:
            run_id: what `start_run` returned.
            outputs: ids of the artifacts it made.
            metrics: its JSONL file of metrics, which becomes an artifact of kind "metrics".
            flops: floating-point operations it took.
            seconds: wall time it took.
            status: "done", or a word for what went wrong.
        """
        if status == "running":
            raise DataError("A run that ends cannot have the status 'running'; say how it ended, e.g. 'done'.")
        content = _file_bytes(metrics) if metrics else b""
        if metrics:
            bodies.write_large(self.blobs, [content])
        with self._database.writing() as connection:
            last = queries.current_run(connection, run_id)
            rows: list[Row] = []
            if metrics:
                bodies.write_small(connection, [content])
                rows.append(Artifact("metrics", sha256(content), producer=last.name))
            end = replace(
                last,
                status=status,
                finished=_now(),
                outputs=tuple(outputs),
                metrics=rows[0].id if rows else None,
                flops=flops,
                seconds=seconds,
                run=last.run_id,
                supersedes=last.id,
            )
            return _append(connection, [*rows, end])[-1]

    def add_evidence(
        self,
        metric: str,
        value: float,
        low: float | None,
        high: float | None,
        n: int,
        method: str,
        run: str,
    ) -> str:
        """Add a measured value with its interval; return its id."""
        return self._add([Evidence(metric, value, low, high, n, method, run)])[0]

    @contextmanager
    def transaction(self) -> Iterator[Transaction]:
        """Add rows, and change tables that were laid with `lay`, in one transaction under the writers' lock."""
        with self._database.writing() as connection:
            yield Transaction(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """One consistent view of all tables in the database."""
        with self._database.reading() as connection:
            yield connection

    def lay(self, tables: MetaData) -> None:
        """Make tables beside the record's where they are missing; unlike its own they may be changed."""
        with self._database.writing() as connection:
            tables.create_all(connection)

    def take(self, additions: Iterable[Addition]) -> None:
        """Add what a `DetachedRecord` collected elsewhere, in its order; what is here already stays as it is.

        Raises:
            RecordError: a row does not have the content that its id says, or speaks of one that is not here.
        """
        types = {row_type.table.name: row_type for row_type in ROW_TYPES}
        for one in additions:
            rows = [types[table].from_stored(stored) for table, stored in one["rows"]]
            wrong = [stored["id"] for row, (_, stored) in zip(rows, one["rows"], strict=True) if row.id != stored["id"]]
            if wrong:
                raise RecordError(f"The row {wrong[0]} was changed on its way here. Nothing of it was recorded.")
            self._add(rows, one["contents"], [(types[table], key) for table, key in one["references"]])

    # Reading

    def find(self, prefix: str) -> Row:
        """The row of any kind with this id, or with the only id that starts so; a run as it is now."""
        with self._database.reading() as connection:
            row = queries.by_prefix(connection, prefix)
            return queries.current_run(connection, row.id) if isinstance(row, Run) else row

    def artifact(self, prefix: str) -> Artifact:
        """The artifact with this id, or with the only id that starts so."""
        with self._database.reading() as connection:
            row = queries.by_prefix(connection, prefix, [Artifact])
            assert isinstance(row, Artifact)
            return row

    def artifacts(self, kind: str, newest: int | None = None) -> list[Artifact]:
        """All artifacts of a kind, or the newest, in the order recorded."""
        with self._database.reading() as connection:
            return queries.rows_where(connection, Artifact, Artifact.table.c.kind == kind, newest=newest)

    def body(self, artifact_id: str) -> bytes:
        """The bytes of an artifact's body, checked against their hash."""
        return self.bodies([artifact_id])[artifact_id]

    def bodies(self, artifact_ids: Iterable[str]) -> dict[str, bytes]:
        """The bodies of many artifacts, by artifact id."""
        with self._database.reading() as connection:
            rows = queries.fetch(connection, Artifact, artifact_ids)
            contents = bodies.read(connection, self.blobs, [row.body_sha256 for row in rows.values()])
        return {key: contents[row.body_sha256] for key, row in rows.items()}

    def json(self, artifact_id: str) -> Any:
        """An artifact's body, read as JSON."""
        return json.loads(self.body(artifact_id))

    def titles(self, artifact_ids: Iterable[str]) -> dict[str, str | None]:
        """The names that artifacts give themselves in their bodies' `name` or `meta.name`."""
        return {key: bodies.title(content) for key, content in self.bodies(artifact_ids).items()}

    def files(self, artifact_id: str) -> dict[str, Path]:
        """Where the files of a folder that was added with `keep_files` lie, by their names in it."""
        folder = Folder.parse(self.body(artifact_id))
        if folder is None or not folder.kept:
            raise RecordError(
                f"The files of artifact {artifact_id} are not on the record; only folders added with "
                "keep_files have theirs."
            )
        return {name: self.blobs.path(file.sha256) for name, file in folder.files.items()}

    def judgments(self, *, target: str | None = None, judge: str | None = None) -> list[Judgment]:
        """The judgments of a target, by a judge, or both, or all, in the order recorded."""
        return self._select(Judgment, target=target, judge=judge)

    def exposures(self, *, judgment: str | None = None) -> list[Exposure]:
        """What was shown before a judgment, or all that was ever shown, in the order recorded."""
        return self._select(Exposure, judgment=judgment)

    def evidence(self, *, run: str | None = None) -> list[Evidence]:
        """What a run measured, or all evidence, in the order recorded."""
        return self._select(Evidence, run=run)

    def run(self, run_id: str) -> Run:
        """A run as it is now."""
        with self._database.reading() as connection:
            return queries.current_run(connection, run_id)

    def runs(self, newest: int | None = None) -> list[Run]:
        """All runs, or the newest, each as it is now."""
        with self._database.reading() as connection:
            return queries.current_runs(connection, newest)

    def counts(self) -> dict[str, int]:
        """How many rows each table has."""
        with self._database.reading() as connection:
            return {
                name: connection.execute(select(func.count()).select_from(table)).scalar_one()
                for name, table in metadata.tables.items()
            }

    # Where things come from

    def lineage(self, prefix: str) -> Lineage:
        """Everything that a row came from, down to each judgment and the help its judge had seen."""
        row = self.find(prefix)
        with self._database.reading() as connection:
            return trace(connection, self.blobs, row)

    def judgments_that_shaped(self, model_id: str) -> list[Shaping]:
        """Every judgment that a model learned from, however indirectly, with the help its judge had seen."""
        return self.lineage(model_id).shaping()

    # Proof

    def size(self) -> int:
        """How many rows the log has."""
        with self._database.reading() as connection:
            return log.size(connection)

    def root(self, size: int | None = None) -> str:
        """The log's root hash now, or when it had `size` rows, in hexadecimal."""
        with self._database.reading() as connection:
            return log.root(connection, log.size(connection) if size is None else size).hex()

    def inclusion_proof(self, row_id: str) -> log.Inclusion:
        """Prove that a row is on the record as it is now."""
        with self._database.reading() as connection:
            row = queries.by_prefix(connection, row_id)
            return log.inclusion(connection, row.id, row.content)

    def consistency_proof(self, old_size: int) -> log.Consistency:
        """Prove that nothing was changed since the record had `old_size` rows."""
        with self._database.reading() as connection:
            return log.consistency(connection, old_size)

    def verify(
        self,
        since: tuple[int, str] | None = None,
        progress: Callable[[int, int], None] | None = None,
    ) -> Verification:
        """Hash every row and body again, recompute the root, and report what is damaged.

        Args:
            since: size and root of the log at an earlier time, which its holder kept. Only with them can
                it be found that the end of the log was cut off, or that all of it was forged anew.
            progress: called with the number of things checked, and of all there are.
        """
        with self._database.reading() as connection:
            return verify(self._database.backend, connection, self.blobs, since, progress)

    def _add(
        self,
        rows: Sequence[Row],
        contents: Sequence[bytes] = (),
        references: Iterable[tuple[type[Row], str]] = (),
    ) -> list[str]:
        bodies.write_large(self.blobs, contents)
        ids = [row.id for row in rows]  # hashed before the lock is taken: others need not wait for that
        with self._database.writing() as connection:
            bodies.write_small(connection, contents)
            _append(connection, rows, references)
        return ids

    def _select(self, row_type: type[queries.R], **columns: str | None) -> list[queries.R]:
        conditions = [row_type.table.c[name] == value for name, value in columns.items() if value is not None]
        with self._database.reading() as connection:
            return queries.rows_where(connection, row_type, *conditions)


class DetachedRecord(Record):
    """A record without a database: what is added is collected, to be taken over by the one process that has it.

    For a worker far from the database. Ids are those of the contents, so they are known at once; large bodies go to
    the blobs, which any number of processes may write; that a row speaks only of rows that are there is checked when it
    is taken over. Nothing can be read back, and a run can neither be started nor finished.
    """

    def __init__(self, blobs: Path) -> None:
        self.blobs = Blobs(blobs)
        self.additions: list[Addition] = []

    def _add(
        self,
        rows: Sequence[Row],
        contents: Sequence[bytes] = (),
        references: Iterable[tuple[type[Row], str]] = (),
    ) -> list[str]:
        bodies.write_large(self.blobs, contents)
        small = [content for content in contents if len(content) <= bodies.SMALL]
        named = [(row_type.table.name, key) for row_type, key in references]
        stored = [(row.table.name, row.stored()) for row in rows]
        self.additions.append({"rows": stored, "contents": small, "references": named})
        return [row.id for row in rows]


def _append(connection: Connection, rows: Sequence[Row], references: Iterable[tuple[type[Row], str]] = ()) -> list[str]:
    """Add the rows that are new, in order, and log them; return the ids of all."""
    batch = {row.id: row for row in rows}
    required = [*references, *_outside_references(batch)]
    found = queries.known(connection, _by_type([*((type(row), row_id) for row_id, row in batch.items()), *required]))
    _require(_by_type(required), found)
    new = {row_id: row for row_id, row in batch.items() if row_id not in found[type(row)]}
    for row_type in ROW_TYPES:
        stored = [row.stored() for row in new.values() if type(row) is row_type]
        if stored:
            connection.execute(insert(row_type.table), stored)
    log.append(connection, [(row.table.name, row_id) for row_id, row in new.items()])
    return [row.id for row in rows]


def _outside_references(batch: dict[str, Row]) -> Iterator[tuple[type[Row], str]]:
    earlier: set[str] = set()
    for row_id, row in batch.items():
        yield from ((row_type, key) for row_type, key in row.references() if key not in earlier)
        earlier.add(row_id)


def _by_type(pairs: Iterable[tuple[type[Row], str]]) -> dict[type[Row], list[str]]:
    sorted_ids: dict[type[Row], list[str]] = {}
    for row_type, row_id in pairs:
        sorted_ids.setdefault(row_type, []).append(row_id)
    return sorted_ids


def _require(references: dict[type[Row], list[str]], found: dict[type[Row], set[str]]) -> None:
    for row_type, ids in references.items():
        missing = set(ids) - found[row_type]
        if missing:
            raise RecordError(
                f"{row_type.__name__} {min(missing)} is spoken of but is not on this record"
                f"{f', nor are {len(missing) - 1} others' if len(missing) > 1 else ''}. Add what is spoken "
                "of first, with its full id. Nothing was recorded."
            )


def _file_bytes(path: Path) -> bytes:
    try:
        return Path(path).read_bytes()
    except OSError as error:
        raise DataError(
            f"The metrics file {path} cannot be read ({error.strerror}). Give the path of the run's JSONL "
            "file, or none."
        ) from error


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")
