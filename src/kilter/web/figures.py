"""Figures that take seconds: computed in a thread beside the pages, kept until what they rest on has changed.

A page asks for figures and gets those that are known, however old, or nothing yet; it never waits long. Whoever judges
meanwhile is not held up: one computation of each lane runs at a time, and none holds a lock of the record.
"""

from __future__ import annotations

import logging
from collections import OrderedDict
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from threading import Event, Lock, Thread
from typing import Any, Literal

from kilter.errors import KilterError

LOG = logging.getLogger(__name__)
PATIENCE = 1.0
"""Seconds that a page waits for figures, so that small tasks show them at once."""
MOST = 500
"""Figures kept at a time; the ones not looked at for longest go first."""

Lane = Literal["slow", "quick", "design"]
Key = tuple[str, ...]


@dataclass(frozen=True)
class Known:
    """Figures, or why there are none.

    Attributes:
        value: what was computed; None where it was refused.
        refusal: the reason, in words.
        stamp: what they rest on.
        fresh: whether nothing has changed since.
    """

    value: Any
    refusal: str | None
    stamp: Hashable
    fresh: bool = True


class Figures:
    """What was computed lately, in memory, by a name and the stamp of what it rests on."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._turns: dict[Lane, Lock] = {"slow": Lock(), "quick": Lock(), "design": Lock()}
        self._known: OrderedDict[Key, Known] = OrderedDict()
        self._running: dict[Key, Event] = {}

    def look(
        self, key: Key, stamp: Hashable, compute: Callable[[], Any], lane: Lane = "slow", *, patience: float
    ) -> Known | None:
        """The figures of this name; None while they are computed for the first time.

        Those of another stamp are shown as not `fresh`, and computed anew meanwhile; `patience` is in seconds.
        """
        with self._lock:
            found = self._find(key, stamp)
            if found is not None and found.fresh:
                return found
            under_way = self._running.get(key) or self._start(key, stamp, compute, lane)
        under_way.wait(patience)
        with self._lock:
            found = self._find(key, stamp)
            if found is not None and not found.fresh and key not in self._running:
                self._start(key, stamp, compute, lane)  # what was under way rested on an older stamp
            return found

    def stamp(self, key: Key) -> Hashable | None:
        """What the figures that are known rest on; None where there are none. Starts nothing."""
        with self._lock:
            found = self._known.get(key)
        return None if found is None else found.stamp

    def _find(self, key: Key, stamp: Hashable) -> Known | None:
        found = self._known.get(key)
        if found is None:
            return None
        self._known.move_to_end(key)
        return Known(found.value, found.refusal, found.stamp, found.stamp == stamp)

    def _start(self, key: Key, stamp: Hashable, compute: Callable[[], Any], lane: Lane) -> Event:
        done = self._running[key] = Event()
        # a daemon, so that whoever stops the server does not wait for a bootstrap
        Thread(target=self._run, args=(key, stamp, compute, lane, done), daemon=True, name=f"figures {key}").start()
        return done

    def _run(self, key: Key, stamp: Hashable, compute: Callable[[], Any], lane: Lane, done: Event) -> None:
        try:
            with self._turns[lane]:
                try:
                    found = Known(compute(), None, stamp)
                except KilterError as refusal:
                    found = Known(None, str(refusal), stamp)
        except Exception:  # a fault of ours: nobody waits for this thread, so the log tells; the next look tries again
            LOG.exception("The figures %s could not be computed.", " ".join(key))
        else:
            with self._lock:
                self._known[key] = found
                while len(self._known) > MOST:
                    self._known.popitem(last=False)
        finally:
            with self._lock:
                del self._running[key]
            done.set()
