"""How right an answer is where the right one is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from kilter.feedback.quality.aspects import side_of
from kilter.feedback.tasks import Question, Task
from kilter.feedback.work import Result
from kilter.stats import Span, matched_spans, ranks


def score(question: Question, known: Any, result: Result) -> float | None:
    """From 0 to 1, how far a result meets the known answer; None where that cannot be said (texts).

    A comparison is right when its side is, whatever the strength. A ranking gets the share of the known order of pairs
    that it keeps, a rating the share of equal grades, steps the share of equal labels. Flaws that are known by their
    number are right when the number is; known as spans, they get the F1 of matched passages.
    """
    said = result.value
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
            return _yes(said == known) if isinstance(known, int) else _matched(known, result.judgment.spans or ())
        case "label":
            return _yes(set(said) == set(known) if question.several else said == known)
        case "text":
            return None


def gold_scores(task: Task, results: Sequence[Result]) -> list[tuple[str, float]]:
    """The artifact and score of each gold item that one rater judged, in the order of time."""
    questions = {one.name: one for one in task.questions}
    found: dict[str, list[float]] = {}
    for one in sorted(results, key=lambda result: result.submitted):
        known = one.item.answers.get(one.question)
        right = None if known is None else score(questions[one.question], known, one)
        if right is not None:
            found.setdefault(one.artifact, []).append(right)
    return [(artifact, sum(scores) / len(scores)) for artifact, scores in found.items()]


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
