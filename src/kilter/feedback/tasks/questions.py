"""The questions a task is made of: what each may be set to, and which answers it takes.

An answer arrives as the rater saw the item: responses by their place on screen. `Shown` turns places into the item's
own numbers, so that what goes on the record does not depend on how the sides were dealt.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from kilter.errors import DataError
from kilter.feedback.tasks.items import TaskItem
from kilter.settings import Settings

TIE, BOTH_BAD = "tie", "both bad"


@dataclass(frozen=True)
class Shown:
    """An item as one rater sees it.

    Attributes:
        item: with its responses in their own order.
        sides: for each place on screen, the number of the response that stands there.
    """

    item: TaskItem
    sides: tuple[int, ...]

    def number(self, place: Any, name: str) -> int:
        """The response at a place; raises `DataError` for a place that is not there."""
        if type(place) is not int or not 0 <= place < len(self.sides):
            raise DataError(f"'{name}': there is no response at place {place!r}; places go from 0 to {self.last}.")
        return self.sides[place]

    @property
    def last(self) -> int:
        """The last place."""
        return len(self.sides) - 1


@dataclass(frozen=True)
class Answer:
    """An answer as it goes on the record: `value` and, where text was marked, `spans`."""

    value: Any
    spans: list[Any] | None = None


class _Question(Settings):
    name: str = Field(pattern=r"^[a-z][a-z0-9_]*$", max_length=40, description="Short name, for exports and files.")
    ask: str = Field(min_length=1, max_length=500, description="The question as the rater reads it.")
    hint: str = Field("", max_length=2000, description="A line of help under it.")
    required: bool = Field(True, description="Whether an item can be submitted without an answer.")

    def shape(self, item: TaskItem) -> str | None:
        """What the item lacks for this question, in words; None when it fits."""
        return None

    def _wrong(self, answer: Any, expected: str) -> DataError:
        return DataError(f"'{self.name}' was answered with {answer!r:.80}, but it takes {expected}.")


class ComparisonQuestion(_Question):
    """Which of two responses is better; with `strength` > 1 also by how much."""

    type: Literal["comparison"] = "comparison"
    ask: str = Field("Which response is better?", min_length=1, max_length=500, description="The question.")
    strength: int = Field(1, ge=1, le=4, description="Grades of 'better', slightest first; 1 asks for none.")
    tie: bool = Field(True, description="Whether 'equally good' may be chosen.")
    both_bad: bool = Field(False, description="Whether 'both bad' may be chosen.")

    def shape(self, item: TaskItem) -> str | None:
        """Two responses."""
        return None if len(item.responses) == 2 else f"two responses to compare (it has {len(item.responses)})"

    def read(self, answer: Any, shown: Shown) -> Answer:
        """{"choice": place | "tie" | "both bad", "strength": grade}: the better one's number, or the word.

        With grades, {"better": number, "strength": grade}.
        """
        given = answer if isinstance(answer, dict) else {"choice": answer}
        choice, strength = given.get("choice"), given.get("strength", 1)
        words = [TIE] * self.tie + [BOTH_BAD] * self.both_bad
        if isinstance(choice, str):
            if choice not in words or "strength" in given:
                raise self._wrong(answer, " or ".join(["a side", *words]))
            return Answer(choice)
        better = shown.number(choice, self.name)
        if self.strength == 1:
            return Answer(better)
        if type(strength) is not int or not 1 <= strength <= self.strength:
            raise self._wrong(answer, f"a side with a strength from 1 to {self.strength}")
        return Answer({"better": better, "strength": strength})


class RankingQuestion(_Question):
    """An order of K responses, best first, ties allowed (InstructGPT ranked 4 to 9, arXiv 2203.02155)."""

    type: Literal["ranking"] = "ranking"
    ask: str = Field("Rank the responses, best first.", min_length=1, max_length=500, description="The question.")
    ties: bool = Field(True, description="Whether several responses may share a rank.")

    def shape(self, item: TaskItem) -> str | None:
        """Two to nine responses."""
        fits = 2 <= len(item.responses) <= 9
        return None if fits else f"two to nine responses to rank (it has {len(item.responses)})"

    def read(self, answer: Any, shown: Shown) -> Answer:
        """[[place, ...], ...]: groups of equal rank, best first, to the numbers; a group of one is bare."""
        groups = [one if isinstance(one, list) else [one] for one in answer] if isinstance(answer, list) else [[]]
        numbers = [[shown.number(place, self.name) for place in group] for group in groups]
        named = sorted(one for group in numbers for one in group)
        if named != list(range(len(shown.sides))) or (not self.ties and len(numbers) < len(named)):
            raise self._wrong(
                answer, f"each of the {len(shown.sides)} responses once{'' if self.ties else ', no ties'}"
            )
        return Answer([group[0] if len(group) == 1 else sorted(group) for group in numbers])


class RatingQuestion(_Question):
    """Numbers on a scale, for the item or for each response, in one or several dimensions."""

    type: Literal["rating"] = "rating"
    ask: str = Field("How good is it?", min_length=1, max_length=500, description="The question.")
    dimensions: tuple[str, ...] = Field(("overall",), min_length=1, description="What is rated, one scale each.")
    of: Literal["item", "responses"] = Field("item", description="Rate the item once, or each of its responses.")
    low: int = Field(1, ge=0, le=1, description="Lowest grade.")
    high: int = Field(7, ge=1, le=10, description="Highest grade.")
    ends: tuple[str, str] = Field(("", ""), description="Words at the lowest and the highest grade.")

    @model_validator(mode="after")
    def _a_scale(self) -> Self:
        if self.high <= self.low:
            raise ValueError(f"a scale from {self.low} to {self.high} has no two grades")
        if len(set(self.dimensions)) < len(self.dimensions):
            raise ValueError("two dimensions have the same name")
        return self

    def shape(self, item: TaskItem) -> str | None:
        """Responses, where each is rated."""
        return "responses to rate" if self.of == "responses" and not item.responses else None

    def read(self, answer: Any, shown: Shown) -> Answer:
        """{dimension: grade}, or a list of such by place: the same by number."""
        if self.of == "item":
            return Answer(self._grades(answer))
        if not isinstance(answer, list) or len(answer) != len(shown.sides):
            raise self._wrong(answer, f"grades for each of the {len(shown.sides)} responses")
        grades = {shown.sides[place]: self._grades(one) for place, one in enumerate(answer)}
        return Answer([grades[number] for number in range(len(grades))])

    def _grades(self, given: Any) -> dict[str, int]:
        fits = isinstance(given, dict) and given.keys() == set(self.dimensions)
        if not fits or not all(type(one) is int and self.low <= one <= self.high for one in given.values()):
            raise self._wrong(given, f"{', '.join(self.dimensions)}, each from {self.low} to {self.high}")
        return {name: given[name] for name in self.dimensions}


class LabelQuestion(_Question):
    """One of several labels, or any number of them."""

    type: Literal["label"] = "label"
    ask: str = Field("Which label fits?", min_length=1, max_length=500, description="The question.")
    labels: tuple[str, ...] = Field(min_length=2, max_length=40, description="The labels.")
    several: bool = Field(False, description="Whether more than one may hold; none may be chosen then, too.")

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.labels)) < len(self.labels):
            raise ValueError("two labels are the same")
        return self

    def read(self, answer: Any, shown: Shown) -> Answer:
        """A label, or a list of labels: the same, in the order of the definition."""
        chosen = answer if self.several and isinstance(answer, list) else [answer]
        if not all(isinstance(one, str) and one in self.labels for one in chosen) or len(set(chosen)) < len(chosen):
            raise self._wrong(answer, f"{'some' if self.several else 'one'} of: {', '.join(self.labels)}")
        return Answer([one for one in self.labels if one in chosen] if self.several else chosen[0])


class TextQuestion(_Question):
    """A text: a demonstration written anew, a response rewritten, a reason."""

    type: Literal["text"] = "text"
    ask: str = Field("Write the best reply.", min_length=1, max_length=500, description="The question.")
    start: Literal["empty", "response"] = Field("empty", description="Begin with nothing, or rewrite the response.")
    least: int = Field(1, ge=0, description="Fewest characters.")
    most: int = Field(20_000, ge=1, le=200_000, description="Most characters.")

    def shape(self, item: TaskItem) -> str | None:
        """One response, where one is rewritten."""
        fits = self.start == "empty" or len(item.responses) == 1
        return None if fits else f"one response to rewrite (it has {len(item.responses)})"

    def read(self, answer: Any, shown: Shown) -> Answer:
        """A text, without white space around it."""
        text = answer.strip() if isinstance(answer, str) else None
        if text is None or not self.least <= len(text) <= self.most or "\x00" in text:
            raise self._wrong(answer, f"a text of {self.least} to {self.most} characters")
        return Answer(text)


class FlawsQuestion(_Question):
    """Flaws marked in responses: where, of what type, how severe, and a note."""

    type: Literal["flaws"] = "flaws"
    ask: str = Field("Mark every flaw you find.", min_length=1, max_length=500, description="The question.")
    types: tuple[str, ...] = Field(("wrong", "missing", "misleading", "other"), min_length=1, description="Types.")
    severities: tuple[str, ...] = Field(("minor", "major", "critical"), min_length=1, description="Slightest first.")
    notes: Literal["none", "optional", "required"] = Field("optional", description="A note for each flaw.")
    most: int = Field(50, ge=1, le=500, description="Most flaws.")

    def shape(self, item: TaskItem) -> str | None:
        """A response."""
        return None if item.responses else "a response to mark flaws in"

    def read(self, answer: Any, shown: Shown) -> Answer:
        """[{place, start, end, type, severity, note}]: their number, and as spans the flaws by response.

        `start` and `end` count Unicode code points of the response's text.
        """
        if not isinstance(answer, list) or len(answer) > self.most:
            raise self._wrong(answer, f"a list of at most {self.most} flaws")
        spans = [self._span(one, shown) for one in answer]
        spans.sort(key=lambda one: (one["response"], one["start"], one["end"]))
        return Answer(len(spans), spans)

    def _span(self, flaw: Any, shown: Shown) -> dict[str, Any]:
        if not isinstance(flaw, dict) or flaw.get("type") not in self.types:
            raise self._wrong(flaw, f"a flaw of one of the types {', '.join(self.types)}")
        number = shown.number(flaw.get("place"), self.name)
        start, end, length = flaw.get("start"), flaw.get("end"), len(shown.item.responses[number])
        if type(start) is not int or type(end) is not int or not 0 <= start < end <= length:
            raise self._wrong(flaw, f"a span inside the response's {length} characters")
        if flaw.get("severity") not in self.severities:
            raise self._wrong(flaw, f"a severity: {', '.join(self.severities)}")
        note = str(flaw.get("note") or "").strip()
        if len(note) > 2000 or (self.notes == "required" and not note) or (self.notes == "none" and note):
            raise self._wrong(flaw, {"none": "no note", "optional": "a short note", "required": "a note"}[self.notes])
        kept = {"response": number, "start": start, "end": end, "type": flaw["type"], "severity": flaw["severity"]}
        return kept | ({"note": note} if note else {})


class StepsQuestion(_Question):
    """Each step of a solution: good, neutral or bad, as in PRM800K (arXiv 2305.20050)."""

    type: Literal["steps"] = "steps"
    ask: str = Field("Is each step right?", min_length=1, max_length=500, description="The question.")
    stop_at_bad: bool = Field(True, description="Nothing after the first bad step needs a label.")

    def shape(self, item: TaskItem) -> str | None:
        """Steps."""
        return None if item.steps else "steps"

    def read(self, answer: Any, shown: Shown) -> Answer:
        """1, 0 or -1 for each step, up to the first bad one where labeling may stop there."""
        wanted = len(shown.item.steps)
        right = isinstance(answer, list) and all(type(one) is int and one in (1, 0, -1) for one in answer)
        stopped = (
            right and self.stop_at_bad and 0 < len(answer) <= wanted and answer.index(-1) == len(answer) - 1
            if (right and -1 in answer)
            else False
        )
        if not right or not (stopped or len(answer) == wanted):
            raise self._wrong(answer, f"good, neutral or bad (1, 0, -1) for each of the {wanted} steps")
        return Answer(list(answer))


Question = Annotated[
    ComparisonQuestion | RankingQuestion | RatingQuestion | LabelQuestion | TextQuestion | FlawsQuestion
    | StepsQuestion,
    Field(discriminator="type"),
]  # fmt: skip


def read_answers(questions: Sequence[Question], given: dict[str, Any], shown: Shown) -> dict[str, Answer]:
    """Check a rater's answers to all questions of a task.

    Raises:
        DataError: one is missing that is required, one is not of its question's form, or a name is unknown.
    """
    names = [one.name for one in questions]
    unknown = sorted(set(given) - set(names))
    if unknown:
        raise DataError(f"There is no question '{unknown[0]}' in this task; there are: {', '.join(names)}.")
    answers = {}
    for one in questions:
        if given.get(one.name) is not None:
            read: Callable[[Any, Shown], Answer] = one.read
            answers[one.name] = read(given[one.name], shown)
        elif one.required:
            raise DataError(f"'{one.name}' has no answer yet.")
    if not answers:
        raise DataError("None of the questions has an answer; skip the item instead.")
    return answers
