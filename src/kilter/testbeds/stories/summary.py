"""Summaries as lists of units, one sentence each, that know what they claim about the world."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kilter.testbeds.stories.fill import Mark, Memory, fill, numbered
from kilter.testbeds.stories.tell import date_in_words, people
from kilter.testbeds.stories.world import Event, Value, World

_AROUND = 4  # words that a unit adds to its clause
_MINOR = ("detail", "try", "end")


@dataclass(frozen=True)
class Unit:
    """One sentence of a summary.

    Attributes:
        kind: which of the wordings `unit` it takes. "plain" and "chief" say the same clause, the latter as what matters
            most; "cause", "why" and "once" give a reason, "order" says which of two events came first.
        events: what it is about, in the order in which it names them.
        lead: which wording.
        swaps: values that take the place of the true ones, by mark ("hero@0").
    """

    kind: str
    events: tuple[Event, ...]
    lead: int
    swaps: tuple[tuple[str, Value], ...] = ()


@dataclass(frozen=True)
class Written:
    """A unit in the text of a summary, [start, end), with its marks and its claims."""

    unit: Unit
    start: int
    end: int
    marks: tuple[Mark, ...]
    claims: tuple[tuple[Any, ...], ...]


def main_points(world: World) -> list[str]:
    """Ids of the events that no summary of this world may leave out."""
    return [event.id for event in world.of(0, "start", "setback", "help", "solve")]


def compose(world: World, words: int, rng: random.Random) -> list[Unit] | None:
    """A correct summary of about so many words; None where the world is too poor for one.

    It says the main points, one trifle, and one pair of events in their order; then, while there is room, what comes
    next in importance.
    """
    middle = world.of(0, "try", "help", "setback", "detail", "end")
    details = [event for event in middle if event.step == "detail"]
    trifle = rng.choice(details)
    pairs = [
        (first, second)
        for i, first in enumerate(middle)
        for second in middle[i + 1 :]
        if trifle not in (first, second) and second.step != "end" and {first.step, second.step} != {"try", "help"}
    ]
    if not pairs:
        return None
    order = rng.choice([pair for pair in pairs if {"setback", "help"} >= {one.step for one in pair}] or pairs)
    ends = [event.id for event in middle if event.step == "end" and rng.random() < 0.5]
    must = set(main_points(world)) - {event.id for event in order} | {trifle.id, world.of(0, "cause")[0].id, *ends}
    chosen = [event for event in world.events if event.id in must]
    size = sum(_size(event) for event in (*chosen, *order))
    more = [event for event in world.events if event not in (*chosen, *order) and event.step in _TOLD]
    for event in sorted(more, key=lambda event: (-event.importance, event.turn)):
        if event.step != "detail" and size + _size(event) / 2 < words:
            chosen.append(event)
            size += _size(event)
    units = [unit_of(world, event, rng) for event in chosen] + [Unit("order", order, rng.randrange(60))]
    return sorted(units, key=lambda unit: unit.events[0].turn)


_TOLD = ("start", "cause", "try", "setback", "help", "solve", "end")


def _size(event: Event) -> int:
    return len(event.say.split()) + _AROUND + (8 if event.step == "help" else 0)


def unit_of(world: World, event: Event, rng: random.Random) -> Unit:
    """The sentence that says one event of a world in its proper way."""
    kinds = {"cause": "cause", "solve": "chief", "end": "end"} if event.plot == 0 else {"cause": "cause"}
    lead = rng.randrange(60)  # a multiple of the number of wordings
    if event.step == "help":
        assert event.cause is not None
        reason = world.find(event.cause)
        return Unit("why" if reason.step == "reason" else "once", (event, reason), lead)
    if event.step == "start":
        return Unit("start" if event.plot == 0 else "dated", (event,), lead)
    plain = "dated" if event.step in ("setback", "solve") and rng.random() < 0.5 else "plain"
    return Unit(kinds.get(event.step, plain), (event,), lead)


def minor_left(world: World, units: Sequence[Unit]) -> list[Event]:
    """Events of little importance that the units do not mention."""
    said = {event.id for unit in units for event in unit.events}
    return [event for event in world.events if event.step in _MINOR and event.id not in said]


def write(world: World, units: Sequence[Unit]) -> tuple[str, list[Written]]:
    """The text of a summary, and where each unit stands in it with what it claims."""
    names = Counter(person.first for person in people(world))
    memory = Memory("summary", frozenset(name for name, count in names.items() if count > 1))
    text, written = "", []
    for unit in units:
        said, marks = _render(world, unit, memory)
        start = len(text) + (1 if text else 0)
        text = f"{text} {said}" if text else said
        moved = tuple(Mark(start + mark.start, start + mark.end, mark.name) for mark in marks)
        written.append(Written(unit, start, len(text), moved, tuple(_claims(unit, text, moved))))
    return text, written


def clause(event: Event) -> str:
    """An event in the words of a summary, with full names, as part of a sentence."""
    said, _ = fill(f"\x00{event.say}", [event.values], Memory("note"))
    return said[1:]  # the mark in front keeps its first letter small


def _render(world: World, unit: Unit, memory: Memory) -> tuple[str, list[Mark]]:
    leads: list[str] = world.words.wordings["unit"][unit.kind]
    says = [event.say for event in unit.events]
    if unit.kind == "once":
        says[1] = "{settled}"
    template = leads[unit.lead % len(leads)]
    for number, (letter, say) in enumerate(zip("ab", says, strict=False)):
        template = template.replace(f"{{{letter}}}", numbered(say, number))
    values: list[dict[str, Value]] = [{**event.values, "date": date_in_words(event.day)} for event in unit.events]
    for mark, value in unit.swaps:
        name, _, which = mark.partition("@")
        values[int(which[0])][name] = value
    return fill(template, values, memory)


def _claims(unit: Unit, text: str, marks: Sequence[Mark]) -> list[tuple[Any, ...]]:
    """What a unit says, in a form that can be held against the facts of the world.

    ("event", id), ("value", id, role, text), ("trade", id, role, text), ("date", id, text), ("cause", effect, cause),
    ("before", first, second), ("chief", id).
    """
    events = unit.events
    claims: list[tuple[Any, ...]] = [("event", event.id) for event in events]
    for mark in marks:
        name, _, rest = mark.name.partition("@")
        event, said = events[int(rest[0])], text[mark.start : mark.end]
        if name == "date":
            claims.append(("date", event.id, said))
        elif rest.endswith(".trade"):
            claims.append(("trade", event.id, name, said))
        elif name not in ("clause", "effect", "settled"):
            swapped = dict(unit.swaps).get(mark.name, event.values[name])
            claims.append(("value", event.id, name, swapped if isinstance(swapped, str) else swapped.name))
    if unit.kind == "cause":
        claims.append(("cause", f"{events[0].plot}.start.0", events[0].id))
    elif unit.kind in ("why", "once"):
        claims.append(("cause", events[0].id, events[1].id))
    elif unit.kind == "order":
        claims.append(("before", events[0].id, events[1].id))
    elif unit.kind == "chief":
        claims.append(("chief", events[0].id))
    return claims
