from __future__ import annotations

import json
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from places import Place

from kilter.errors import DataError, RecordError
from kilter.record import Inclusion, NewArtifact, Record, merkle, verify_inclusion


def fill(record: Record, count: int) -> list[str]:
    return record.add_artifacts([NewArtifact("x", {"n": n}) for n in range(count)])


def test_the_root_is_that_of_the_row_ids_in_order(record: Record) -> None:
    assert record.root() == merkle.EMPTY_ROOT.hex()
    ids = fill(record, 37)
    frontier = merkle.Frontier()
    for size, row_id in enumerate(ids):
        assert record.root(size) == frontier.root().hex()
        frontier.append(merkle.leaf_hash(bytes.fromhex(row_id)))
    assert record.root() == record.root(37) == frontier.root().hex()


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=10, deadline=None)
@given(batches=st.lists(st.integers(0, 9), min_size=1, max_size=8))
def test_how_rows_are_batched_does_not_matter(
    tmp_path_factory: pytest.TempPathFactory, place: Place, batches: list[int]
) -> None:
    root = tmp_path_factory.mktemp("record")
    one, other = (Record(place.another() or root / f"{name}.db", root / "blobs") for name in ("one", "other"))
    rows = [NewArtifact("x", {"n": n}) for n in range(sum(batches))]
    start = 0
    for size in batches:
        one.add_artifacts(rows[start : start + size])
        start += size
    other.add_artifacts(rows)
    assert one.root() == other.root()
    assert one.verify().ok
    one.close()
    other.close()


def test_an_inclusion_proof_can_be_checked_offline_with_sha256_alone(record: Record) -> None:
    ids = fill(record, 21)
    for row_id in ids:
        printed = json.dumps(record.inclusion_proof(row_id).as_dict())
        proof = Inclusion.from_dict(json.loads(printed))
        assert proof.verify()
        assert proof.root == record.root()
        leaf = merkle.leaf_hash(bytes.fromhex(proof.id))
        path = [bytes.fromhex(sibling) for sibling in proof.path]
        assert verify_inclusion(leaf, proof.index, proof.size, path, bytes.fromhex(proof.root))
        for changed in (
            replace(proof, content=proof.content.replace("x", "y")),
            replace(proof, index=proof.index + 1),
            replace(proof, root=ids[0]),
            replace(proof, path=proof.path[1:]),
            replace(proof, root="no hash"),
        ):
            assert not changed.verify()


def test_something_else_is_no_inclusion_proof() -> None:
    with pytest.raises(DataError, match="no inclusion proof"):
        Inclusion.from_dict({"id": "ab"})


def test_a_consistency_proof_holds_between_any_two_sizes(record: Record) -> None:
    roots = [record.root()]
    for number in range(12):
        record.add_artifact("x", {"n": number})
        roots.append(record.root())
        for old_size, old_root in enumerate(roots):
            proof = record.consistency_proof(old_size)
            assert proof.verify()
            assert (proof.old_root, proof.root) == (old_root, roots[-1])
            assert not replace(proof, old_root="ab" * 32).verify()
            assert not replace(proof, root="no hash").verify()


def test_a_size_that_never_was_is_refused(record: Record) -> None:
    fill(record, 3)
    for ask in (record.consistency_proof, record.root):
        with pytest.raises(RecordError, match="The log has 3 rows; it never had 4"):
            ask(4)
    with pytest.raises(RecordError, match="starts with 'ffffffff'"):
        record.inclusion_proof("ffffffff")
