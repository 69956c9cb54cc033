"""How right an answer is where the right one is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import Any

from kilter.feedback.tasks.items import TaskItem
from kilter.feedback.tasks.questions import Answer, Question
from kilter.stats import Span, matched_spans, ranks


def met(question: Question, known: Any, said: Any, spans: Sequence[Any] | None) -> float | None:
    """From 0 to 1, how far an answer's value and spans meet the known one; None where that cannot be said (texts).

    A comparison is right when its side is, whatever the strength. A ranking gets the share of the known order of pairs
    that it keeps, a rating the share of equal grades, steps the share of equal labels. Flaws that are known by their
    number are right when the number is; known as spans, they get the F1 of matched passages.
    """
    match question.type:
        case "comparison":
            return _yes(side_of(said) == side_of(known))
        case "ranking":
            return _kept_order(known, said)
        case "rating":
            return _equal_grades(known, said)
        case "steps":
            longer = max(len(known), len(said))
            return float(sum(one == other for one, other in zip(known, said, strict=False)) / longer)
        case "flaws":
            return _yes(said == known) if isinstance(known, int) else _matched(known, spans or ())
        case "label":
            return _yes(set(said) == set(known) if question.several else said == known)
        case "text":
            return None


def known_met(questions: Sequence[Question], item: TaskItem, answers: Mapping[str, Answer]) -> dict[str, float]:
    """From 0 to 1, by question, how far answers meet an item's known ones; one that was left out meets nothing.

    Questions whose known answer nobody can compare are left out.
    """
    found: dict[str, float] = {}
    for one in questions:
        if one.name not in item.answers or one.type == "text":
            continue
        said = answers.get(one.name)
        with suppress(KeyError, TypeError, ValueError, IndexError, AttributeError):  # known ones are written by hand
            score = 0.0 if said is None else met(one, item.answers[one.name], said.value, said.spans)
            if score is not None:
                found[one.name] = score
    return found


def side_of(value: Any) -> int | str:
    """Of a comparison's answer: the number of the better response, "tie" or "both bad"."""
    side: int | str = value["better"] if isinstance(value, dict) else value
    return side


def _yes(right: bool) -> float:
    return 1.0 if right else 0.0


def _kept_order(known: Any, said: Any) -> float | None:
    true, own = ranks(known), ranks(said)
    better = true[:, None] < true[None, :]
    wanted = int(better.sum())
    return float((better & (own[:, None] < own[None, :])).sum() / wanted) if wanted else None


def _equal_grades(known: Any, said: Any) -> float:
    pairs = [(known, said)] if isinstance(known, dict) else list(zip(known, said, strict=True))
    equal = [_yes(one[name] == other.get(name)) for one, other in pairs for name in one]
    return sum(equal) / len(equal)


def _matched(known: Sequence[dict[str, Any]], said: Sequence[dict[str, Any]]) -> float:
    if not known and not said:
        return 1.0
    numbers = {span["response"] for span in (*known, *said)}
    hits = sum(
        matched_spans(
            *([Span(s["start"], s["end"]) for s in side if s["response"] == number] for side in (known, said))
        )
        for number in numbers
    )
    return 2 * hits / (len(known) + len(said))
