"""Hashing everything again, and saying what no longer is what it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from sqlalchemy import Connection, Table, func, select
from sqlalchemy.exc import DatabaseError

from kilter.errors import KilterError
from kilter.record import merkle
from kilter.record.blobs import Blobs, hash_file
from kilter.record.bodies import Folder
from kilter.record.canonical import sha256
from kilter.record.engine import Backend
from kilter.record.rows import ROW_TYPES, Artifact, Row
from kilter.record.tables import bodies, log

SHOWN = 20


@dataclass(frozen=True)
class Damage:
    """Something that is not what it was when it was recorded."""

    where: str
    what: str


@dataclass(frozen=True)
class Verification:
    """What was checked, and the first damages found (at most 20 of `found`)."""

    rows: int
    bodies: int
    size: int
    root: str
    damages: tuple[Damage, ...]
    found: int

    @property
    def ok(self) -> bool:
        """Whether everything is as it was recorded."""
        return not self.found


@dataclass
class _Check:
    """What is carried through the checks."""

    connection: Connection
    blobs: Blobs
    progress: Callable[[int, int], None]
    total: int = 0
    done: int = 0
    rows: int = 0
    bodies: int = 0
    damages: list[Damage] = field(default_factory=list)

    def damage(self, where: str, what: str) -> None:
        self.damages.append(Damage(where, what))

    def unreadable(self, where: str, what: str, error: DatabaseError) -> None:
        if error.connection_invalidated:  # a server that went away says nothing about the record
            raise error
        self.damage(where, f"{what} cannot be read further: {' '.join(str(error.orig).split())}")

    def step(self) -> None:
        self.done += 1
        self.progress(self.done, max(self.total, self.done))


def verify(
    database: Backend,
    connection: Connection,
    blobs: Blobs,
    since: tuple[int, str] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Verification:
    """Check file, log, rows and bodies, in this order; see `Record.verify`."""
    check = _Check(connection, blobs, progress or (lambda done, total: None))
    size, root = 0, merkle.EMPTY_ROOT
    try:
        for problem in database.problems(connection):
            check.damage(database.name, problem)
        check.total = sum(_count(connection, row_type.table) for row_type in ROW_TYPES)
        check.total += _count(connection, bodies)
        logged, size, root = _check_log(check, since)
        wanted = _check_rows(check, logged)
        _check_bodies(check, wanted)
    except DatabaseError as error:
        check.unreadable(database.name, "the database", error)
    shown = tuple(check.damages[:SHOWN])
    return Verification(check.rows, check.bodies, size, root.hex(), shown, len(check.damages))


def _count(connection: Connection, table: Table) -> int:
    return connection.execute(select(func.count()).select_from(table)).scalar_one()


def _check_log(check: _Check, since: tuple[int, str] | None) -> tuple[dict[str, str], int, bytes]:
    """Rebuild the tree from the row ids; return the table of each logged row, the size and the root."""
    frontier, logged, sound = merkle.Frontier(), {}, True
    old_root = merkle.EMPTY_ROOT.hex() if since and since[0] == 0 else None
    for seq, table, row_id, subtree in check.connection.execute(select(log).order_by(log.c.seq)):
        where = f"log entry {seq}"
        logged[row_id] = table
        if seq != frontier.size and sound:
            check.damage(where, f"entry {frontier.size} should stand here: entries are missing")
            sound = False
        try:
            expected = frontier.append(merkle.leaf_hash(bytes.fromhex(row_id))).hex()
        except ValueError:
            check.damage(where, f"'{row_id}' is no row's id")
            sound = False
            continue
        if expected != subtree and sound:
            check.damage(where, "its hash does not fit the rows up to here: they were changed or reordered")
            sound = False  # every later hash may be off for the same reason
        if since and frontier.size == since[0]:
            old_root = frontier.root().hex()
    if since and old_root != since[1]:
        problem = "the log is shorter now" if old_root is None else f"the root of that size is {old_root} now"
        check.damage(f"log up to size {since[0]}", f"its root was {since[1]}, but {problem}")
    return logged, frontier.size, frontier.root()


def _check_rows(check: _Check, logged: dict[str, str]) -> dict[str, str]:
    """Hash each row; return the body hashes that artifacts name, each with the artifact's id."""
    wanted: dict[str, str] = {}
    missing = dict(logged)
    for row_type in ROW_TYPES:
        name = row_type.table.name
        try:
            with check.connection.begin_nested():  # or PostgreSQL would read no other table after an error
                for row_id, row in _read_rows(check, row_type):
                    check.rows += 1
                    check.step()
                    if missing.pop(row_id, None) != name:
                        check.damage(f"{name} {row_id}", "this row is not in the log: it was added behind its back")
                    if isinstance(row, Artifact):
                        wanted.setdefault(row.body_sha256, row_id)
        except DatabaseError as error:
            check.unreadable(name, "the table", error)
    for row_id, name in missing.items():
        check.damage(f"{name} {row_id}", "this row is in the log but is gone from its table")
    return wanted


def _read_rows(check: _Check, row_type: type[Row]) -> Iterator[tuple[str, Row | None]]:
    query = select(row_type.table).execution_options(yield_per=1000)
    for stored in check.connection.execute(query).mappings():
        row_id = str(stored["id"])
        where = f"{row_type.table.name} {row_id}"
        try:
            row = row_type.from_stored(stored)
            if row.id != row_id:
                check.damage(where, f"its content was changed: it hashes to {row.id} now")
            elif row.stored() != dict(stored):
                check.damage(where, "its text was changed, though it still means the same")
            yield row_id, row
        except (KilterError, TypeError, ValueError) as error:
            check.damage(where, f"its content was changed and cannot be read: {error}")
            yield row_id, None


def _check_bodies(check: _Check, wanted: dict[str, str]) -> None:
    """Hash the bodies in the database, then the files that artifacts and kept folders name."""
    folders: dict[str, str] = {}
    query = select(bodies.c.sha256, bodies.c.content).execution_options(yield_per=1000)
    for digest, content in check.connection.execute(query):
        check.bodies += 1
        check.step()
        if sha256(content) != digest:
            check.damage(f"body {digest} of artifact {wanted.get(digest)}", "its bytes were changed")
        folders.update(_kept_files(content, wanted.pop(digest, None)))
    for digest, artifact in wanted.items():
        _check_file(check, digest, f"artifact {artifact}")
        if check.blobs.path(digest).is_file():
            folders.update(_kept_files(check.blobs.path(digest).read_bytes(), artifact))
    for digest, owner in folders.items():
        if digest not in wanted:
            _check_file(check, digest, owner)


def _kept_files(content: bytes, artifact: str | None) -> dict[str, str]:
    folder = Folder.parse(content) if artifact else None
    if folder is None or not folder.kept:
        return {}
    return {file.sha256: f"{name} of artifact {artifact}" for name, file in folder.files.items()}


def _check_file(check: _Check, digest: str, owner: str) -> None:
    path = check.blobs.path(digest)
    check.bodies += 1
    check.step()
    try:
        found = hash_file(path)
    except FileNotFoundError:
        check.damage(f"blob {path}", f"the file is gone ({owner})")
        return
    except OSError as error:
        check.damage(f"blob {path}", f"the file cannot be read: {error.strerror} ({owner})")
        return
    if found != digest:
        check.damage(f"blob {path}", f"its bytes were changed ({owner})")
