"""Answers turned back: from the item's own numbers to the places on one person's screen."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kilter.feedback.tasks.questions import Question


def placed(question: Question, value: Any, spans: Sequence[Any] | None, sides: Sequence[int]) -> Any:
    """A value of the record as a page would send it that shows the item's responses in the order `sides`.

    The inverse of the question's `read`. Flaws of which only the number is known stay a number. Raises what Python
    raises for a value that is no answer to the question; known answers are written by hand and may be.
    """
    place = {number: at for at, number in enumerate(sides)}
    match question.type:
        case "comparison" if isinstance(value, dict):
            return {"choice": place[value["better"]], "strength": value["strength"]}
        case "comparison":
            return value if isinstance(value, str) else {"choice": place[value]}
        case "ranking":
            groups = [one if isinstance(one, list) else [one] for one in value]
            return [sorted(place[number] for number in group) for group in groups]
        case "rating" if isinstance(value, list):
            return [value[number] for number in sides]
        case "flaws":
            marked = value if isinstance(value, list) else spans
            if marked is None:
                return [] if value == 0 else value
            return [_moved(one, place) for one in marked]
        case _:
            return value


def _moved(span: dict[str, Any], place: dict[int, int]) -> dict[str, Any]:
    return {"place": place[span["response"]]} | {name: one for name, one in span.items() if name != "response"}
