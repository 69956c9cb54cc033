"""Sign-ins on their way: begun here, not yet come back from the provider."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from threading import Lock

SECONDS = 600.0
MOST = 20_000
"""Sign-ins on their way at once; the oldest give way."""


@dataclass(frozen=True)
class Flow:
    """One sign-in on its way.

    Attributes:
        state: comes back with the code, once; who does not know it cannot end the sign-in.
        browser: the same for the browser that began, in a cookie; so nobody can sign others in as themselves.
        nonce: must stand in the ID token.
        verifier: whose hash the provider was told (PKCE, RFC 7636).
        redirect: where the provider sends the browser.
        to: the page that was asked for.
    """

    state: str
    browser: str
    nonce: str
    verifier: str
    redirect: str
    to: str
    until: float

    @property
    def challenge(self) -> str:
        """The verifier's hash, S256."""
        digest = hashlib.sha256(self.verifier.encode()).digest()
        return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


class Flows:
    """All sign-ins on their way, in memory: after a restart people press the button again."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._by_state: dict[str, Flow] = {}

    def begin(self, redirect: str, to: str) -> Flow:
        """A new one."""
        state, browser, nonce, verifier = (secrets.token_urlsafe(32) for _ in range(4))
        flow = Flow(state, browser, nonce, verifier, redirect, to, self._now() + SECONDS)
        with self._lock:
            while len(self._by_state) >= MOST:
                del self._by_state[next(iter(self._by_state))]
            self._by_state[state] = flow
        return flow

    def finish(self, state: str, browser: str) -> Flow | None:
        """The one of this state, once; None where it is over, too old or another browser's."""
        with self._lock:
            flow = self._by_state.pop(state, None)
        if flow is None or flow.until < self._now():
            return None
        return flow if hmac.compare_digest(flow.browser.encode(), browser.encode()) else None
