"""A prompted judge: any OpenAI-compatible chat address is asked to rank responses, in both orders.

Models favor what they see first or last (arXiv 2306.05685, section 3.3), so each comparison is shown in an order drawn
by its content and in the reverse one. Where the two verdicts name different winners, it is a tie.
"""

from __future__ import annotations

import random
import re
import string
from collections.abc import Sequence
from importlib import resources
from typing import ClassVar, Literal

from kilter.errors import ModelError
from kilter.judges.protocol import Candidate, Comparison, Opinion
from kilter.models.chat import ChatModel
from kilter.record import Principal

LETTERS = "ABCDEFGHI"
_RANKING = re.compile(r"^\W*ranking\W*:\W*(.+)$", re.IGNORECASE | re.MULTILINE)

Verdict = tuple[int, ...] | None
"""Places in the shown order, best first; empty for a tie; None for an answer that names no ranking."""


class PromptedJudge:
    """Ranks responses by asking a chat model behind an address.

    Args:
        address, key, timeout: see `kilter.models.Endpoint`.
        model: the server's name for the model; None takes the first it lists.
        max_tokens: longest answer.
        max_unreadable: the share of answers without a ranking beyond which a batch is refused; below it such an answer
            makes its comparison a tie.

    Attributes:
        name: "prompted/" and the model, as the record keeps it.
        unreadable: share of the last batch's answers that named no ranking.

    Raises:
        ServerError: the server does not answer, or lists no model.
    """

    principal: ClassVar[Principal] = "model"

    def __init__(
        self, address: str, model: str | None = None, *, key: str | None = None, timeout: float = 600.0,
        max_tokens: int = 512, max_unreadable: float = 0.2,
    ) -> None:  # fmt: skip
        self._chat = ChatModel(address, model, key=key, timeout=timeout, max_tokens=max_tokens)
        self._max_unreadable = max_unreadable
        self.name = f"prompted/{self._chat.model}"
        self.unreadable = 0.0

    def judge(self, comparisons: Sequence[Comparison], seed: int) -> list[Opinion]:
        """One opinion per comparison; more than two responses are ranked by the sum of their two places.

        Raises:
            ModelError: too many answers name no ranking.
            ServerError: the server does not answer, or not what was asked for.
        """
        orders = [self._order(one, seed) for one in comparisons]
        both = zip(comparisons, orders, strict=True)
        shown = [(one, way) for one, order in both for way in (order, tuple(reversed(order)))]
        answers = self._chat.ask_all(lambda each: self._chat.answer(question(*each), seed), shown)
        verdicts = [read_ranking(text, len(order)) for text, (_, order) in zip(answers, shown, strict=True)]
        self._require_readable(verdicts, answers)
        rankings = [in_given_order(verdict, order) for verdict, (_, order) in zip(verdicts, shown, strict=True)]
        return [
            Opinion(agreed(*rankings[2 * number : 2 * number + 2]), side_shown=order, seed=seed)
            for number, order in enumerate(orders)
        ]

    def close(self) -> None:
        """Close the connections."""
        self._chat.close()

    def _order(self, comparison: Comparison, seed: int) -> tuple[int, ...]:
        order = list(range(len(comparison.responses)))
        random.Random(f"{self.name}/{seed}/{comparison.key}").shuffle(order)
        return tuple(order)

    def _require_readable(self, verdicts: Sequence[Verdict], answers: Sequence[str]) -> None:
        odd = [text for verdict, text in zip(verdicts, answers, strict=True) if verdict is None]
        self.unreadable = len(odd) / len(answers) if answers else 0.0
        if self.unreadable > self._max_unreadable:
            raise ModelError(
                f"{self.name} named no ranking in {len(odd)} of {len(answers)} answers, such as {odd[0][-80:]!r}. It "
                "should end with a line like 'Ranking: B > A'; choose a more capable model, or let it write more."
            )


def question(comparison: Comparison, order: Sequence[int]) -> str:
    """What the judge is asked, with the responses in this order; nobody can forge the marks, which hash the content."""
    template = string.Template(resources.files("kilter.judges").joinpath("prompts/rank.md").read_text("utf-8"))
    mark = comparison.key[:12]
    shown = [_shown(comparison.responses[index], letter, mark) for letter, index in zip(LETTERS, order, strict=False)]
    return template.substitute(
        count=len(order), mark=mark, prompt=comparison.prompt, responses="\n\n".join(shown),
        example=" > ".join(reversed(LETTERS[: len(order)])),
    )  # fmt: skip


def read_ranking(answer: str, count: int) -> Verdict:
    """The ranking that an answer ends with; for two responses the better one's letter alone will do."""
    lines = _RANKING.findall(answer) or answer.strip().splitlines()[-1:]
    text = lines[-1] if lines else ""
    if re.fullmatch(r"\W*tie\W*", text, re.IGNORECASE):
        return ()
    words = re.findall(r"\w+", text.upper())
    places = tuple(LETTERS.index(word) for word in words if len(word) == 1 and word in LETTERS[:count])
    if len(places) < len(words):  # not a ranking, but a sentence
        return None
    if count == 2 and len(places) == 1:
        return (places[0], 1 - places[0])
    return places if sorted(places) == list(range(count)) else None


def in_given_order(verdict: Verdict, order: Sequence[int]) -> Verdict:
    """A verdict on places as one on the comparison's own indices."""
    return None if verdict is None else tuple(order[place] for place in verdict)


def agreed(one: Verdict, other: Verdict) -> int | tuple[int, ...] | Literal["tie"]:
    """The value of an `Opinion`: what both verdicts say, or "tie" where they name different winners or either none."""
    if not one or not other or one[0] != other[0]:
        return "tie"
    # sorted is stable: where the sums are equal the first verdict decides
    ranking = tuple(sorted(one, key=lambda index: one.index(index) + other.index(index)))
    return ranking[0] if len(ranking) == 2 else ranking


def _shown(response: Candidate, letter: str, mark: str) -> str:
    cut = "" if response.finished else "\n[The response was cut off here.]"
    return f"<response {letter} {mark}>\n{response.text}{cut}\n</response {letter} {mark}>"
