"""Pages without a server, for tests of steps: as they open, raters made of functions judge all there is."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from typing import Any

from kilter.feedback.work import Assignment, Desk, Rater, Submission
from kilter.record import Record

STARTED = "2026-11-23T10:00:00Z"
Say = Callable[[Assignment], Any]
"""What a rater says of what is in hand: an answer, as the screen shows it."""


def judged_by(raters: Mapping[str, Say], most: int = 1000) -> Callable[[Record, str], AbstractContextManager[None]]:
    """Pages on which each of these raters judges everything that they are handed, or so many."""

    @contextmanager
    def pages(record: Record, name: str) -> Iterator[None]:
        desk = Desk(record)
        task = desk.task(name)
        for who, say in raters.items():
            rater = Rater(f"{who:0>32}", f"people/{who}")
            done = 0
            while held := desk.next(task, rater, 1 if done < most else 0):
                answers = {task.questions[0].name: say(held[0])}
                desk.submit(task, rater, held[0].id, Submission(f"key-{held[0].id}", answers, STARTED, {}))
                done += 1
        yield

    return pages


def shown(one: Assignment) -> list[str]:
    """The responses in the order of the screen."""
    return [one.content.responses[number] for number in one.sides]


def longest(one: Assignment) -> int:
    """A rater of two who likes words."""
    return max(range(2), key=lambda place: len(shown(one)[place]))


def left(one: Assignment) -> int:
    """A rater of two who does not look."""
    return 0


def by_length(one: Assignment) -> list[Any]:
    """A rater of several who likes words; equal lengths share a rank."""
    lengths = [len(text) for text in shown(one)]
    order = sorted(set(lengths), reverse=True)
    return [[place for place, own in enumerate(lengths) if own == length] for length in order]
