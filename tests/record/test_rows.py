from __future__ import annotations

from dataclasses import fields, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from kilter.errors import DataError
from kilter.record import Artifact, Evidence, Judgment, Run, canonical, sha256
from kilter.record.rows import ROW_TYPES

HEX = "0" * 64
text = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"))
number = st.floats(allow_nan=False, allow_infinity=False)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | number | text,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(text, inner, max_size=3),
    max_leaves=5,
)
judgments = st.builds(
    Judgment,
    target=st.just(HEX),
    question=text,
    judge=text,
    principal=st.sampled_from(["human", "model", "program", "aggregate", "simulated"]),
    value=json_values,
    probability=st.none() | number,
    spans=st.none() | st.lists(json_values, max_size=2),
    side_shown=st.none() | st.permutations([0, 1, 2]),
    seed=st.none() | st.integers(-(2**63), 2**63 - 1),
    blinded=st.booleans(),
    active_ms=st.none() | st.integers(0, 10**9),
)


def judgment(**changes: object) -> Judgment:
    return replace(Judgment(HEX, "which?", "ann", "human", 1), **changes)


@given(judgments)
def test_a_row_reads_back_equal_and_with_the_same_id(row: Judgment) -> None:
    again = Judgment.from_stored(row.stored())
    assert again == row
    assert again.id == row.id
    assert again.stored() == row.stored()


@given(judgments, judgments)
def test_different_content_has_a_different_id(one: Judgment, other: Judgment) -> None:
    assert (one.id == other.id) == (one.stored() == other.stored())


def test_an_artifact_id_is_the_hash_that_the_contract_names() -> None:
    row = Artifact("model", HEX, "train/sft", ("a" * 64,))
    named = {"kind": "model", "body_sha256": HEX, "parents": ["a" * 64], "producer": "train/sft"}
    assert row.id == sha256(canonical(named).encode())


def test_seeds_and_times_tell_two_judgments_apart() -> None:
    rows = [judgment(), judgment(seed=1), judgment(seed=2), judgment(started="2026-01-01T00:00:00Z")]
    assert len({row.id for row in rows}) == 4
    assert judgment(seed=1).id == judgment(seed=1).id


def test_near_types_are_the_one_type_that_a_database_gives_back() -> None:
    assert judgment(seed=np.int64(3)).id == judgment(seed=3).id
    assert judgment(probability=1).id == judgment(probability=1.0).id
    assert judgment(probability=-0.0).id == judgment(probability=0.0).id
    assert judgment(probability=np.float32(0.5)).id == judgment(probability=0.5).id
    assert judgment(blinded=np.True_).id == judgment(blinded=True).id


@pytest.mark.parametrize(
    ("changes", "named"),
    [
        ({"probability": float("nan")}, "the number is nan"),
        ({"value": {"score": float("inf")}}, "the number is inf"),
        ({"seed": 2**63}, "Judgment.seed cannot be 9223372036854775808: it does not fit into 64 bits"),
        ({"seed": 1.5}, "Judgment.seed cannot be 1.5"),
        ({"question": None}, "Judgment.question cannot be None: it must be text"),
        ({"judge": "a\x00b"}, "NUL"),
        ({"blinded": "yes"}, "true or false"),
        ({"value": {1: 2}}, "the key 1 is int"),
    ],
)
def test_what_cannot_be_kept_is_refused_by_name(changes: dict[str, object], named: str) -> None:
    with pytest.raises(DataError) as caught:
        _ = judgment(**changes).id
    assert named in str(caught.value)


def test_an_unknown_principal_is_refused_at_once() -> None:
    with pytest.raises(DataError, match="a principal is one of human, model, program, aggregate, simulated"):
        judgment(principal="robot")


def test_evidence_without_a_number_is_refused() -> None:
    with pytest.raises(DataError, match="the number is nan"):
        _ = Evidence("gold_win_rate", float("nan"), None, None, 10, "wilson", HEX).id


def test_every_column_is_a_field_and_every_field_a_column() -> None:
    for row_type in ROW_TYPES:
        columns = set(row_type.table.columns.keys()) - {"id"}
        assert columns == {field.name for field in fields(row_type)}, row_type


def test_a_run_names_itself_until_it_is_superseded() -> None:
    start = Run("sft", {}, {}, {}, "nonce", "2026-01-01")
    end = replace(start, status="done", run=start.run_id, supersedes=start.id)
    assert start.run_id == start.id
    assert end.run_id == start.id != end.id
