"""What was said, one thing at a time: answers of every kind as values that can be compared and counted.

An answer may say several things: a grade in each of three dimensions, a label for each step. Each of them is an
`Aspect` with a level of measurement of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal, cast

from kilter.feedback.tasks import BOTH_BAD, TIE, Question, Task, TaskItem, side_of
from kilter.feedback.work import Result
from kilter.stats import Level, Ratings, ranking_pairs, ranks

Part = tuple[int, ...]
"""Which response, step or pair of responses of an item; () for the item as a whole."""

Unit = Literal["item", "response", "step", "pair"]


@dataclass(frozen=True)
class Said:
    """What one rater said of one thing."""

    judge: str
    artifact: str
    part: Part
    value: Hashable
    submitted: float

    @property
    def thing(self) -> tuple[str, Part]:
        """What it is about."""
        return self.artifact, self.part


@dataclass(frozen=True)
class Aspect:
    """One thing that a question asks, and all that was said of it.

    Attributes:
        question: its name in the task.
        name: of the aspect within the question, such as a dimension; "" where the question asks one thing.
        level: what a difference between values means.
        unit: what each value is about.
        scale: lowest and highest grade, where values are grades whose mean says something; None for names.
        main: whether it is what was answered, and not the same answer told otherwise (by strength, by rank).
        compared: whether raters' agreement on it says something that the question's other aspects do not.
    """

    question: str
    name: str
    level: Level
    unit: Unit
    scale: tuple[float, float] | None
    main: bool
    compared: bool
    said: tuple[Said, ...]

    @property
    def title(self) -> str:
        """The question's name, and the aspect's where there are several."""
        return f"{self.question}: {self.name}" if self.name else self.question

    def ratings(self) -> Ratings:
        """Everything said, its items named (artifact, part); raises `DataError` where nothing was."""
        return Ratings.from_triples((one.judge, one.thing, one.value) for one in self.said)

    def things(self, ratings: Ratings) -> list[tuple[str, Part]]:
        """The items of these ratings, as `ratings` named them."""
        return cast("list[tuple[str, Part]]", list(ratings.items))

    def clusters(self, ratings: Ratings) -> list[str]:
        """The artifact of each of the ratings' items: parts of one item are not independent."""
        return [artifact for artifact, _ in self.things(ratings)]


Values = Iterable[tuple[Part, Hashable]]
Reader = Callable[[Any, Result], Values]


@dataclass(frozen=True)
class _Kind:
    name: str
    level: Level
    unit: Unit
    read: Reader
    scale: tuple[float, float] | None = None
    main: bool = True
    compared: bool = True


def of_use(results: Iterable[Result], use: str) -> list[Result]:
    """The results on items of one use; work is never mixed with gold, training or qualification."""
    return [one for one in results if one.item.use == use]


def aspects(task: Task, results: Sequence[Result]) -> list[Aspect]:
    """All aspects of a task's questions, in their order; texts have none, and aspects of which nothing was said."""
    given: dict[str, list[Result]] = {}
    for one in results:
        given.setdefault(one.question, []).append(one)
    found = [
        _aspect(question, kind, given.get(question.name, [])) for question in task.questions for kind in kinds(question)
    ]
    return [one for one in found if one.said]


def kinds(question: Question) -> list[_Kind]:
    """The aspects of a question, before anything was said."""
    match question.type:
        case "comparison":
            side = _Kind("", "nominal", "item", lambda value, _: [((), side_of(value))])
            if question.strength == 1:
                return [side]
            most = float(question.strength)
            return [side, _Kind("strength", "ordinal", "item", _strength, (-most, most), main=False)]
        case "ranking":
            order = _Kind("", "ordinal", "pair", _pairs)
            return [order, _Kind("rank", "ordinal", "response", _ranks, (1.0, 9.0), main=False, compared=False)]
        case "rating":
            unit: Unit = "item" if question.of == "item" else "response"
            alone = question.dimensions == ("overall",)
            return [
                _Kind("" if alone else name, "ordinal", unit, _grade(name), (question.low, question.high))
                for name in question.dimensions
            ]
        case "label" if question.several:
            return [_Kind(label, "nominal", "item", _holds(label)) for label in question.labels]
        case "label":
            return [_Kind("", "nominal", "item", lambda value, _: [((), value)])]
        case "steps":
            return [_Kind("", "ordinal", "step", lambda value, _: [((step,), one) for step, one in enumerate(value)])]
        case "flaws":
            return [_Kind("any", "nominal", "response", _flawed)]
        case "text":
            return []


def signed_strength(value: Any) -> int:
    """Of a comparison's answer with strengths: positive for the first response, 0 for a tie and for both bad."""
    if value in (TIE, BOTH_BAD):
        return 0
    strength = int(value["strength"]) if isinstance(value, dict) else 1
    return strength if side_of(value) == 0 else -strength


def same_level(one: Aspect, level: Level | None) -> Aspect:
    """The aspect at another level, where its values have an order; nominal ones stay what they are."""
    return replace(one, level=level) if level and one.level != "nominal" else one


def responses_of(item: TaskItem) -> int:
    """How many texts can be marked in an item."""
    return len(item.responses)


def _strength(value: Any, _: Result) -> Values:
    return [((), signed_strength(value))]


def _pairs(value: Any, _: Result) -> Values:
    """1 where the first of two responses is ranked better, -1 where the second is, 0 where they are level."""
    return [((i, j), int(2 * outcome - 1)) for i, j, outcome in ranking_pairs(value)]


def _ranks(value: Any, _: Result) -> Values:
    return [((number,), float(rank)) for number, rank in enumerate(ranks(value))]


def _grade(dimension: str) -> Reader:
    def read(value: Any, _: Result) -> Values:
        if isinstance(value, dict):
            return [((), value[dimension])]
        return [((number,), one[dimension]) for number, one in enumerate(value)]

    return read


def _holds(label: str) -> Reader:
    return lambda value, _: [((), label in value)]


def _flawed(_: Any, result: Result) -> Values:
    """Whether anything was marked in each response."""
    marked = {span["response"] for span in result.judgment.spans or ()}
    return [((number,), number in marked) for number in range(responses_of(result.item))]


def _aspect(question: Question, kind: _Kind, results: Sequence[Result]) -> Aspect:
    said = tuple(
        Said(one.judge, one.artifact, part, value, one.submitted)
        for one in results
        for part, value in kind.read(one.value, one)
    )
    return Aspect(question.name, kind.name, kind.level, kind.unit, kind.scale, kind.main, kind.compared, said)
