"""Answers in words, as a person would read them off a page: sides by where they stand, values by what buttons say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kilter.feedback.tasks import BOTH_BAD, TIE, Question, Task
from kilter.web.wording import texts


def place_name(task: Task, responses: int, place: int) -> str:
    """What a response at a place is called on the page: Left and Right where two are compared, else A, B, C."""
    words = texts()["judge"]
    if responses == 1:
        return str(words["response"])
    compared = any(one.type == "comparison" for one in task.questions)
    return str((words["left"], words["right"])[place]) if compared else chr(65 + place)


def in_words(task: Task, question: Question, answer: Any, shown: Sequence[str]) -> str:
    """An answer whose responses are named by their place, as `placed` gives it; `shown` are the texts by place."""
    names = [place_name(task, len(shown), place) for place in range(len(shown))]
    match question.type:
        case "comparison":
            return _comparison(question, answer, names)
        case "ranking":
            return " > ".join(" = ".join(names[place] for place in group) for group in answer)
        case "rating" if isinstance(answer, list):
            return "; ".join(f"{name}: {_grades(grades)}" for name, grades in zip(names, answer, strict=True))
        case "rating":
            return _grades(answer)
        case "label":
            return (", ".join(answer) or texts()["words"]["no_label"]) if isinstance(answer, list) else str(answer)
        case "flaws":
            return _flaws(answer, names, shown)
        case "steps":
            marks = {1: "good", 0: "neutral", -1: "bad"}
            return ", ".join(f"{n} {texts()['steps'][marks[one]]}" for n, one in enumerate(answer, 1))
        case _:
            return str(answer)


def value_in_words(question: Question | None, value: Any) -> str:
    """A value that was counted, such as a side or a label, with responses by their number in the item."""
    words = texts()["words"]
    if isinstance(value, bool):
        return str(words["yes" if value else "no"])
    if question is not None and question.type == "comparison" and isinstance(value, int):
        return str(words["response_number"]).format(number=value + 1)
    if question is not None and question.type == "steps":
        return str(texts()["steps"][{1: "good", 0: "neutral", -1: "bad"}[int(value)]])
    if question is not None and question.type == "ranking" and isinstance(value, int):
        return str(words["pair"][int(value) + 1])
    if value in (TIE, BOTH_BAD):
        return str(texts()["comparison"]["tie" if value == TIE else "both_bad"])
    return f"{value:g}" if isinstance(value, float) else str(value)


def _comparison(question: Any, answer: Any, names: Sequence[str]) -> str:
    words = texts()["comparison"]
    if isinstance(answer, str):
        return str(words["tie" if answer == TIE else "both_bad"])
    side = str(names[answer["choice"]])
    if question.strength == 1:
        return side
    return f"{side}: {words['grades'][question.strength - 1][answer['strength'] - 1]}"


def _grades(grades: dict[str, Any]) -> str:
    return ", ".join(str(grade) if name == "overall" else f"{name} {grade}" for name, grade in grades.items())


def _flaws(answer: Any, names: Sequence[str], shown: Sequence[str]) -> str:
    words = texts()["words"]
    if not isinstance(answer, list):
        return str(words["flaws"]).format(count=answer)
    told = []
    for one in answer:
        quote = shown[one["place"]][one["start"] : one["end"]]
        named = f"{names[one['place']]}: " if len(shown) > 1 else ""
        more = ", ".join(str(one[key]) for key in ("type", "severity", "note") if one.get(key))
        told.append(f"{named}\N{LEFT DOUBLE QUOTATION MARK}{quote}\N{RIGHT DOUBLE QUOTATION MARK} ({more})")
    return "; ".join(told) or str(words["no_flaws"])
