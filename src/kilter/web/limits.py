"""How often somebody may try: passwords and invitations are guessed slowly or not at all."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from threading import Lock

FAILURES, WITHIN = 8, 15 * 60.0
"""Wrong passwords for one name, or from one address, before the door stays shut for a while."""
MINUTE = 60.0


class Limits:
    """Counts of what happened lately, in memory: a restart forgives."""

    def __init__(self, now: Callable[[], float] = time.monotonic) -> None:
        self._now = now
        self._lock = Lock()
        self._seen: dict[str, deque[float]] = {}

    def is_locked(self, *keys: str) -> bool:
        """Whether there were too many failures for one of these names or addresses."""
        with self._lock:
            return any(len(self._recent(f"failure {key}", WITHIN)) >= FAILURES for key in keys)

    def failed(self, *keys: str) -> None:
        """Note a failure."""
        with self._lock:
            for key in keys:
                self._recent(f"failure {key}", WITHIN).append(self._now())

    def succeeded(self, *keys: str) -> None:
        """Forget the failures."""
        with self._lock:
            for key in keys:
                self._seen.pop(f"failure {key}", None)

    def admits(self, key: str, most: int) -> bool:
        """Note a request, and say whether it is one of at most `most` in this minute."""
        with self._lock:
            recent = self._recent(f"request {key}", MINUTE)
            if len(recent) >= most:
                return False
            recent.append(self._now())
            return True

    def _recent(self, key: str, within: float) -> deque[float]:
        if len(self._seen) > 10_000:  # an attacker with many addresses must not fill the memory
            self._seen = {
                name: times for name, times in self._seen.items() if times and times[-1] > self._now() - WITHIN
            }
        times = self._seen.setdefault(key, deque())
        while times and times[0] <= self._now() - within:
            times.popleft()
        return times
