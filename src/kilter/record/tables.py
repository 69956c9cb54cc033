"""The schema, the same in SQLite and PostgreSQL.

JSON columns are text in canonical form and never a database's own JSON type, which would reorder keys
and reprint numbers, so that rows could not be hashed again.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

metadata = MetaData()
# "C": ids are ordered byte by byte, whatever language the server sorts in; in Danish, aa comes after z.
_ID = String(64).with_variant(String(64, collation="C"), "postgresql")


def _key(name: str = "id", refers_to: str | None = None, **options: Any) -> Column[str]:
    links = [ForeignKey(f"{refers_to}.id")] if refers_to else []
    return Column(name, _ID, *links, **options)


def _json(name: str) -> Column[str]:
    return Column(name, Text, nullable=False, info={"json": True})


artifacts = Table(
    "artifacts",
    metadata,
    _key(primary_key=True),
    Column("kind", Text, nullable=False, index=True),
    _key("body_sha256", nullable=False),
    Column("producer", Text),
    _json("parents"),
)

judgments = Table(
    "judgments",
    metadata,
    _key(primary_key=True),
    _key("target", "artifacts", nullable=False, index=True),
    Column("question", Text, nullable=False),
    Column("judge", Text, nullable=False, index=True),
    Column("principal", Text, nullable=False),
    _json("value"),
    Column("probability", Double),
    _json("spans"),
    _json("side_shown"),
    Column("seed", BigInteger),
    Column("blinded", Boolean, nullable=False),
    Column("started", Text),
    Column("active_ms", BigInteger),
    _key("supersedes", "judgments"),
)

exposures = Table(
    "exposures",
    metadata,
    _key(primary_key=True),
    _key("judgment", "judgments", nullable=False, index=True),
    _key("assistance", "artifacts", nullable=False),
    Column("shown_at", Text),
    Column("opened", Boolean, nullable=False),
    Column("accepted", Boolean),
)

runs = Table(
    "runs",
    metadata,
    _key(primary_key=True),
    _key("run", "runs", index=True),
    _key("supersedes", "runs"),
    Column("name", Text, nullable=False),
    Column("status", Text, nullable=False),
    _json("config"),
    _json("code"),
    _json("environment"),
    Column("seed", BigInteger),
    Column("nonce", Text, nullable=False),
    Column("started", Text, nullable=False),
    Column("finished", Text),
    _json("inputs"),
    _json("outputs"),
    _key("metrics", "artifacts"),
    Column("flops", Double),
    Column("seconds", Double),
)

evidence = Table(
    "evidence",
    metadata,
    _key(primary_key=True),
    Column("metric", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("low", Double),
    Column("high", Double),
    Column("n", BigInteger, nullable=False),
    Column("method", Text, nullable=False),
    _key("run", "runs", nullable=False, index=True),
)

bodies = Table(
    "bodies",
    metadata,
    _key("sha256", primary_key=True),
    Column("content", LargeBinary, nullable=False),
)

log = Table(
    "log",
    metadata,
    Column("seq", BigInteger().with_variant(Integer, "sqlite"), primary_key=True, autoincrement=False),
    Column("table_name", Text, nullable=False),
    _key("row_id", nullable=False, unique=True),
    _key("subtree", nullable=False),
)
