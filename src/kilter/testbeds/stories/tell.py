"""Telling a world: the story's text, and which events each sentence states."""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import date

from kilter.testbeds.stories.fill import Memory, choose, fill
from kilter.testbeds.stories.world import Event, Person, Value, World

_SENTENCE = re.compile(r"\S.*?[.!?]\"?(?=\s+[\"A-Z]|\s*$)", re.S)
_CHAPTERS_FROM = 2_500  # words of a story that is cut into chapters
_PARAGRAPH = (25, 40, 60)  # words after which an event may begin a paragraph
_CHAPTER = 1_100  # words after which the next plot may begin a chapter


@dataclass(frozen=True)
class Sentence:
    """A passage of the story, [start, end), and the events that it states; none where it only sets the scene."""

    start: int
    end: int
    events: tuple[str, ...]


@dataclass(frozen=True)
class Telling:
    """A story with its sentences; `dated` names for each event the one whose sentence last gave a full date."""

    text: str
    sentences: tuple[Sentence, ...]
    dated: Mapping[str, str]

    @property
    def words(self) -> int:
        """How many words the story has."""
        return len(self.text.split())

    def passages(self, *events: str) -> list[tuple[int, int]]:
        """The sentences that state one of these events."""
        return [(one.start, one.end) for one in self.sentences if set(events) & set(one.events)]


def date_in_words(day: date) -> str:
    """A date as the stories write it: "Thursday, March 7"."""
    return f"{day:%A}, {day:%B} {day.day}"


def tell(world: World, fullness: float, relative: float, seed: int) -> Telling:
    """The story of a world. `fullness` is the share of optional sentences, `relative` that of days told as "the next
    day" where they could be."""
    long = world.plots and _estimate(world, fullness) > _CHAPTERS_FROM
    teller = _Teller(world, random.Random(seed), fullness, relative, bool(long))
    for event in world.events:
        teller.tell(event)
    if not world.lean:
        teller.say(teller.line("closing"), ())
    return Telling(teller.text, tuple(teller.sentences), teller.dated)


def _estimate(world: World, fullness: float) -> float:
    return sum(len(event.tell.split()) for event in world.events) * (0.8 + 0.2 * fullness)


@dataclass
class _Teller:
    """The story so far."""

    world: World
    rng: random.Random
    fullness: float
    relative: float
    chapters: bool
    text: str = ""
    sentences: list[Sentence] = field(default_factory=list)
    dated: dict[str, str] = field(default_factory=dict)
    memory: Memory = field(default_factory=lambda: Memory("story"))
    before: Event | None = None
    anchor: Event | None = None
    chapter: int = 0
    chapter_at: int = 0
    phrase: str = ""
    said: dict[str, list[str]] = field(default_factory=dict)

    def tell(self, event: Event) -> None:
        """Tell one event, in a paragraph of its own or after the last."""
        turned = self.before is not None and self.before.plot != event.plot
        if event.step == "start" and self.chapters and (not self.text or self._chapter_words() > _CHAPTER):
            self._open_chapter(event)
        elif self.text and (turned or event.step == "ask" or self._paragraph_words() > self.rng.choice(_PARAGRAPH)):
            self.text += "\n\n"
        if event.turn == 0 and not self.world.lean:
            self.say(self.line("opening"), ())
        if turned and event.step == "help" and self.rng.random() < 0.3 + 0.4 * self.fullness:
            self.say(self.line("again", event), ())
        when = self._when(event, turned or event.step in ("start", "ask"))
        if self.before and self.before.step == "setback" and self.before.day != event.day:
            when = self._absolute(event)
        self.dated[event.id] = self.anchor.id if self.anchor else event.id
        template = choose(event.tell, event.seed, self.fullness)
        told, _ = fill(template, [{**event.values, "when": when}], self.memory, event.plot + 1)
        causes = (event.cause,) if event.cause in self.world.reasons else ()
        self.say(told, (event.id, *causes))
        self.before = event

    def say(self, text: str, events: tuple[str, ...]) -> None:
        """Add sentences that state `events`."""
        if self.text and not self.text.endswith("\n"):
            self.text += " "
        offset = len(self.text)
        self.text += text
        for match in _SENTENCE.finditer(text):
            self.sentences.append(Sentence(offset + match.start(), offset + match.end(), events))

    def line(self, name: str, event: Event | None = None) -> str:
        """A sentence of the frame; none comes twice before all have come."""
        if not self.said.get(name):
            lines = list(self.world.words.wordings[name])
            self.said[name] = self.rng.sample(lines, len(lines))
        values: Mapping[str, Value] = event.values if event else {"town": self.world.town}
        return fill(self.said[name].pop(), [values], self.memory, event.plot + 1 if event else 0)[0]

    def _open_chapter(self, event: Event) -> None:
        self.chapter += 1
        self.anchor = None  # a chapter begins with a date
        self.chapter_at = len(self.text)
        title = str(event.values["trouble"]).title().replace(" Of ", " of ").replace(" The ", " the ")
        for small in (" Over ", " In ", " With "):
            title = title.replace(small, small.lower())
        heading = self.world.words.wordings["chapter"].format(number=self.chapter, title=title)
        self.text += f"{chr(10) * 2 if self.text else ''}{heading}\n\n"

    def _chapter_words(self) -> int:
        return len(self.text[self.chapter_at :].split())

    def _paragraph_words(self) -> int:
        return len(self.text[self.text.rfind("\n") + 1 :].split())

    def _when(self, event: Event, afresh: bool) -> str:
        """The time of an event: a full date, a weekday, or how long after the event before."""
        if self.before is None or self.anchor is None:
            return self._absolute(event)
        apart = (event.day - self.before.day).days
        if apart == 0 and (not afresh or self.anchor.day == event.day):
            return self._phrase("same_day")
        if afresh:
            return self._absolute(event)
        if apart == 1 and self.rng.random() < self.relative:
            return self._phrase("next_day")
        if (event.day - self.anchor.day).days < 6 and self.rng.random() < 0.5:
            return f"on {event.day:%A}"
        return self._absolute(event)

    def _absolute(self, event: Event) -> str:
        self.anchor = event
        return f"on {date_in_words(event.day)}"

    def _phrase(self, name: str) -> str:
        phrases: list[str] = self.world.words.wordings[name]
        if not self.said.get(name):
            self.said[name] = self.rng.sample(phrases, len(phrases))
            if self.said[name][-1] == self.phrase:  # not twice in a row
                self.said[name].reverse()
        self.phrase = self.said[name].pop()
        return self.phrase


def stated(telling: Telling, events: tuple[str, ...], value: str) -> list[tuple[int, int]]:
    """The sentences about `events` that contain `value`; all about them where none does."""
    passages = telling.passages(*events)
    return [one for one in passages if value in telling.text[one[0] : one[1]]] or passages


def people(world: World) -> Iterator[Person]:
    """Everybody in a world, each once."""
    seen: set[str] = set()
    for event in world.events:
        for value in event.values.values():
            if isinstance(value, Person) and value.name not in seen:
                seen.add(value.name)
                yield value
