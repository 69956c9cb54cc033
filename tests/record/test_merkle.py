from __future__ import annotations

import hashlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilter.record import merkle

# The reference vectors of Certificate Transparency (merkletree/merkle_tree_test in the original C++ code).
LEAVES = [
    bytes.fromhex(text)
    for text in (
        "",
        "00",
        "10",
        "2021",
        "3031",
        "40414243",
        "5051525354555657",
        "606162636465666768696a6b6c6d6e6f",
    )
]
ROOTS = [
    "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
    "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
    "fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125",
    "aeb6bcfe274b70a14fb067a5e5578264db0fa9b51af5e0ba159158f329e06e77",
    "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
    "4e3bbb1f7b478dcfe71fb631631519a3bca12c9aefca1612bfce4c13a86264d4",
    "76e67dadbcdf1e10e1b74ddc608abd2f98dfb16fbce75277b5232a127f2087ef",
    "ddb89be403809e325750d3d263cd78929c2942b7942a34b77e122c9594a74c8c",
    "5dc9da79a70659a9ad559cb701ded9a2ab9d823aad2f4960cfe370eff4604328",
]
INCLUSION = [
    (0, 1, []),
    (
        0,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        5,
        8,
        [
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (2, 3, ["fac54203e7cc696cf0dfcb42c92a1d9dbaf70ad9e621f4bd8d98662f00e3c125"]),
    (
        1,
        5,
        [
            "6e340b9cffb37a989ca544e6bb780a2c78901d3fb33738768511a30617afa01d",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
CONSISTENCY = [
    (1, 1, []),
    (
        1,
        8,
        [
            "96a296d224f285c67bee93c30f8a309157f0daa35dc5b87e410b78630a09cfc7",
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "6b47aaf29ee3c2af9af889bc1fb9254dabd31177f16232dd6aab035ca39bf6e4",
        ],
    ),
    (
        6,
        8,
        [
            "0ebc5d3437fbe2db158b9f126a1d118e308181031d0a949f8dededebc558ef6a",
            "ca854ea128ed050b41b35ffc1b87b8eb2bde461e9e3b5596ece6b9d5975a0ae0",
            "d37ee418976dd95753c1c73862b9398fa2a2cf9b4ff0fdfe8b30cd95209614b7",
        ],
    ),
    (
        2,
        5,
        [
            "5f083f0a1a33ca076a95279832580db3e0ef4584bdff1f54c8a360f50de3031e",
            "bc1a0643b12e4d2d7c77918f44e0f4f79a838b6cf9ec5b5c283e1f4d88599e6b",
        ],
    ),
]
MANY = [hashlib.sha256(bytes([number])).digest() for number in range(70)]


def tree(leaf_hashes: list[bytes]) -> tuple[merkle.Frontier, list[merkle.Node]]:
    frontier = merkle.Frontier()
    return frontier, [merkle.Node(leaf, frontier.append(leaf)) for leaf in leaf_hashes]


def definition(leaf_hashes: list[bytes]) -> bytes:
    """MTH as RFC 6962 writes it down."""
    if not leaf_hashes:
        return hashlib.sha256(b"").digest()
    if len(leaf_hashes) == 1:
        return leaf_hashes[0]
    split = 1
    while split * 2 < len(leaf_hashes):
        split *= 2
    left, right = definition(leaf_hashes[:split]), definition(leaf_hashes[split:])
    return hashlib.sha256(b"\x01" + left + right).digest()


def test_roots_of_the_reference_vectors() -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    for size, root in enumerate(ROOTS):
        frontier, nodes = tree(hashes[:size])
        assert frontier.root().hex() == root
        assert merkle.range_hash(nodes.__getitem__, 0, size).hex() == root


@pytest.mark.parametrize(("index", "size", "path"), INCLUSION)
def test_inclusion_paths_of_the_reference_vectors(index: int, size: int, path: list[str]) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    found = merkle.inclusion_path(tree(hashes)[1].__getitem__, index, size)
    assert [sibling.hex() for sibling in found] == path
    assert merkle.verify_inclusion(hashes[index], index, size, found, bytes.fromhex(ROOTS[size]))


@pytest.mark.parametrize(("old", "new", "path"), CONSISTENCY)
def test_consistency_paths_of_the_reference_vectors(old: int, new: int, path: list[str]) -> None:
    hashes = [merkle.leaf_hash(leaf) for leaf in LEAVES]
    found = merkle.consistency_path(tree(hashes)[1].__getitem__, old, new)
    assert [sibling.hex() for sibling in found] == path
    roots = bytes.fromhex(ROOTS[old]), bytes.fromhex(ROOTS[new])
    assert merkle.verify_consistency(old, new, *roots, found)


def test_every_size_has_the_root_of_the_definition() -> None:
    _, nodes = tree(MANY)
    for size in range(len(MANY) + 1):
        frontier, _ = tree(MANY[:size])
        assert frontier.root() == definition(MANY[:size])
        sizes = [size]  # and that without the smallest subtree, and so on, as the database is asked for them
        while sizes[-1]:
            sizes.append(sizes[-1] & sizes[-1] - 1)
        resumed = merkle.Frontier(size, [nodes[end - 1].subtree for end in sizes[-2::-1]])
        assert resumed.roots == frontier.roots


@given(st.data())
def test_a_proof_holds_for_its_leaf_and_for_nothing_else(data: st.DataObject) -> None:
    size = data.draw(st.integers(1, len(MANY)))
    index = data.draw(st.integers(0, size - 1))
    _, nodes = tree(MANY[:size])
    root = definition(MANY[:size])
    path = merkle.inclusion_path(nodes.__getitem__, index, size)
    assert merkle.verify_inclusion(MANY[index], index, size, path, root)
    assert len(path) <= (size - 1).bit_length()

    wrong = data.draw(st.integers(-2, size + 2).filter(lambda other: other != index))
    assert not merkle.verify_inclusion(MANY[index], wrong, size, path, root)
    assert not merkle.verify_inclusion(MANY[index - 1] if size > 1 else b"", index, size, path, root)
    assert not merkle.verify_inclusion(MANY[index], index, size, path, MANY[0] if size > 1 else b"")
    assert not merkle.verify_inclusion(MANY[index], index, size, [*path, MANY[0]], root)
    assert not path or not merkle.verify_inclusion(MANY[index], index, size, path[:-1], root)
    assert not path or not merkle.verify_inclusion(MANY[index], index, size, _damaged(data, path), root)


@given(st.data())
def test_consistency_holds_for_a_prefix_and_for_nothing_else(data: st.DataObject) -> None:
    new = data.draw(st.integers(1, len(MANY)))
    old = data.draw(st.integers(0, new))
    _, nodes = tree(MANY[:new])
    path = merkle.consistency_path(nodes.__getitem__, old, new)
    roots = definition(MANY[:old]), definition(MANY[:new])
    assert merkle.verify_consistency(old, new, *roots, path)

    assert not merkle.verify_consistency(old, new, MANY[0] if old != 1 else b"", roots[1], path)
    assert not merkle.verify_consistency(old, new, *roots, [*path, MANY[0]])
    if 0 < old < new:
        assert not merkle.verify_consistency(old, new, roots[0], MANY[0], path)
        assert not merkle.verify_consistency(old, new, *roots, [])
        assert not merkle.verify_consistency(old, new, *roots, _damaged(data, path))
        forged = definition([MANY[-1], *MANY[1:old]])
        assert not merkle.verify_consistency(old, new, forged, roots[1], path)
        assert not merkle.verify_consistency(new, old, roots[1], roots[0], path)


def test_every_proof_of_every_small_tree_verifies() -> None:
    for new in range(1, 34):
        _, nodes = tree(MANY[:new])
        root = definition(MANY[:new])
        for old in range(new + 1):
            path = merkle.consistency_path(nodes.__getitem__, old, new)
            assert merkle.verify_consistency(old, new, definition(MANY[:old]), root, path)
        for index in range(new):
            path = merkle.inclusion_path(nodes.__getitem__, index, new)
            assert merkle.verify_inclusion(MANY[index], index, new, path, root)


def test_questions_that_make_no_sense_are_refused() -> None:
    _, nodes = tree(MANY[:3])
    with pytest.raises(ValueError, match="leaf 3 is not in a tree of 3"):
        merkle.inclusion_path(nodes.__getitem__, 3, 3)
    with pytest.raises(ValueError, match="never had 4"):
        merkle.consistency_path(nodes.__getitem__, 4, 3)
    with pytest.raises(ValueError, match="2 complete subtrees"):
        merkle.Frontier(3, [b""])


def test_a_proof_touches_few_nodes_of_a_large_tree() -> None:
    asked: set[int] = set()

    def node_at(seq: int) -> merkle.Node:
        asked.add(seq)
        return merkle.Node(b"", b"")

    merkle.inclusion_path(node_at, 12_345, 1_000_000)
    assert len(asked) < 200


def _damaged(data: st.DataObject, path: list[bytes]) -> list[bytes]:
    place = data.draw(st.integers(0, len(path) - 1))
    return [*path[:place], bytes([path[place][0] ^ 1]) + path[place][1:], *path[place + 1 :]]
