"""Prompted models as critics and as raters: both are asked which passages are wrong, in numbered units."""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass
from importlib import resources

from kilter.errors import ModelError
from kilter.models.chat import ChatModel
from kilter.oversight.assistance import Assistance, Claim, claim_at
from kilter.oversight.findings import Mark
from kilter.oversight.sight import View, seen_source
from kilter.oversight.simulated_rater import Review
from kilter.record import sha256
from kilter.testbeds import Case

_LINE = re.compile(r"^\W*(\d+)\s*\|\s*([^|]+?)\s*(?:\|\s*(.*))?$")
_CLEAN = re.compile(r"^\W*none\W*$", re.IGNORECASE)


@dataclass(frozen=True)
class Problem:
    """One line of an answer: the passage's number from 0, the kind of problem, and the reason."""

    unit: int
    type: str
    reason: str


class PromptedCritic:
    """Asks a chat model for the problems of a case.

    Attributes:
        name: "prompted/" and the model, as on the record.
    """

    def __init__(self, chat: ChatModel, types: Sequence[str], max_unreadable: float = 0.2) -> None:
        self._chat, self._types, self._max_unreadable = chat, tuple(types), max_unreadable
        self.name = f"prompted/{chat.model}"

    def criticize_all(self, cases: Sequence[Case], seed: int) -> list[Assistance]:
        """Claims about each case; an answer that cannot be read gives none, and says so.

        Raises:
            ModelError: more answers than `max_unreadable` cannot be read.
            ServerError: the server does not answer, or not what was asked for.
        """
        answers = self._chat.ask_all(lambda case: self._chat.answer(question(case, self._types), seed), cases)
        found = [read_problems(text, case, self._types) for text, case in zip(answers, cases, strict=True)]
        require_readable(self.name, answers, found, self._max_unreadable)
        return [
            Assistance("critiques", self.name, tuple(_claim(case, one) for one in problems or ()), problems is not None)
            for case, problems in zip(cases, found, strict=True)
        ]


class PromptedRater:
    """A chat model that judges a case alone, and once more with what a critic says of it.

    Args:
        types: kinds of flaw that it may name.
        view: what it sees of the source.

    Attributes:
        name: "prompted/" and the model, as on the record.
    """

    def __init__(
        self, chat: ChatModel, types: Sequence[str], temperature: float, view: View = "expert"
    ) -> None:  # fmt: skip
        self._chat, self._types, self._temperature, self._view = chat, tuple(types), temperature, view
        self.name = f"prompted/{chat.model}"

    def review(self, case: Case, help_: Assistance, seed: int) -> Review | None:
        """The marks before and after help, or None where an answer cannot be read. Effort is in questions asked.

        Raises:
            ServerError: the server does not answer, or not what was asked for.
        """
        first = self._ask(question(case, self._types, view=self._view), case, seed)
        if first is None:
            return None
        second = self._ask(question(case, self._types, shown_help(help_, first), self._view), case, seed + 1)
        if second is None:
            return None
        marks = [_mark(case, one) for one in second]
        followed: list[bool | None] = [_went_along(claim, marks) for claim in help_.claims]
        return Review([_mark(case, one) for one in first], marks, followed, 2.0)

    def _ask(self, text: str, case: Case, seed: int) -> list[Problem] | None:
        return read_problems(self._chat.answer(text, seed, temperature=self._temperature), case, self._types)


def question(case: Case, types: Sequence[str], help_: str = "", view: View = "expert") -> str:
    """What a model is asked about a case; the marks hash the content, so that no text can forge them."""
    source = seen_source(case, view)
    template = string.Template(resources.files("kilter.oversight").joinpath("prompts/problems.md").read_text("utf-8"))
    units = "\n".join(f"{number}. {case.response[start:end]}" for number, (start, end) in enumerate(case.units, 1))
    mark = sha256(f"{source}\n{case.response}".encode())[:12]
    return template.substitute(
        task=case.task, source=source, units=units, mark=mark, help=help_, types=", ".join(types),
        example=types[0],
    )  # fmt: skip


def shown_help(help_: Assistance, first: Sequence[Problem]) -> str:
    """The rater's own first answer and the critic's claims, to be read before the second answer."""
    own = "\n".join(f"{one.unit + 1} | {one.type} | {one.reason}" for one in first) or "none"
    parts = [f"You have said before:\n\n{own}\n"]
    if help_.claims:
        claims = "\n".join(f'- "{one.quote}" is {one.verdict}: {one.text}' for one in help_.claims)
        parts.append(f"A critic, who may be mistaken, says of the answer:\n\n{claims}\n\nCheck what the critic says.\n")
    parts.append("Look once more and give your final answer.\n\n")
    return "\n".join(parts)


def read_problems(answer: str, case: Case, types: Sequence[str]) -> list[Problem] | None:
    """The problems that an answer names, each passage once; None where it can be read as neither problems nor none."""
    lines = [line.strip() for line in answer.strip().splitlines() if line.strip()]
    known = {name.lower().replace("_", " "): name for name in types}
    found: dict[int, Problem] = {}
    for line in lines:
        said = _LINE.match(line)
        if said and 1 <= int(said[1]) <= len(case.units):
            kind = known.get(said[2].strip().lower().replace("_", " "))
            if kind is not None:
                unit = int(said[1]) - 1
                found.setdefault(unit, Problem(unit, kind, (said[3] or "").strip()))
    if found:
        return list(found.values())
    return [] if any(_CLEAN.match(line) for line in lines) else None


def require_readable(name: str, answers: Sequence[str], read: Sequence[object], most: float) -> None:
    """Raises `ModelError` where a larger share than `most` of the answers could not be read."""
    odd = [text for text, one in zip(answers, read, strict=True) if one is None]
    share = len(odd) / len(answers) if answers else 0.0
    if share > most:
        raise ModelError(
            f"{name} said nothing that can be read in {len(odd)} of {len(answers)} answers, such as {odd[0][-80:]!r}. "
            "An answer is lines like '2 | wrong_fact | the reason', or the word none; choose a more capable model, or "
            "let it write more."
        )


def _claim(case: Case, problem: Problem) -> Claim:
    return claim_at(case, *case.units[problem.unit], "wrong", problem.reason or "This is wrong.", problem.type)


def _mark(case: Case, problem: Problem) -> Mark:
    return Mark(*case.units[problem.unit], problem.type)


def _went_along(claim: Claim, marks: Sequence[Mark]) -> bool:
    marked = any(mark.start < claim.end and claim.start < mark.end for mark in marks)
    return marked == (claim.verdict == "wrong")
