"""ID tokens: believed when a key of the provider has signed them, for this site, now, for this very sign-in."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from threading import Lock
from typing import Any

from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet

from kilter.errors import ServerError

ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA", "Ed25519")
"""Signatures with a public key; "none" and those with a shared secret are never among them."""
LEEWAY = 60
"""Seconds that the provider's clock may be off."""
FRESH = 60.0
"""Seconds before keys are fetched again because a token names an unknown one."""
LONGEST = 64 * 1024


class Untrusted(Exception):
    """A token that is not believed, and why."""


class KeyRing:
    """The provider's public keys, fetched again when it signs with a new one.

    Args:
        fetch: gives the JSON Web Key Set.

    Raises:
        ServerError: there is no such set, or no usable key in it.
    """

    def __init__(self, fetch: Callable[[], Any], now: Callable[[], float] = time.time) -> None:
        self._fetch, self._now = fetch, now
        self._lock = Lock()
        self._keys = _key_set(fetch())
        self._fetched = now()

    def claims(self, token: str, *, issuer: str, client: str, nonce: str) -> dict[str, Any]:
        """What an ID token says (OpenID Connect Core 1.0, section 3.1.3.7).

        Raises:
            Untrusted: its signature, algorithm, issuer, audience, time or nonce is not what it should be.
        """
        try:
            claims = self._decoded(token)
            expected = jwt.JWTClaimsRegistry(
                now=int(self._now()), leeway=LEEWAY, iss={"essential": True, "value": issuer}, sub={"essential": True},
                aud={"essential": True, "value": client}, exp={"essential": True}, iat={"essential": True},
                nonce={"essential": True},
            )  # fmt: skip
            expected.validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            raise Untrusted(str(error) or type(error).__name__) from error
        if not isinstance(claims["nonce"], str) or not hmac.compare_digest(claims["nonce"].encode(), nonce.encode()):
            raise Untrusted("the nonce is another sign-in's")
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if claims.get("azp", None if several else client) != client:
            raise Untrusted("it was issued to another site (azp)")
        if not isinstance(claims["sub"], str) or not 1 <= len(claims["sub"]) <= 255 or not claims["sub"].isprintable():
            raise Untrusted("the subject (sub) is no name")
        return claims

    def _decoded(self, token: str) -> dict[str, Any]:
        if len(token) > LONGEST:
            raise Untrusted("it is too long")
        try:
            return jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims
        except InvalidKeyIdError:
            if not self._renewed():
                raise
            return jwt.decode(token, self._keys, algorithms=ALGORITHMS).claims

    def _renewed(self) -> bool:
        """Fetch the keys again, unless that was done a moment ago: a made-up key id must not make us ask each time."""
        with self._lock:
            if self._now() - self._fetched < FRESH:
                return False
            self._fetched = self._now()
            self._keys = _key_set(self._fetch())
            return True


def _key_set(told: Any) -> KeySet:
    try:
        return KeySet.import_key_set(told)
    except (JoseError, ValueError, TypeError, KeyError) as error:
        raise ServerError(f"The provider's keys (jwks_uri) cannot be read: {error}") from error
