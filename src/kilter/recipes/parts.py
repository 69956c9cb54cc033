"""Independent work in parts, on this process or on a Ray cluster: the same results in the same order.

    with open_workers("ray") as workers:
        for result in fan_out(job, parts, workers):
            ...

A job is a function at the top of a module; it gets a part's data and nothing else, so its result depends on the part
alone and not on who does it, when, or how often it was tried.
"""

from __future__ import annotations

import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Protocol

from kilter.errors import KilterError, SettingsError

HERE = "here"

Job = Callable[[Any], Any]
"""A function at the top of a module, from a part's data to a result; both plain: what JSON can hold."""

Tell = Callable[[str], None]
"""Called with a line for people, such as that a part is tried again."""


def say_nothing(line: str) -> None:
    """Who has nobody to tell."""


def say_aloud(line: str) -> None:
    """Who has nobody but the person who started the program."""
    print(line, file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Part:
    """One part of the work: a name that people understand, and the job's argument as plain data."""

    name: str
    data: Any


@dataclass(frozen=True)
class Done:
    """What became of the part submitted under `number`: a result, or the error that ended it."""

    number: int
    result: Any = None
    error: Exception | None = None


@dataclass(frozen=True)
class Retry:
    """A part whose worker was lost, why, and which of its attempts that was (from 1)."""

    part: str
    attempt: int
    reason: str


class Workers(Protocol):
    """Where parts are done."""

    slots: int
    """Parts that are done at the same time."""

    def submit(self, number: int, job: Job, part: Part) -> None:
        """Have a part done; `number` names it until `next` has given what became of it."""

    def next(self) -> Done:
        """Wait for any of the submitted parts; each is given once."""

    def cancel(self) -> None:
        """Give up whatever was submitted and is not done."""

    def take_retries(self) -> list[Retry]:
        """The retries since this was last asked."""


class Here:
    """This process, one part after another."""

    slots = 1

    def __init__(self) -> None:
        self._waiting: deque[tuple[int, Job, Part]] = deque()

    def submit(self, number: int, job: Job, part: Part) -> None:
        """Note a part; `next` does it."""
        self._waiting.append((number, job, part))

    def next(self) -> Done:
        """Do the part that has waited longest."""
        number, job, part = self._waiting.popleft()
        try:
            return Done(number, job(part.data))
        except Exception as error:
            return Done(number, error=of_part(error, part))

    def cancel(self) -> None:
        """Forget the parts that have not begun."""
        self._waiting.clear()

    def take_retries(self) -> list[Retry]:
        """There are none: whatever kills a part here kills everything."""
        return []


def fan_out(job: Job, parts: Sequence[Part], workers: Workers) -> Iterator[Any]:
    """Do every part and give the results in the order of the parts, each once, whichever is done first.

    Leaving early, by an exception or Ctrl-C, cancels what is outstanding.

    Raises:
        Exception: of a job, with the part named in its message (or in a note, where it is not Kilter's). It is not
            tried again: the same part would fail in the same way.
        WorkerError: a part's workers were lost too often.
    """
    for number, part in enumerate(parts):
        workers.submit(number, job, part)
    early: dict[int, Any] = {}
    try:
        for number in range(len(parts)):
            while number not in early:
                done = workers.next()
                if done.error is not None:
                    raise done.error
                early[done.number] = done.result
            yield early.pop(number)
    finally:
        workers.cancel()


def of_part(error: Exception, part: Part) -> Exception:
    """The error, saying which part it is of."""
    if isinstance(error, KilterError):
        named = type(error)(f"{part.name}: {error}")
        named.__cause__ = error
        return named
    error.add_note(f"It happened in: {part.name}.")
    return error


@contextmanager
def open_workers(on: str = HERE, tell: Tell = say_nothing) -> Iterator[Workers]:
    """The workers that the one setting `on` names; connections made for them are closed at the end.

    Args:
        on: "here": this process. "ray": the Ray cluster that this machine belongs to (or RAY_ADDRESS names); if there
            is none, the cores of this machine, through Ray. "HOST:PORT" or "ray://HOST:PORT": that cluster.
        tell: told of every retry.

    Raises:
        SettingsError: `on` is none of these.
        WorkerError: Ray is not installed, the cluster cannot be reached, or its versions differ.
    """
    if on == HERE:
        yield Here()
        return
    host, _, port = on.removeprefix("ray://").rpartition(":")
    if on != "ray" and not (host and port.isdigit()):
        raise SettingsError(
            f"Work cannot be done on '{on}'. Write 'here' for this process, 'ray' for the Ray cluster that this "
            "machine belongs to, or the address of one: HOST:PORT, or ray://HOST:PORT through Ray's client."
        )
    from kilter.recipes.on_ray import open_ray

    with open_ray(on, tell) as workers:
        yield workers


def cut(count: int, parts: int) -> list[range]:
    """`range(count)` in at most `parts` consecutive pieces of like size, none empty."""
    parts = max(1, min(parts, count))
    edges = [count * number // parts for number in range(parts + 1)]
    return [range(first, last) for first, last in pairwise(edges) if first < last]
