"""Growing a world: a tree of plots, where one hero needs something from the next, who has troubles too."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import date, timedelta

from kilter.testbeds.stories.fill import Memory, fill
from kilter.testbeds.stories.lexicon import Lexicon, Schema
from kilter.testbeds.stories.world import IMPORTANCE, Event, Person, Plot, Value, World

_FIRST_DAY = date(1923, 1, 8)  # weekdays are real, the year is never said
_YEAR = 355  # days in which everything happens, so that a date names one day only
_SPAN = 160  # of these, days that pass between events of a long story, setbacks aside
_SMALL = 8  # plots of a story that may take its time
_NEAR = 30  # people within which no first name is used twice
_BRANCHES = 4
_DAYS = ["one", "two", "three", "four", "five", "six", "seven", "eight", "nine", "ten"]


def grow(words: Lexicon, plots: int, rng: random.Random, lean: bool = False) -> World:
    """A world with so many plots. Its first plot is the root of the tree; `lean` spares it a trifle or two."""
    grower = _Grower(words, plots, rng, lean)
    grower.plot(plots, None, None)
    return World(words, grower.town, tuple(grower.plots), tuple(grower.events), grower.reasons, lean)


def variant(world: World, plot: Plot, step: str, number: int, beside: Event) -> Event:
    """An event that might have happened in `plot`, at the time of `beside`; its turn is -1."""
    templates = _variants(world.words, plot.schema, step)[number]
    wordings = world.words.wordings["slots"]
    rng = random.Random(beside.seed)
    values = {**plot.values, **{slot: rng.choice(wordings[slot]) for slot in wordings}, **_roles(beside)}
    name = f"{plot.number}.{step}.{number}"
    return _event(name, plot, step, templates, values, beside.day, None, -1, beside.seed + 1)


def variants(world: World, plot: Plot, step: str) -> int:
    """How many events of this step a plot could have."""
    return len(_variants(world.words, plot.schema, step))


def _roles(event: Event) -> dict[str, Value]:
    return {name: event.values[name] for name in ("helper", "street") if name in event.values}


def _variants(words: Lexicon, schema: Schema, step: str) -> Sequence[tuple[str, str]]:
    if step in schema.steps:
        return schema.steps[step]
    if step == "reason":
        return [(clause, clause) for clause in words.wordings["reason"]]
    return [(tell, say) for tell, say in words.wordings[step]]


def _event(
    id: str,
    plot: Plot,
    step: str,
    templates: tuple[str, str],
    values: Mapping[str, Value],
    day: date,
    cause: str | None,
    turn: int,
    seed: int,
) -> Event:
    importance = IMPORTANCE[step] * 0.5**plot.depth
    return Event(id, plot.number, step, *templates, values, day, cause, importance, turn, seed)


@dataclass
class _Bag:
    """Draws everything once before anything twice."""

    rng: random.Random
    left: dict[str, list[int]] = field(default_factory=dict)

    def draw(self, name: str, count: int) -> int:
        """A number below `count`."""
        if not self.left.get(name):
            self.left[name] = self.rng.sample(range(count), count)
        return self.left[name].pop()


class _Grower:
    """What is known so far while a world grows."""

    def __init__(self, words: Lexicon, size: int, rng: random.Random, lean: bool) -> None:
        self.words, self.size, self.rng, self.lean = words, size, rng, lean
        self.bag = _Bag(rng)
        self.plots: list[Plot] = []
        self.events: list[Event] = []
        self.reasons: dict[str, Event] = {}
        self.people: list[Person] = []
        self.places: set[str] = set()
        self.town = rng.choice(words.names["towns"])
        self.day = _FIRST_DAY + timedelta(days=rng.randrange(300))
        self.first = self.day
        self.pause = min(0.6, _SPAN / (size * 12))

    def plot(self, size: int, parent: Plot | None, hero: Person | None, schema: Schema | None = None) -> Event:
        """Grow a plot with `size` plots in its subtree and return its solution."""
        schema = schema or self.schema()
        plot = self._cast(schema, parent, hero)
        self.plots.append(plot)
        start = self._happen(plot, "start", 0, None)
        cause = self._step(plot, "cause", start.id)
        self.events[start.turn] = replace(start, cause=cause.id)
        last = cause
        for step in self._middle(plot, size):
            last = self._helped(plot, step) if isinstance(step, int) else self._step(plot, step, start.id)
        helps = [event for event in self.events if event.plot == plot.number and event.step == "help"]
        solve = self._step(plot, "solve", (helps[-1] if helps else last).id)
        if self.rng.random() < (0.6 if self.lean else 0.9):
            self._step(plot, "end", solve.id)
        return solve

    def schema(self) -> Schema:
        """The next schema; none comes twice before all have come."""
        return self.words.schemas[self.bag.draw("schema", len(self.words.schemas))]

    def _cast(self, schema: Schema, parent: Plot | None, hero: Person | None) -> Plot:
        number, rng = len(self.plots), self.rng
        away = rng.choice([town for town in self.words.names["towns"] if town != self.town])
        values: dict[str, Value] = {
            "hero": hero or self.person(rng.choice(schema.hero)),
            "other": self.person(rng.choice(schema.other)),
            "site": f"the {self._place((schema.site,))}",
            "street": self._place(self.words.names["streets"]),
            "away": away,
            "town": self.town,
            **{slot: rng.choice(options) for slot, options in schema.slots.items()},
        }
        for phrase in ("trouble", "settled", "effect"):
            values[phrase] = fill(getattr(schema, phrase), [values], Memory("note"))[0]
            values[phrase] = _lower(str(values[phrase]))
        depth = parent.depth + 1 if parent else 0
        return Plot(number, schema, depth, parent.number if parent else None, values)

    def person(self, trade: str) -> Person:
        """Somebody new, with a first name that nobody of late has had."""
        names, rng = self.words.names, self.rng
        woman = trade in self.words.women_only or (trade not in self.words.men_only and rng.random() < 0.5)
        near = [*self.people[:1], *self.people[-_NEAR:]]  # the main hero's first name stays the hero's
        taken = {one.first for one in near} | {one.name for one in self.people}
        while True:
            first, last = rng.choice(names["women" if woman else "men"]), rng.choice(names["surnames"])
            if first not in taken and f"{first} {last}" not in taken:
                self.people.append(Person(first, last, woman, trade, rng.choice(names["traits"])))
                return self.people[-1]

    def _place(self, kinds: Sequence[str]) -> str:
        place = ""
        for patience in range(200):  # names run out in the longest stories
            place = f"{self.rng.choice(self.words.names['places'])} {self.rng.choice(kinds)}"
            if place not in self.places and (place.split()[0] not in self.places or patience > 20):
                break
        self.places |= {place, place.split()[0]}
        return place

    def _middle(self, plot: Plot, size: int) -> list[str | int]:
        """What happens between cause and solution; a number is a helper with a subtree of that size."""
        rng, room = self.rng, self.size > 1
        children = _split(size - 1, rng)
        steps: list[str | int] = [*children]
        if not children and rng.random() < (0.6 if self.lean else 0.75):
            steps.append(0)
        steps += ["setback"] * rng.choices((0, 1, 2), (25, 50, 25) if plot.depth == 0 else (70, 30, 0))[0]
        steps += ["detail"] * (2 if plot.depth == 0 else rng.choice((0, 1, 1)))
        rng.shuffle(steps)
        tries = rng.choice((1, 2)) if room else int(not self.lean and rng.random() < 0.5)
        return ["try"] * tries + steps

    def _step(self, plot: Plot, step: str, cause: str | None) -> Event:
        templates = _variants(self.words, plot.schema, step)
        generic = step in ("setback", "detail")
        number = self.bag.draw(step if generic else f"{plot.schema.name}.{step}", len(templates))
        return self._happen(plot, step, number, cause)

    def _happen(
        self, plot: Plot, step: str, number: int, cause: str | None, more: Mapping[str, Value] | None = None
    ) -> Event:
        if self.events and self.rng.random() < self.pause:
            self._pass(1 if self.rng.random() < 0.75 or self.size > _SMALL else 2)
        wordings = self.words.wordings["slots"]
        slots = {slot: self.rng.choice(options) for slot, options in wordings.items()}
        if step == "detail" and plot.depth == 0:  # on a street of its own, so that streets can be mixed up
            slots["street"] = self._place(self.words.names["streets"])
        templates = self._templates(plot, step, number)
        values = {**plot.values, **slots, **(more or {})}
        seed = self.rng.getrandbits(32)
        turn = len(self.events)
        event = _event(f"{plot.number}.{step}.{number}", plot, step, templates, values, self.day, cause, turn, seed)
        if any(event.id == before.id for before in self.events):  # the same trifle twice in one plot
            event = replace(event, id=f"{event.id}.{turn}")
        self.events.append(event)
        if "{days} days" in templates[0]:
            self._pass(_DAYS.index(slots["days"]) + 1)
        return event

    def _pass(self, days: int) -> None:
        left = _YEAR - (self.day - self.first).days
        self.day += timedelta(days=min(days, max(0, left)))

    def _templates(self, plot: Plot, step: str, number: int) -> tuple[str, str]:
        wordings = self.words.wordings
        if step == "ask":
            return wordings["ask_sub"][self.bag.draw("ask_sub", len(wordings["ask_sub"]))], ""
        if step == "help":
            key = "ask_leaf" if number < 0 else "lend"
            return wordings[key][self.bag.draw(key, len(wordings[key]))], self.rng.choice(wordings["lent"])
        return _variants(self.words, plot.schema, step)[number]

    def _helped(self, plot: Plot, size: int) -> Event:
        """Somebody lends what is needed: at once, for an old reason, or when the trouble there is settled."""
        loan = plot.schema.loans[self.bag.draw(f"{plot.number}.loan", len(plot.schema.loans))]
        street = self._place(self.words.names["streets"])
        if size == 0:
            helper = self.person(self.rng.choice(self.words.names["trades"]))
            return self._lent_at_once(plot, {"helper": helper, "street": street, "loan": loan})
        schema = self.schema()
        helper = self.person(self.rng.choice(schema.hero))
        more: dict[str, Value] = {"helper": helper, "street": street, "loan": loan}
        asked = len(self.events)
        ask = self._happen(plot, "ask", asked, None, {**more, "trouble": ""})
        child = len(self.plots)
        solve = self.plot(size, plot, helper, schema)
        self.events[ask.turn] = replace(ask, values={**ask.values, "trouble": self.plots[child].values["trouble"]})
        settled = self.plots[child].values["settled"]
        return self._happen(plot, "help", asked, solve.id, {**more, "settled": settled, "child": str(child)})

    def _lent_at_once(self, plot: Plot, more: Mapping[str, Value]) -> Event:
        number = self.bag.draw("reason", len(self.words.wordings["reason"]))
        clause = self.words.wordings["reason"][number]
        name = f"{plot.number}.reason.{number}"
        help = self._happen(plot, "help", -1, name, more)
        help = replace(help, id=f"{plot.number}.help", tell=help.tell.replace("{reason}", clause))
        self.events[help.turn] = help
        self.reasons[name] = _event(
            name, plot, "reason", (clause, clause), help.values, help.day, None, help.turn, help.seed
        )
        return help


def _split(size: int, rng: random.Random) -> list[int]:
    """Sizes of the subtrees that hold `size` plots together."""
    if size <= 0:
        return []
    count = min(size, rng.randint(2, _BRANCHES) if size > 1 else 1)
    sizes = [size // count] * count
    for index in range(size % count):
        sizes[index] += 1
    return sizes


def _lower(phrase: str) -> str:
    """A phrase as it stands inside of a sentence."""
    return phrase[:1].lower() + phrase[1:]
