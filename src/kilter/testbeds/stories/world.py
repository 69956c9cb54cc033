"""A small world: people, the plots they are in, and what happened, in order, with its causes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any

from kilter.testbeds.stories.lexicon import Lexicon, Schema

# How much each step of a plot matters; every level of the tree below the root halves it.
IMPORTANCE = {
    "solve": 1.0,
    "start": 0.95,
    "cause": 0.9,
    "help": 0.8,
    "setback": 0.75,
    "reason": 0.6,
    "try": 0.45,
    "end": 0.4,
    "ask": 0.35,
    "detail": 0.1,
}
MAJOR = 0.5


@dataclass(frozen=True)
class Person:
    """Somebody with a name, a trade and a trait."""

    first: str
    last: str
    woman: bool
    trade: str
    trait: str

    @property
    def name(self) -> str:
        """First and last name."""
        return f"{self.first} {self.last}"


Value = Person | str


@dataclass(frozen=True, eq=False)
class Event:
    """Something that happened, or, with `turn` below zero, that did not.

    Attributes:
        id: plot, step and variant, such as "3.setback.7".
        plot: number of its plot; 0 is the main one.
        step: one of `IMPORTANCE`.
        tell, say: templates of the story and of a clause in a summary.
        values: what fills the templates, by name.
        day: when it happened.
        cause: id of the event that it followed from, if any.
        importance: from 0 to 1.
        turn: its place in the order of events.
        seed: decides the wording.
    """

    id: str
    plot: int
    step: str
    tell: str
    say: str
    values: Mapping[str, Value]
    day: date
    cause: str | None
    importance: float
    turn: int
    seed: int


@dataclass(frozen=True, eq=False)
class Plot:
    """A schema with people, places and things; `parent` asked its hero for help."""

    number: int
    schema: Schema
    depth: int
    parent: int | None
    values: Mapping[str, Value]

    @property
    def hero(self) -> Person:
        """Whose trouble it is."""
        hero = self.values["hero"]
        assert isinstance(hero, Person)
        return hero


@dataclass(frozen=True, eq=False)
class World:
    """Plots and events in the order in which they happened; `reasons` are events before the story began.

    A `lean` world is told without opening and closing words.
    """

    words: Lexicon
    town: str
    plots: tuple[Plot, ...]
    events: tuple[Event, ...]
    reasons: Mapping[str, Event]
    lean: bool

    def of(self, plot: int, *steps: str) -> list[Event]:
        """Events of one plot with one of these steps, in order."""
        return [event for event in self.events if event.plot == plot and event.step in steps]

    def find(self, id: str) -> Event:
        """The event with this id, reasons included."""
        return next(event for event in (*self.events, *self.reasons.values()) if event.id == id)

    def chief(self) -> Event:
        """The event on which everything turns: how the main trouble ended."""
        return self.of(0, "solve")[0]

    def facts(self) -> dict[str, dict[str, Any]]:
        """Every event by its id as plain data: what a checker needs to decide whether a claim is true."""
        return {event.id: _fact(event) for event in (*self.events, *self.reasons.values())}


def _fact(event: Event) -> dict[str, Any]:
    return {
        "plot": event.plot,
        "step": event.step,
        "day": event.day.isoformat(),
        "turn": event.turn,
        "cause": event.cause,
        "importance": event.importance,
        "values": {name: value.name if isinstance(value, Person) else value for name, value in event.values.items()},
        "trades": {name: value.trade for name, value in event.values.items() if isinstance(value, Person)},
    }
