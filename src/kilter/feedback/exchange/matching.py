"""Which question of a task an old answer is to, and what it says in the terms of that question."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any

from kilter.errors import DataError, SettingsError
from kilter.feedback.exchange.found import Found, OldAnswer
from kilter.feedback.readings import Skip
from kilter.feedback.tasks import BOTH_BAD, TIE, Answer, Question, Shown, Task
from kilter.settings import nearest

FITS: dict[str, tuple[str, ...]] = {
    "choice": ("comparison", "ranking"),
    "ranking": ("ranking", "comparison"),
    "rating": ("rating", "label"),
    "words": ("label", "comparison", "text"),
    "labels": ("label",),
    "text": ("text", "label"),
    "flaws": ("flaws",),
    "steps": ("steps",),
    "mark": ("label",),
}
"""The types of question that an answer of a kind may be to, the likeliest first."""

_TIES = {"tie", "tied", "equal", "same", "equally good", "no preference", "draw", "both good", "both"}
_BAD = {"both bad", "neither", "bad", "both are bad", "none"}
_PLACES = {"left": 0, "right": 1, "first": 0, "second": 1, "a": 0, "b": 1, "1": 0, "2": 1}
_THING = "(?:response|answer|output|completion|model|text|option|side)"
_NAMED = re.compile(rf"(?:the )?(?:{_THING} ?)?({'|'.join(_PLACES)})(?: {_THING})?(?: is better)?")
_TRUE, _FALSE = ("good", "yes", "true", "desirable", "right", "correct"), ("bad", "no", "false", "undesirable", "wrong")


def match_questions(
    task: Task, theirs: Mapping[str, Iterable[str]], named: Mapping[str, str]
) -> dict[str, Question | None]:
    """For each question of the source the task's question that it stands for, None where there is none.

    As the user says it; else by name, in any spelling of case and word breaks; else, where one question of the source
    and one of the task are left that go together, these.

    Args:
        task: with the questions.
        theirs: the source's questions with the kinds of their answers.
        named: what the user says: {theirs: ours}.

    Raises:
        SettingsError: the user names a question that is not there.
    """
    ours = {one.name: one for one in task.questions}
    for their, our in named.items():
        if their not in theirs:
            raise SettingsError(f"The source has no answers to '{their}': {nearest(their, theirs)}")
        if our not in ours:
            raise SettingsError(f"The task '{task.name}' has no question '{our}': {nearest(our, ours)}")
    kinds = {their: set(several) for their, several in theirs.items()}
    found: dict[str, Question | None] = {their: ours[our] for their, our in named.items()}
    for their in theirs:
        same = ours.get(_plain(their))
        if their not in found and same is not None and _goes(kinds[their], same):
            found[their] = same
    taken = {one.name for one in found.values() if one is not None}
    left = [their for their in theirs if their not in found]
    for their in left:
        fitting = [one for one in task.questions if one.name not in taken and _goes(kinds[their], one)]
        rivals = [one for one in left if any(_goes(kinds[one], each) for each in fitting)]
        found[their] = fitting[0] if len(fitting) == 1 and rivals == [their] else None
    return found


def fitted(answer: OldAnswer, question: Question, about: Found) -> tuple[Any, Answer]:
    """The answer as the question's page would have sent it, sides not dealt, and as it goes on the record.

    Raises:
        Skip: the question does not take it.
    """
    if question.type not in FITS[answer.kind]:
        raise Skip(f"answers to '{answer.question}' that are no {question.type}")
    given = _as_seen(answer, question, about)
    sides = tuple(range(len(about.item.responses)))
    try:
        return given, question.read(given, Shown(about.item, sides))
    except DataError as error:
        raise Skip(f"answers to '{answer.question}' that '{question.name}' does not take") from error


def _as_seen(answer: OldAnswer, question: Question, about: Found) -> Any:
    value = answer.value
    match question.type:
        case "comparison":
            return _choice(answer, question.strength, about)
        case "ranking":
            return _groups(value) if answer.kind == "choice" else value
        case "rating":
            return _grades(value, question.dimensions)
        case "label":
            return _label(value, question.labels, question.several)
        case "flaws":
            return _flaws(answer.spans, question.severities)
        case _:
            return value


def _choice(answer: OldAnswer, strength: int, about: Found) -> Any:
    value = answer.value
    if answer.kind == "words":
        value = _place(str(value), about)
    elif answer.kind == "ranking":
        groups = [one if isinstance(one, list) else [one] for one in value]
        value = TIE if len(groups) == 1 else groups[0][0]
    if isinstance(value, dict):
        graded = {"choice": value.get("better"), "strength": value.get("strength")}
        return graded if strength > 1 else graded["choice"]
    if strength > 1 and value not in (TIE, BOTH_BAD):
        raise Skip("preferences without the strength that the task asks for")
    return value


def _place(word: str, about: Found) -> Any:
    """Which response a label names: by its field, its text, or a word for its place."""
    plain = _plain(word)
    names = [_plain(name) for name in about.names]
    if plain in names:
        return names.index(plain)
    if word in about.item.responses:
        return about.item.responses.index(word)
    squeezed = plain.replace("_", " ").strip()
    if squeezed in _TIES or squeezed in _BAD:
        return TIE if squeezed in _TIES else BOTH_BAD
    match = _NAMED.fullmatch(squeezed)
    place = _PLACES[match[1]] if match else None
    if place is None:
        raise Skip("labels that name no response")
    return place


def _groups(value: Any) -> Any:
    if isinstance(value, dict):
        value = value.get("better")
    if value == TIE:
        return [[0, 1]]
    if value not in (0, 1):
        raise Skip("comparisons that found both bad, which no ranking says")
    return [value, 1 - value]


def _grades(value: Any, dimensions: tuple[str, ...]) -> Any:
    if isinstance(value, dict | list):
        return value
    if len(dimensions) != 1:
        raise Skip("one rating where the task has several dimensions")
    return {dimensions[0]: value}


def _label(value: Any, labels: tuple[str, ...], several: bool) -> Any:
    if isinstance(value, bool):
        words = _TRUE if value else _FALSE
        return next((label for label in labels if label.casefold() in words), value)
    spelled: dict[str, list[str]] = {}
    for label in labels:
        spelled.setdefault(_plain(label), []).append(label)
    chosen = []
    for one in value if isinstance(value, list) else [value]:
        alike = spelled.get(_plain(str(one)), [])
        chosen.append(alike[0] if one not in labels and len(alike) == 1 else one)
    return chosen if several or len(chosen) != 1 else chosen[0]


def _flaws(spans: list[Any] | None, severities: tuple[str, ...]) -> list[dict[str, Any]]:
    """The spans by place; where the task has one severity only, that is theirs."""
    flaws = []
    for one in spans or []:
        severity = one.get("severity", severities[0] if len(severities) == 1 else None)
        if severity is None:
            raise Skip("flaws without the severity that the task asks for")
        rest = {name: value for name, value in one.items() if name not in ("response", "severity")}
        flaws.append(rest | {"place": one["response"], "severity": severity})
    return flaws


def _goes(kinds: set[str], question: Question) -> bool:
    return all(question.type in FITS[kind] for kind in kinds)


def _plain(name: str) -> str:
    """A name without case and word breaks; one of signs only as it is."""
    return re.sub(r"\W+", "_", name.casefold()).strip("_") or name
