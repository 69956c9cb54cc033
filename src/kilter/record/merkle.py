"""Merkle trees of RFC 6962: roots, proofs, and their verification, as pure functions of hashes.

The tree of n leaves is kept as n nodes. Leaf i brings with it the hash of the largest complete subtree
that ends in it (of 2^t leaves, t being the number of trailing ones of i): the ends of the binary
expansion of any size n are such subtrees, and so is every left sibling in the tree. A root therefore
costs O(log n) nodes, a proof O(log^2 n), and appending needs only the subtrees of the last size.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from typing import NamedTuple

EMPTY_ROOT = hashlib.sha256(b"").digest()


class Node(NamedTuple):
    """A leaf's hash, and that of the largest complete subtree which ends in this leaf."""

    leaf: bytes
    subtree: bytes


NodeAt = Callable[[int], Node]


def leaf_hash(entry: bytes) -> bytes:
    """SHA-256 of 0x00 and the entry (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """SHA-256 of 0x01 and the two children (RFC 6962, 2.1)."""
    return hashlib.sha256(b"\x01" + left + right).digest()


class Frontier:
    """A growing tree seen from its right edge: the roots of its complete subtrees, largest first."""

    def __init__(self, size: int = 0, roots: Sequence[bytes] = ()) -> None:
        if len(roots) != size.bit_count():
            raise ValueError(f"a tree of {size} leaves has {size.bit_count()} complete subtrees")
        self.size = size
        self.roots = list(roots)

    def append(self, leaf: bytes) -> bytes:
        """Add a leaf's hash; return the hash of the largest complete subtree that now ends in it."""
        subtree, size = leaf, self.size
        while size & 1:
            subtree = node_hash(self.roots.pop(), subtree)
            size >>= 1
        self.roots.append(subtree)
        self.size += 1
        return subtree

    def root(self) -> bytes:
        """The tree's root hash; of no leaves, the SHA-256 of nothing."""
        if not self.roots:
            return EMPTY_ROOT
        *others, root = self.roots
        for left in reversed(others):
            root = node_hash(left, root)
        return root


def range_hash(node_at: NodeAt, start: int, stop: int) -> bytes:
    """MTH(D[start:stop]) of RFC 6962, for the ranges that its recursion meets."""
    size = stop - start
    if size == 0:
        return EMPTY_ROOT
    if stop & -stop == size:  # a stored subtree: it is the largest that ends in its last leaf
        return node_at(stop - 1).subtree
    if size == 1:
        return node_at(start).leaf
    middle = start + _split(size)
    return node_hash(range_hash(node_at, start, middle), range_hash(node_at, middle, stop))


def inclusion_path(node_at: NodeAt, index: int, size: int) -> list[bytes]:
    """PATH(index, D[size]) of RFC 6962, 2.1.1: the siblings from the leaf up to the root."""
    if not 0 <= index < size:
        raise ValueError(f"leaf {index} is not in a tree of {size} leaves")
    start, stop, path = 0, size, []
    while stop - start > 1:
        middle = start + _split(stop - start)
        if index < middle:
            path.append(range_hash(node_at, middle, stop))
            stop = middle
        else:
            path.append(range_hash(node_at, start, middle))
            start = middle
    return path[::-1]


def consistency_path(node_at: NodeAt, old_size: int, new_size: int) -> list[bytes]:
    """PROOF(old_size, D[new_size]) of RFC 6962, 2.1.2; empty for an empty old tree."""
    if not 0 <= old_size <= new_size:
        raise ValueError(f"a tree of {new_size} leaves never had {old_size}")
    if old_size in (0, new_size):
        return []
    start, stop, path, whole = 0, new_size, [], True
    while old_size != stop:
        middle = start + _split(stop - start)
        if old_size <= middle:
            path.append(range_hash(node_at, middle, stop))
            stop = middle
        else:
            path.append(range_hash(node_at, start, middle))
            start, whole = middle, False
    if not whole:  # otherwise the verifier holds this subtree already: it is the old root
        path.append(range_hash(node_at, start, stop))
    return path[::-1]


def verify_inclusion(leaf: bytes, index: int, size: int, path: Sequence[bytes], root: bytes) -> bool:
    """Whether `path` shows that the leaf stands at `index` in the tree of this root (RFC 9162, 2.1.3.2)."""
    if not 0 <= index < size:
        return False
    here, last, hashed = index, size - 1, leaf
    for sibling in path:
        if last == 0:
            return False
        if here & 1 or here == last:
            hashed = node_hash(sibling, hashed)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            hashed = node_hash(hashed, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and hashed == root


def verify_consistency(old_size: int, new_size: int, old_root: bytes, new_root: bytes, path: Sequence[bytes]) -> bool:
    """Whether `path` shows that the new tree only added to the old one (RFC 9162, 2.1.4.2)."""
    if old_size == 0:
        return not path and old_root == EMPTY_ROOT and new_size >= 0
    if old_size == new_size:
        return not path and old_root == new_root
    if old_size > new_size:
        return False
    whole = old_size & (old_size - 1) == 0
    first, *rest = [old_root, *path] if whole else path or [b""]
    here, last = old_size - 1, new_size - 1
    while here & 1:
        here, last = here >> 1, last >> 1
    old = new = first
    for sibling in rest:
        if last == 0:
            return False
        if here & 1 or here == last:
            old, new = node_hash(sibling, old), node_hash(sibling, new)
            while here and not here & 1:
                here, last = here >> 1, last >> 1
        else:
            new = node_hash(new, sibling)
        here, last = here >> 1, last >> 1
    return last == 0 and old == old_root and new == new_root


def _split(size: int) -> int:
    return 1 << (size - 1).bit_length() - 1
