"""Names of raters for the record: numbers and ids as they are, names and e-mail addresses never."""

from __future__ import annotations

import hashlib
import hmac
import re
import secrets

from sqlalchemy import Column, LargeBinary, MetaData, String, Table, insert, select

from kilter.errors import SettingsError
from kilter.record import Record

metadata = MetaData()
_keys = Table(
    "exchange_keys",
    metadata,
    Column("name", String(32), primary_key=True),
    Column("secret", LargeBinary, nullable=False),
)

UNNAMED = "annotators"
_TELLS_NOTHING = re.compile(r"\d{1,9}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|[0-9a-f]{16,64}", re.IGNORECASE)
_OURS = re.compile(r"[A-Za-z0-9._-]{1,60}/[A-Za-z0-9-]{1,64}")


class Pseudonyms:
    """The judges' names of one source: `<source>/<number, uuid or keyed hash>`.

    A plain hash of an e-mail address is found again by hashing a list of addresses; the key, which lies beside the
    record and in no export, prevents that. Within a workspace the same rater has the same name in every import.
    """

    def __init__(self, source: str, key: bytes) -> None:
        if not re.fullmatch(r"[A-Za-z0-9._-]{1,60}", source):
            raise SettingsError(
                f"'{source}' cannot stand before the raters' names: use letters, digits, '.', '_' and '-'; "
                "--source gives another name."
            )
        self.source = source
        self._key = key
        self.hashed: set[str] = set()

    def judge(self, rater: str, ours: str = "") -> str:
        """The judge's name for a rater; `ours` is one that Kilter gave before, and stays if it looks like one."""
        if ours and _OURS.fullmatch(ours):
            return ours
        rater = (ours or rater).strip()
        if not rater:
            return f"{self.source}/{UNNAMED}"
        if _TELLS_NOTHING.fullmatch(rater):
            return f"{self.source}/{rater.lower()}"
        name = hmac.new(self._key, f"{self.source}\0{rater}".encode(), hashlib.sha256).hexdigest()[:12]
        self.hashed.add(name)
        return f"{self.source}/h-{name}"


def key_of(record: Record) -> bytes:
    """The workspace's key for raters' names, drawn when it is first needed."""
    record.lay(metadata)
    with record.transaction() as transaction:
        there: bytes | None = transaction.connection.execute(select(_keys.c.secret)).scalar()
        if there is None:
            there = secrets.token_bytes(32)
            transaction.connection.execute(insert(_keys), {"name": "raters", "secret": there})
        return there
