"""Filling templates: names, pronouns and articles in place, and where in the text each of them came to stand.

A template is English with `{hero}` (a person, place or thing by its role), `{hero.his}` (a pronoun), `{a:loan}` and
`{the:loan}` (with an article), `{hero@1}` (the role in the second of several events), `[one|another]` wording, and
`<a sentence that may be left out>`. `{hero!}` in a summary introduces a person with the trade.
"""

from __future__ import annotations

import random
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from kilter.testbeds.stories.world import Person, Value

_HOLE = re.compile(r"\{(?:(a|the):)?([A-Za-z_]+)(?:@(\d))?(?:\.([a-z]+))?(!)?\}|\x01(\d)|\x02(\d)")
_CHOICE = re.compile(r"\[([^\[\]]*\|[^\[\]]*)\]")
_OPTIONAL = re.compile(r" ?<([^<>]*)>")
_OPENING = re.compile(r"(?:^|[.!?]\s+|\.\"\s+)\"?([a-z])")
_PRONOUNS = {
    "he": ("she", "he"),
    "him": ("her", "him"),
    "his": ("her", "his"),
    "self": ("herself", "himself"),
}


@dataclass(frozen=True)
class Mark:
    """Where a value stands: `name` is its role, with `@1` for the second event; "clause@1" is a whole clause."""

    start: int
    end: int
    name: str


@dataclass
class Memory:
    """Who has been named so far, so that people are introduced once and then called by their first names.

    `style` is "story" (introduced with trade and trait), "summary" (with the trade where the template says so) or
    "note" (full names always); `alike` are first names that two people share.
    """

    style: str
    alike: frozenset[str] = frozenset()
    met: set[str] = field(default_factory=set)
    place: dict[str, int] = field(default_factory=dict)

    def call(self, person: Person, introduce: bool, where: int) -> tuple[str, str]:
        """The name by which `person` is called now, and the trade where it is said."""
        known, near = person.name in self.met, self.place.get(person.name) == where
        self.met.add(person.name)
        self.place[person.name] = where
        if self.style == "story" and not known:
            return person.name, f"{person.trait} {person.trade}"
        if self.style == "summary" and not known and introduce:
            return person.name, person.trade
        short = known and self.style != "note" and (near or self.style == "summary")
        return (person.first if short and person.first not in self.alike else person.name), ""


def choose(template: str, seed: int, fullness: float) -> str:
    """One wording of a template; each optional sentence stays with probability `fullness`, the same for the seed."""
    rng = random.Random(seed)
    chosen = _CHOICE.sub(lambda match: rng.choice(match[1].split("|")), template)
    return _OPTIONAL.sub(lambda match: f" {match[1]}" if rng.random() < fullness else "", chosen)


def numbered(template: str, number: int) -> str:
    """A clause whose roles belong to event `number` of several, with its ends marked."""
    roles = _HOLE.sub(lambda match: match[0] if match[3] or not match[2] else _with_number(match, number), template)
    return f"\x01{number}{roles}\x02{number}"


def _with_number(match: re.Match[str], number: int) -> str:
    article, name, _, form, bang = match.groups()[:5]
    return f"{{{f'{article}:' if article else ''}{name}@{number}{f'.{form}' if form else ''}{bang or ''}}}"


def fill(
    template: str, values: Sequence[Mapping[str, Value]], memory: Memory, where: int = 0
) -> tuple[str, list[Mark]]:
    """The text of a template, and a mark for every value in it. `where` is the plot, for the choice of names."""
    text, done = "", 0
    marks: list[Mark] = []
    opened: dict[str, int] = {}  # where the clauses began, by number
    for match in _HOLE.finditer(template):
        text = _join(text, template[done : match.start()])
        done = match.end()
        if match[6]:
            opened[match[6]] = len(text)
            continue
        if match[7]:
            text = text.removesuffix(",") if template[done : done + 1] in list(".,;:!?") else text
            marks.append(Mark(opened[match[7]], len(text), f"clause@{match[7]}"))
            continue
        said, found = _said(match, values[int(match[3] or 0)], memory, where)
        marks += [Mark(len(text) + one.start, len(text) + one.end, one.name) for one in found]
        text = _join(text, said)
    text = _join(text, template[done:]).removesuffix(",")
    return _OPENING.sub(lambda match: match[0][:-1] + match[1].upper(), text), marks


def _join(text: str, more: str) -> str:
    """Put together what follows an introduction: its closing comma yields to other punctuation."""
    return text[:-1] + more if text.endswith(",") and more[:1] in list(".,;:!?") else text + more


def _said(match: re.Match[str], values: Mapping[str, Value], memory: Memory, where: int) -> tuple[str, list[Mark]]:
    article, name, number, form, bang = match.groups()[:5]
    value = values[name.lower()]
    mark = f"{name.lower()}@{number or 0}"
    if isinstance(value, str):
        said = value if not article else f"{_article(article, value)} {value}"
        return said, [Mark(len(said) - len(value), len(said), mark)]
    if form == "full":
        return value.name, [Mark(0, len(value.name), mark)]
    if form:
        return _PRONOUNS[form][0 if value.woman else 1], []
    called, trade = memory.call(value, bool(bang), where)
    if not trade:
        return called, [Mark(0, len(called), mark)]
    said = f"{called}, {_article('a', trade)} {trade},"
    return said, [Mark(0, len(called), mark), Mark(len(said) - 1 - len(trade), len(said) - 1, f"{mark}.trade")]


def _article(article: str, value: str) -> str:
    if article == "the":
        return "the"
    return "an" if value[0].lower() in "aeiou" else "a"
