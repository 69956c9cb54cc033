"""The Merkle log in the database: which rows there are, in what order, under which root."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Self, TypeVar

from sqlalchemy import Connection, Select, func, insert, select

from kilter.errors import DataError, RecordError
from kilter.record import merkle
from kilter.record.canonical import sha256
from kilter.record.tables import log

T = TypeVar("T")


@dataclass(frozen=True)
class Inclusion:
    """That a row is on the record: to be checked offline, with nothing but SHA-256.

    SHA-256 of `content` is `id`; the leaf hash is SHA-256 of 0x00 and the 32 bytes of the id; `path`
    leads from there to `root` as RFC 6962 says. Hashes are hexadecimal.
    """

    id: str
    content: str
    index: int
    size: int
    path: tuple[str, ...]
    root: str

    def as_dict(self) -> dict[str, Any]:
        """The proof as JSON."""
        return {"proof": "inclusion", "tree": "RFC 6962, SHA-256", **asdict(self)}

    @classmethod
    def from_dict(cls, proof: dict[str, Any]) -> Self:
        """Read what `as_dict` wrote; `DataError` when it is something else."""
        try:
            fields = {name: proof[name] for name in ("id", "content", "index", "size", "root")}
            return cls(**fields, path=tuple(proof["path"]))
        except (KeyError, TypeError) as error:
            raise DataError(f"This is no inclusion proof of Kilter's: {error} is missing.") from error

    def verify(self) -> bool:
        """Whether the proof holds; whether its root is the right one, only its holder knows."""
        try:
            leaf = merkle.leaf_hash(bytes.fromhex(self.id))
            path = [bytes.fromhex(sibling) for sibling in self.path]
            return sha256(self.content.encode("utf-8")) == self.id and merkle.verify_inclusion(
                leaf, self.index, self.size, path, bytes.fromhex(self.root)
            )
        except ValueError:
            return False


@dataclass(frozen=True)
class Consistency:
    """That the record with `root` only added rows to the one with `old_root`. Hashes are hexadecimal."""

    old_size: int
    size: int
    old_root: str
    root: str
    path: tuple[str, ...]

    def verify(self) -> bool:
        """Whether the proof holds; `old_root` must be compared with the one that was kept."""
        try:
            old_root, root, *path = (bytes.fromhex(text) for text in (self.old_root, self.root, *self.path))
        except ValueError:
            return False
        return merkle.verify_consistency(self.old_size, self.size, old_root, root, path)


def append(connection: Connection, entries: Sequence[tuple[str, str]]) -> None:
    """Append (table name, row id) pairs. The caller holds the writers' lock."""
    if not entries:
        return
    frontier = _frontier(connection)
    first = frontier.size
    new = [
        {
            "seq": first + offset,
            "table_name": table,
            "row_id": row_id,
            "subtree": frontier.append(merkle.leaf_hash(bytes.fromhex(row_id))).hex(),
        }
        for offset, (table, row_id) in enumerate(entries)
    ]
    connection.execute(insert(log), new)


def size(connection: Connection) -> int:
    """How many rows the log has."""
    last = connection.execute(select(func.max(log.c.seq))).scalar()
    return 0 if last is None else int(last) + 1


def root(connection: Connection, at_size: int) -> bytes:
    """The root hash when the log had `at_size` rows."""
    _check_size(connection, at_size)
    return _with_nodes(connection, lambda at: merkle.range_hash(at, 0, at_size))


def inclusion(connection: Connection, row_id: str, content: str) -> Inclusion:
    """Prove that a row is in the log as it is now."""
    index = connection.execute(select(log.c.seq).where(log.c.row_id == row_id)).scalar()
    if index is None:
        raise RecordError(
            f"The row {row_id} is not in the log. Run 'kilter record verify' to see what else is damaged."
        )
    now = size(connection)
    path = _with_nodes(connection, lambda at: merkle.inclusion_path(at, index, now))
    hexes = tuple(sibling.hex() for sibling in path)
    return Inclusion(row_id, content, index, now, hexes, root(connection, now).hex())


def consistency(connection: Connection, old_size: int) -> Consistency:
    """Prove that the log as it is now only adds to what it was at `old_size`."""
    now = size(connection)
    old_root = root(connection, old_size)
    path = _with_nodes(connection, lambda at: merkle.consistency_path(at, old_size, now))
    hexes = tuple(sibling.hex() for sibling in path)
    return Consistency(old_size, now, old_root.hex(), root(connection, now).hex(), hexes)


def _edge() -> Select[int, str]:
    sizes = select((func.max(log.c.seq) + 1).label("size")).cte("sizes", recursive=True)
    without_smallest = sizes.c.size.bitwise_and(sizes.c.size - 1)
    sizes = sizes.union_all(select(without_smallest).where(without_smallest > 0))
    subtree = select(log.c.subtree).where(log.c.seq == sizes.c.size - 1).scalar_subquery()
    return select(sizes.c.size, subtree).where(sizes.c.size.is_not(None)).order_by(sizes.c.size)


_EDGE = _edge()  # made once, since making it takes longer than asking it


def _frontier(connection: Connection) -> merkle.Frontier:
    """The right edge of the tree, in one query: the size, the size without its smallest subtree, and so on."""
    nodes: dict[int, str | None] = {end - 1: node for end, node in connection.execute(_EDGE)}
    _expect_nodes(end for end, node in nodes.items() if node is None)
    return merkle.Frontier(max(nodes, default=-1) + 1, [bytes.fromhex(node) for node in nodes.values() if node])


def _check_size(connection: Connection, asked: int) -> None:
    now = size(connection)
    if not 0 <= asked <= now:
        raise RecordError(f"The log has {now} rows; it never had {asked}. Ask for a size from 0 to {now}.")


def _with_nodes(connection: Connection, compute: Callable[[merkle.NodeAt], T]) -> T:
    """Run `compute` twice: first to learn which nodes it asks for, then with them, fetched at once."""
    asked: set[int] = set()

    def remember(seq: int) -> merkle.Node:
        asked.add(seq)
        return merkle.Node(b"", b"")

    compute(remember)
    rows = connection.execute(select(log.c.seq, log.c.row_id, log.c.subtree).where(log.c.seq.in_(asked)))
    nodes = {
        seq: merkle.Node(merkle.leaf_hash(bytes.fromhex(row_id)), bytes.fromhex(subtree))
        for seq, row_id, subtree in rows
    }
    _expect_nodes(asked - nodes.keys())
    return compute(nodes.__getitem__)


def _expect_nodes(missing: Iterable[int]) -> None:
    if absent := sorted(missing):
        raise RecordError(
            f"The log has no row {absent[0]}, though later ones are there. Run 'kilter record verify' to see what is "
            "damaged, and restore the record from a backup."
        )
