"""Experiments on help: what a critic says of a response, by arm, shown only to who has answered alone."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, Literal, Self, get_args

from pydantic import Field, model_validator

from kilter.errors import DataError
from kilter.settings import Settings, nearest

NO_HELP = "none"
"""The arm whose raters look a second time without help."""
MOST_CLAIMS = 100
"""Of one arm about one item."""
Verdict = Literal["wrong", "fine"]
_COLUMNS = ("quote", "start", "end", "verdict", "text", "type", "probability", "artifact")


class Help(Settings):
    """An experiment on help: raters answer alone, see the help of their arm, and answer again."""

    arms: tuple[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]*$", max_length=40)], ...] = Field(
        min_length=1, max_length=20, description="Arms, dealt in turn to raters and items; 'none' is a second look."
    )

    @model_validator(mode="after")
    def _different(self) -> Self:
        if len(set(self.arms)) < len(self.arms):
            raise ValueError("two arms are the same")
        return self


@dataclass(frozen=True)
class HelpClaim:
    """One thing that a critic says of a passage of a response.

    Attributes:
        quote: the passage, as it stands in the text that the critic read.
        start, end: where, [start, end) in Unicode code points.
        verdict: "wrong", or "fine" where the critic vouches for it.
        text: the reason.
        type: of the flaw, where the critic names one.
        probability: how sure the critic is; kept for the analysis, never shown.
        artifact: id on the record; None where adding the item is to record it.
    """

    quote: str
    start: int
    end: int
    verdict: Verdict
    text: str
    type: str | None = None
    probability: float | None = None
    artifact: str | None = None

    def body(self) -> dict[str, Any]:
        """The artifact's body."""
        return {name: value for name, value in asdict(self).items() if name != "artifact"}

    def applies_to(self, response: str) -> bool:
        """Whether the passage is in this response at all."""
        return response[self.start : self.end] == self.quote


Claims = Mapping[str, tuple[HelpClaim, ...]]
"""The claims of each arm, in the order in which the critic made them."""


def read_help(given: Any, where: str) -> dict[str, tuple[HelpClaim, ...]]:
    """Claims by arm from the column `help` of an item; raises `DataError`, naming `where`."""
    if not isinstance(given, dict) or not all(isinstance(one, list) for one in given.values()):
        raise DataError(f"{where}: help is an object, {{arm: [claim, ...]}}.")
    return {str(arm): _claims(several, f"{where}, help of the arm '{arm}'") for arm, several in given.items()}


def kept_help(kept: Mapping[str, Sequence[Mapping[str, Any]]]) -> dict[str, tuple[HelpClaim, ...]]:
    """What was kept of checked claims, as JSON, read back."""
    return {arm: tuple(HelpClaim(**one) for one in several) for arm, several in kept.items()}


def with_artifacts(claims: Claims, fresh: Iterator[str]) -> dict[str, tuple[HelpClaim, ...]]:
    """The claims, each with an artifact: those that have none take the next id."""
    return {
        arm: tuple(one if one.artifact else replace(one, artifact=next(fresh)) for one in several)
        for arm, several in claims.items()
    }


def _claims(several: Sequence[Any], where: str) -> tuple[HelpClaim, ...]:
    if len(several) > MOST_CLAIMS:
        raise DataError(f"{where}: {len(several)} claims are more than a page can show; at most {MOST_CLAIMS}.")
    return tuple(_claim(one, f"{where}, claim {number}") for number, one in enumerate(several, 1))


def _claim(one: Any, where: str) -> HelpClaim:
    if not isinstance(one, dict):
        raise DataError(f"{where} is no claim: it needs quote, start, end, verdict and text.")
    for name in one:
        if name not in _COLUMNS:
            raise DataError(f"{where}: '{name}' is nothing that a claim has: {nearest(str(name), _COLUMNS)}")
    quote, start, end = one.get("quote"), one.get("start"), one.get("end")
    if not isinstance(quote, str) or type(start) is not int or type(end) is not int:
        raise DataError(f"{where}: a claim says where its passage is: quote (a text), start and end (whole numbers).")
    if start < 0 or not quote or end - start != len(quote):
        raise DataError(f"{where}: the quote has {len(quote)} characters, but stands from {start} to {end}.")
    text, kind = one.get("text"), one.get("type")
    if not isinstance(text, str) or not text.strip() or not isinstance(kind, str | None):
        raise DataError(f"{where}: a claim has a text that is not empty, and a type that is a text, if it has one.")
    verdict = next((known for known in get_args(Verdict) if known == one.get("verdict")), None)
    if verdict is None:
        given = str(one.get("verdict"))
        raise DataError(f"{where}: the verdict is '{given:.40}': {nearest(given, get_args(Verdict))}")
    sure, artifact = one.get("probability"), one.get("artifact")
    if sure is not None and (isinstance(sure, bool) or not isinstance(sure, int | float) or not 0 <= sure <= 1):
        raise DataError(f"{where}: the probability {sure!r:.40} does not lie between 0 and 1.")
    if artifact is not None and not re.fullmatch(r"[0-9a-f]{64}", str(artifact)):
        raise DataError(f"{where}: the artifact {artifact!r:.40} is no id of the record (64 hexadecimal digits).")
    return HelpClaim(quote, start, end, verdict, text, kind, None if sure is None else float(sure), artifact)
