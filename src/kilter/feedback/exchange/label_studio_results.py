"""Single results of Label Studio's controls, as answers: choices, pairwise, rating, ranker, textarea, labels."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from kilter.feedback.exchange.fields import Chosen
from kilter.feedback.exchange.found import Kind
from kilter.feedback.readings import Skip

Read = tuple[Kind, Any]
KEYS = {
    "selected": "pairwise", "rating": "rating", "ranker": "ranker", "number": "number", "choices": "choices",
    "labels": "labels", "taxonomy": "taxonomy", "text": "textarea",
}  # fmt: skip
"""The type of a result by the key of its value, for exports that leave the type out."""


def read_value(kind: str, value: Any, targets: Sequence[str], about: Chosen) -> Read:
    """One result's answer; `targets` are the names of what the control is about.

    Raises:
        Skip: a result of a type that has no place here, or that lacks something.
    """
    reader = _READERS.get(kind)
    if reader is None:
        raise Skip(f"results of type {kind}")
    if not isinstance(value, dict):
        raise Skip(f"a {kind} without a value")
    if kind != "labels" and "start" in value:
        raise Skip(f"a {kind} of a single span")
    return reader(value, targets, about)


def spans_of(results: Sequence[Mapping[str, Any]], about: Chosen) -> list[dict[str, Any]]:
    """The spans of one control's results in one annotation, in code points of the response they lie in.

    Raises:
        Skip: a span lies in none of the responses, or not where its text is.
    """
    spans = []
    for result in results:
        value = result.get("value")
        labels = value.get("labels") if isinstance(value, dict) else None
        if not isinstance(value, dict) or not isinstance(labels, list) or not labels:
            raise Skip("a span without a label")
        response, start, end = _place(value, targets_of(result), about)
        spans += [{"response": response, "start": start, "end": end, "type": str(label)} for label in labels]
    return sorted(spans, key=lambda one: (one["response"], one["start"], one["end"], one["type"]))


def targets_of(result: Mapping[str, Any]) -> list[str]:
    """What a result is about; the names of two objects are joined by a comma."""
    target = result.get("to_name")
    several = target if isinstance(target, list) else str(target or "").split(",")
    return [str(one).strip() for one in several if str(one).strip()]


def _pairwise(value: dict[str, Any], targets: Sequence[str], about: Chosen) -> Read:
    sides = sides_of(targets, about)
    place = {"left": 0, "right": 1}.get(str(value.get("selected")))
    if place is None:
        raise Skip("a pairwise that is neither left nor right")
    return "choice", sides[place]


def sides_of(targets: Sequence[str], about: Chosen) -> tuple[int, ...]:
    """The responses that stood left and right."""
    if len(targets) == 2 and all(one in about.names for one in targets):
        return tuple(about.names.index(one) for one in targets)
    if len(about.item.responses) != 2:
        raise Skip("a pairwise of an item that has not two responses")
    return 0, 1


def _rating(value: dict[str, Any], targets: Sequence[str], about: Chosen) -> Read:
    number = value.get("rating", value.get("number"))
    if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
        raise Skip("a rating that is no number")
    return "rating", int(number) if number == int(number) else number


def _ranker(value: dict[str, Any], targets: Sequence[str], about: Chosen) -> Read:
    ranked = value.get("ranker")
    if isinstance(ranked, dict):
        buckets = {name: ids for name, ids in ranked.items() if ids and name != "_"}
        if len(buckets) != 1 or ranked.get("_"):
            raise Skip("responses sorted into buckets or left over, not ranked")
        [ranked] = buckets.values()
    names = [str(one) for one in ranked] if isinstance(ranked, list) else []
    if sorted(names) != sorted(about.names) or len(set(names)) < len(names):
        raise Skip("a ranking that does not name each response once")
    return "ranking", [about.names.index(one) for one in names]


def _choices(value: dict[str, Any], targets: Sequence[str], about: Chosen) -> Read:
    chosen = value.get("choices")
    if not isinstance(chosen, list) or not chosen:
        raise Skip("no choice")
    return ("words", str(chosen[0])) if len(chosen) == 1 else ("labels", [str(one) for one in chosen])


def _taxonomy(value: dict[str, Any], targets: Sequence[str], about: Chosen) -> Read:
    paths = value.get("taxonomy")
    if not isinstance(paths, list) or not paths or not all(isinstance(path, list) for path in paths):
        raise Skip("no choice")
    return "labels", [" / ".join(map(str, path)) for path in paths]


def _textarea(value: dict[str, Any], targets: Sequence[str], about: Chosen) -> Read:
    given = value.get("text")
    several = given if isinstance(given, list) else [given]
    texts = [one.strip() for one in several if isinstance(one, str) and one.strip()]
    if not texts:
        raise Skip("an empty text")
    return "text", "\n\n".join(texts)


_READERS: dict[str, Callable[[dict[str, Any], Sequence[str], Chosen], Read]] = {
    "pairwise": _pairwise, "rating": _rating, "number": _rating, "ranker": _ranker, "choices": _choices,
    "taxonomy": _taxonomy, "textarea": _textarea,
}  # fmt: skip


def _place(value: Mapping[str, Any], targets: Sequence[str], about: Chosen) -> tuple[int, int, int]:
    """Which response a span lies in, and where; the browser counts UTF-16 units, the record code points."""
    start, end, text = value.get("start"), value.get("end"), value.get("text")
    if not isinstance(start, int) or not isinstance(end, int):
        raise Skip("a span without start and end in its text")
    named = [index for index, name in enumerate(about.names) if name in targets]
    for index in named or range(len(about.item.responses)):
        response = about.item.responses[index]
        for first, last in ((start, end), _code_points(response, start, end)):
            inside = 0 <= first < last <= len(response)
            if inside and (response[first:last] == text if isinstance(text, str) and text else named):
                return index, first, last
    raise Skip("a span that does not lie where its text is in a response")


def _code_points(text: str, start: int, end: int) -> tuple[int, int]:
    """The same place counted in code points instead of UTF-16 units."""
    units = text.encode("utf-16-le")
    first, last = (len(units[: 2 * max(0, at)].decode("utf-16-le", errors="ignore")) for at in (start, end))
    return first, last
