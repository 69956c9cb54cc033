"""Passwords, hashed with argon2id by argon2-cffi's defaults (RFC 9106's second choice)."""

from __future__ import annotations

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from kilter.errors import DataError

SHORTEST, LONGEST = 10, 200
_HASHER = PasswordHasher()
_NOBODYS = _HASHER.hash("the password of nobody")


def hash_password(password: str) -> str:
    """A salted hash; raises `DataError` for a password that is too short to resist guessing."""
    if not SHORTEST <= len(password) <= LONGEST:
        raise DataError(f"A password has {SHORTEST} to {LONGEST} characters; three or four unrelated words do well.")
    return _HASHER.hash(password)


def is_right(hashed: str | None, password: str) -> bool:
    """Whether a password is the one hashed; takes as long where there is none, so that names cannot be guessed."""
    try:
        return _HASHER.verify(hashed or _NOBODYS, password[:LONGEST]) and hashed is not None
    except (VerificationError, InvalidHashError):
        return False
