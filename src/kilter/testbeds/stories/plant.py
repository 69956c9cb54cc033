"""Planting flaws: each turns a true claim of a summary into one that the world's facts refute.

The flaws leave no trace that could be seen without the story: what is put in is drawn from what other stories truly
say, and what is taken out is replaced by something true and unimportant.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace

from kilter.testbeds.case import Flaw, Severity
from kilter.testbeds.stories.fill import Memory, fill
from kilter.testbeds.stories.grow import variant, variants
from kilter.testbeds.stories.summary import Unit, Written, clause, main_points, minor_left, unit_of, write
from kilter.testbeds.stories.tell import Telling, date_in_words, people, stated
from kilter.testbeds.stories.world import MAJOR, Event, Person, Value, World

# Share of invented facts that are setbacks in the place of trifles: about as many as main points, mostly setbacks, give
# way to trifles, so that the number of either says nothing about the flaw. Counted for stories of 200 words.
_SETBACKS = {"train": 0.45, "test": 0.62}


@dataclass
class Slot:
    """A place in a summary that is being spoiled, with the flaw it has got; `focus` is the mark that is wrong."""

    unit: Unit
    flaw: Flaw | None = None
    focus: str = ""


@dataclass
class Draft:
    """A summary on its way from correct to flawed."""

    world: World
    telling: Telling
    slots: list[Slot]
    difficulty: float
    rng: random.Random
    missing: set[str] = field(default_factory=set)

    @property
    def units(self) -> list[Unit]:
        """The units as they are now."""
        return [slot.unit for slot in self.slots]

    def clean(self, *kinds: str) -> list[Slot]:
        """Slots without a flaw, of these kinds, in random order."""
        found = [slot for slot in self.slots if slot.flaw is None and (not kinds or slot.unit.kind in kinds)]
        return self.rng.sample(found, len(found))

    def note(self, type: str, **words: str) -> str:
        """A reference critique in one of the wordings of its type."""
        template = self.rng.choice(self.world.words.wordings["note"][type])
        return fill(template, [dict(words)], Memory("note"))[0]

    def near(self, ranked: list[Value]) -> Value:
        """One of the values, ranked from near to far: a near one where the case is to be difficult."""
        start = round((1 - self.difficulty) * (len(ranked) - 1) * 0.7)
        return self.rng.choice(ranked[start : start + max(2, len(ranked) // 3)])


def begin(world: World, telling: Telling, units: list[Unit], difficulty: float, rng: random.Random) -> Draft:
    """A draft without flaws."""
    return Draft(world, telling, [Slot(unit) for unit in units], difficulty, rng)


def placed(slot: Slot, written: Written) -> Flaw | None:
    """The flaw of a slot at the characters where its words came to stand."""
    if slot.flaw is None:
        return None
    start, end = written.start, written.end
    marks = list(written.marks)
    for mark, after in zip(marks, [*marks[1:], None], strict=True):
        if mark.name == slot.focus:
            trade = after is not None and after.name == f"{mark.name}.trade"
            start, end = mark.start, after.end if after is not None and trade else mark.end
            break
    return replace(slot.flaw, start=start, end=end)


def _flaw(type: str, severity: Severity, note: str, evidence: Iterable[tuple[int, int]]) -> Flaw:
    return Flaw(0, 1, type, severity, note, tuple(sorted(set(evidence))))


def _severity(*events: Event) -> Severity:
    return "major" if all(event.importance >= MAJOR for event in events) else "minor"


# wrong_fact


def wrong_fact(draft: Draft) -> bool:
    """Put another person, place, time or thing of the same kind in the place of the right one."""
    text, written = write(draft.world, draft.units)
    by_unit = {id(one.unit): one for one in written}
    for slot in draft.clean("start", "plain", "dated", "end", "why", "once", "order", "chief"):
        one = by_unit[id(slot.unit)]
        marks = [mark for mark in one.marks if not mark.name.startswith(("clause", "effect", "settled"))]
        for mark in draft.rng.sample(marks, len(marks)):
            event = slot.unit.events[int(mark.name.partition("@")[2][0])]
            elsewhere = text[: one.start] + text[one.end :]
            found = _replacement(draft, slot.unit, event, mark.name, text[mark.start : mark.end], elsewhere)
            if found is None:
                continue
            swap, false, true, minor = found
            name = mark.name.removesuffix(".trade")
            slot.unit = replace(slot.unit, swaps=((name, swap),))
            note = draft.note("value", false=false, true=true, clause=clause(event))
            dated = (draft.telling.dated[event.id],) if name.startswith("date") else ()
            evidence = stated(draft.telling, (event.id, *dated), true)
            slot.flaw = _flaw("wrong_fact", "minor" if minor else _severity(event), note, evidence)
            slot.focus = mark.name
            return True
    return False


def _replacement(
    draft: Draft, unit: Unit, event: Event, mark: str, said: str, elsewhere: str
) -> tuple[Value, str, str, bool] | None:
    """What to swap in, how the false and the true value are called, and whether it is a minor matter."""
    name, world, story = mark.partition("@")[0], draft.world, draft.telling.text
    if name == "date":
        true = date_in_words(event.day)
        days = sorted({one.day for one in world.events} - {event.day}, key=lambda day: abs(day - event.day))
        dates: list[Value] = [date_in_words(day) for day in days if date_in_words(day) in story]
        picked = draft.near(dates) if dates else None
        return (picked, str(picked), true, False) if picked else None
    value = event.values[name]
    if isinstance(value, Person):
        return _other_person(draft, unit, event, mark, value)
    same = _alike(draft, event, name, value)
    if not same or value in elsewhere or story.find(value) < 0:
        return None  # a value that other units repeat would betray the change
    picked = draft.near(same)
    return picked, str(picked), value, name in ("street", "days", "pet", "hue")


def _other_person(
    draft: Draft, unit: Unit, event: Event, mark: str, value: Person
) -> tuple[Value, str, str, bool] | None:
    everybody = [one for one in people(draft.world) if one.name in draft.telling.text]
    if mark.endswith(".trade"):
        trades = [one.trade for one in everybody if one.trade != value.trade]
        trade = draft.rng.choice(trades) if trades else None
        return (replace(value, trade=trade), trade, value.trade, True) if trade else None
    involved = {one.name for each in unit.events for one in each.values.values() if isinstance(one, Person)}
    if not any(value.name in draft.telling.text[s:e] or value.first in draft.telling.text[s:e]
               for s, e in draft.telling.passages(event.id)):  # fmt: skip
        return None
    ranked: list[Value] = [*_by_plot(draft.world, event.plot, [one for one in everybody if one.name not in involved])]
    said = _said_in(unit)
    unsaid: list[Value] = [
        one for one in everybody if one.name in involved and one.name != value.name and one.name not in said
    ]
    ranked = unsaid + ranked
    if not ranked:
        return None
    person = draft.near(ranked)
    assert isinstance(person, Person)
    return person, person.name, value.name, False


def _said_in(unit: Unit) -> set[str]:
    """Names of the people whom the templates of a unit mention."""
    return {
        value.name
        for event in unit.events
        for role, value in event.values.items()
        if isinstance(value, Person) and f"{{{role}" in event.say
    }


def _by_plot(world: World, plot: int, some: list[Person]) -> list[Person]:
    first: dict[str, int] = {}
    for event in world.events:
        for value in event.values.values():
            if isinstance(value, Person):
                first[value.name] = min(first.get(value.name, 10**6), abs(event.plot - plot))
    return sorted(some, key=lambda person: first[person.name])


def _alike(draft: Draft, event: Event, name: str, value: str) -> list[Value]:
    """Other values of the same kind; places from elsewhere in the story, things from what this plot might be about."""
    world, story = draft.world, draft.telling.text
    plot = world.plots[event.plot]
    if name in ("site", "street", "away"):
        kinds = ("site", "street") if name == "site" else (name, "town") if name == "away" else (name,)
        places = {str(one.values[kind]) for one in world.events for kind in kinds if kind in one.values}
        own = {str(one) for one in event.values.values()}
        return [place for place in sorted(places - own - {value}) if place in story]
    if name == "town":
        return []
    options = {**world.words.wordings["slots"], **plot.schema.slots, "loan": plot.schema.loans}.get(name, ())
    return [option for option in options if option != value]


# wrong_cause


def wrong_cause(draft: Draft) -> bool:
    """Give a reason that was not the reason."""
    for slot in draft.clean("cause", "why", "once"):
        unit = slot.unit
        effect, true = unit.events[0], unit.events[-1]
        wrong = _other_reason(draft, unit, true)
        if wrong is None:
            continue
        said = str(true.values["effect"]) if unit.kind == "cause" else clause(effect)
        reasons = [str(one.values["settled"]) if unit.kind == "once" else clause(one) for one in (wrong, true)]
        note = draft.note("wrong_cause", effect=said, false=reasons[0], true=reasons[1])
        told = true.id if unit.kind == "cause" else effect.id
        slot.unit = replace(unit, events=(*unit.events[:-1], wrong))
        slot.flaw = _flaw("wrong_cause", _severity(effect), note, draft.telling.passages(told))
        slot.focus = "clause@0" if unit.kind == "cause" else "clause@1"
        return True
    return False


def _other_reason(draft: Draft, unit: Unit, true: Event) -> Event | None:
    world = draft.world
    if unit.kind == "once":
        said = {str(one.values["settled"]) for each in draft.units if each.kind == "once" for one in each.events[1:]}
        solved = [event for event in world.events if event.step == "solve" and event.plot not in (0, true.plot)]
        others = [event for event in solved if str(event.values["settled"]) not in said]
        return draft.rng.choice(others) if others else None
    plot, own = world.plots[true.plot], int(true.id.split(".")[2])
    numbers = [number for number in range(variants(world, plot, true.step)) if number != own]
    return variant(world, plot, true.step, draft.rng.choice(numbers), true)


# wrong_order


def wrong_order(draft: Draft) -> bool:
    """Say of two events that the later one came first."""
    for slot in draft.clean("order"):
        first, second = slot.unit.events
        note = draft.note("wrong_order", first=clause(first), second=clause(second))
        slot.unit = replace(slot.unit, events=(second, first))
        slot.flaw = _flaw("wrong_order", _severity(first, second), note, draft.telling.passages(first.id, second.id))
        return True
    return False


# invented_fact


def invented_fact(draft: Draft) -> bool:
    """Replace a trifle that happened by something that did not."""
    world, rng = draft.world, draft.rng
    for slot in draft.clean("plain"):
        true = slot.unit.events[0]
        if true.step not in ("detail", "try"):
            continue
        step = "setback" if true.step == "detail" and rng.random() < _SETBACKS[world.words.split] else true.step
        plot = world.plots[true.plot]
        happened = {
            event.id.split(".")[2] for event in world.events if event.step == step and event.plot == plot.number
        }
        anywhere = {event.id.split(".")[2] for event in world.events if event.step == step} if step != "try" else set()
        free = [number for number in range(variants(world, plot, step)) if str(number) not in happened]
        if not free:
            continue
        new = [number for number in free if str(number) not in anywhere]
        made_up = variant(world, plot, step, rng.choice(new or free), true)
        slot.unit = replace(slot.unit, events=(made_up,))
        note = draft.note("invented_fact", false=clause(made_up))
        slot.flaw = _flaw("invented_fact", _severity(made_up), note, ())
        return True
    return False


# missing_point


def missing_point(draft: Draft) -> bool:
    """Leave out a main event, and say something true and unimportant instead."""
    world, rng = draft.world, draft.rng
    helps = len(world.of(0, "help")) > 1  # that a helper is missing could be seen where every story has one
    able = {id for id in main_points(world) if id.split(".")[1] == "setback" or (helps and ".help" in id)}
    spare = minor_left(world, draft.units)
    for slot in draft.clean("plain", "dated", "why", "once", "order"):
        at = draft.slots.index(slot)
        gone = [event for event in slot.unit.events if event.id in able]
        if not gone or at == 0 or draft.slots[at - 1].flaw or not spare:
            continue
        event, instead = rng.choice(gone), rng.choice(spare)
        if slot.unit.kind == "order":
            kept = next(one for one in slot.unit.events if one is not event)
            spare_here = [one for one in spare if one.step != "end"]
            if not spare_here:
                continue
            pair = sorted((kept, rng.choice(spare_here)), key=lambda one: one.turn)
            slot.unit = replace(slot.unit, events=tuple(pair))
        else:
            draft.slots.remove(slot)
            later = [i for i, one in enumerate(draft.slots) if one.unit.events[0].turn > instead.turn and i >= at]
            draft.slots.insert(later[0] if later else len(draft.slots), Slot(unit_of(world, instead, rng)))
        before = draft.slots[at - 1]
        note = draft.note("missing_point", true=clause(event))
        before.flaw = _flaw("missing_point", "major", note, draft.telling.passages(event.id))
        draft.missing.add(event.id)
        return True
    return False


# misleading_emphasis


def misleading_emphasis(draft: Draft) -> bool:
    """Present a trifle as what matters most, and what matters most as one thing among others."""
    chiefs = draft.clean("chief")
    trifles = [slot for slot in draft.clean("plain") if slot.unit.events[0].step == "detail"]
    if not chiefs or not trifles:
        return False
    chief, trifle = chiefs[0], trifles[0]
    main, small = chief.unit.events[0], trifle.unit.events[0]
    note = draft.note("misleading_emphasis", false=clause(small), true=clause(main))
    trifle.unit, chief.unit = replace(chief.unit, events=(small,)), replace(trifle.unit, events=(main,))
    trifle.flaw = _flaw("misleading_emphasis", "major", note, draft.telling.passages(small.id, main.id))
    return True


PLANTERS: dict[str, Callable[[Draft], bool]] = {
    "wrong_fact": wrong_fact,
    "invented_fact": invented_fact,
    "wrong_cause": wrong_cause,
    "wrong_order": wrong_order,
    "missing_point": missing_point,
    "misleading_emphasis": misleading_emphasis,
}
