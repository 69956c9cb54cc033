"""What a reader found in a source: items, and what earlier raters said of them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kilter.feedback.readings import Readings, Skipped
from kilter.feedback.tasks import TaskItem
from kilter.record import Principal

Kind = Literal["choice", "ranking", "rating", "words", "labels", "text", "flaws", "steps", "mark"]
"""What an old answer is: "words" may be a label or a text, which many exports do not tell apart."""


@dataclass(frozen=True)
class OldAnswer:
    """One answer of one earlier rater to one question.

    Attributes:
        question: its name in the source.
        kind: what the value is.
        value: as a judgment holds it, responses by the item's own number: of a choice a number, "tie", "both bad" or
            {"better": number, "strength": grade}; of a ranking groups, best first; of a rating a number, or numbers by
            dimension, or a list of such by response; of steps 1, 0 or -1 each; of a mark true or false.
        spans: of flaws, [{"response", "start", "end", "type", ...}], in code points.
        rater: the source's name or number for who answered; empty where it does not say.
        judge: the judge's name on the record, where the source is an export of Kilter's own.
        principal: who stands behind the judge; only Kilter's own exports know of others than humans.
        sides: for each place on screen, the number of the response that stood there, where that is known.
        started: ISO 8601, when the source says so.
        active_ms: milliseconds, when the source says so; most sources measure wall time.
        truth: marked in the source as the right answer.
        where: the place in the source, in words.
    """

    question: str
    kind: Kind
    value: Any
    spans: list[Any] | None = None
    rater: str = ""
    judge: str = ""
    principal: Principal = "human"
    sides: tuple[int, ...] | None = None
    started: str | None = None
    active_ms: int | None = None
    truth: bool = False
    where: str = ""


@dataclass(frozen=True)
class Found:
    """One item, what its responses are called in the source, and what was said of it."""

    item: TaskItem
    names: tuple[str, ...] = ()
    answers: tuple[OldAnswer, ...] = ()
    where: str = ""


@dataclass(frozen=True)
class FoundData(Readings[Found]):
    """Items and old answers as read from one source.

    Attributes:
        form: the source's layout, a key of `FORMS`.
        unused: answers that were left out, with the reason.
        columns: which of the source's columns the prompt and the responses of the first item are.
        notes: what a reader of the summary should know of this source.
    """

    form: str = ""
    unused: Skipped = field(default_factory=Skipped)
    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def contents(self) -> str:
        """How many items, answers and raters."""
        answers = [answer for found in self for answer in found.answers]
        raters = len({answer.rater or answer.judge for answer in answers})
        said = f", {len(answers):,} old answers of {raters:,} raters" if answers else ""
        return f"{len(self):,} items{said}"

    def summary(self) -> str:
        """What was read and what was left out."""
        left = f"; answers left out {self.unused.total:,}: {self.unused.words()}" if self.unused.total else ""
        return super().summary() + left
