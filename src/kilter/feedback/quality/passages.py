"""Passages that raters marked as flaws: as texts with spans, and where raters agree."""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from kilter.feedback.quality.aspects import responses_of
from kilter.feedback.work import Result
from kilter.stats import Estimate, MarkedText, Span, wilson


@dataclass(frozen=True)
class Passage:
    """Characters of a response that the same raters marked.

    Attributes:
        share: of the raters of the item who marked it.
        types: how often each type of flaw was named for it.
    """

    artifact: str
    response: int
    start: int
    end: int
    share: Estimate
    types: dict[str, int]

    def as_dict(self) -> dict[str, Any]:
        """As JSON."""
        place = {"item": self.artifact, "response": self.response, "start": self.start, "end": self.end}
        return {**place, "share": self.share.as_dict(), "types": self.types}


def marked_texts(results: Sequence[Result]) -> dict[tuple[str, int], MarkedText]:
    """Each response with the spans of its raters, by item and number, for the results of one question."""
    lengths: dict[tuple[str, int], int] = {}
    marks: dict[tuple[str, int], dict[Hashable, list[Span]]] = {}
    for one in results:
        for number in range(responses_of(one.item)):
            lengths[one.artifact, number] = len(one.item.responses[number])
            marks.setdefault((one.artifact, number), {})[one.judge] = []
        for span in one.judgment.spans or ():
            found = marks[one.artifact, span["response"]][one.judge]
            found.append(Span(span["start"], span["end"], span["type"]))
    return {key: MarkedText(lengths[key], by, key[0]) for key, by in marks.items()}


def agreed_passages(results: Sequence[Result], least: float = 0.5) -> list[Passage]:
    """The passages that at least this share of an item's raters marked, cut where the raters who marked it change."""
    found = []
    for (artifact, number), text in marked_texts(results).items():
        spans = [(judge, span) for judge, given in text.marks.items() for span in given]
        borders = sorted({border for _, span in spans for border in (span.start, span.end)})
        for start, end in pairwise(borders):
            over = [(judge, span) for judge, span in spans if span.start <= start and end <= span.end]
            judges = {judge for judge, _ in over}
            if judges and len(judges) >= least * len(text.marks):
                types: dict[str, int] = {}
                for _, span in over:
                    types[str(span.type)] = types.get(str(span.type), 0) + 1
                share = wilson(len(judges), len(text.marks))
                found.append(Passage(artifact, number, start, end, share, types))
    return found
