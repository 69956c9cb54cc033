"""A critic that is a language model in this process: each passage of a response is asked about after one reading.

The source and the whole response are the prompt; each passage once more, with "Right." or "Wrong: ..." after it, is a
response that shares it. So one reading of the story teaches, or judges, all its passages; a small model compares what
it reads with the story word by word instead of having to find passage 3 again; the critic can say how sure it is of
each; and how much it dares to say is one threshold (the trade of comprehensiveness against invented flaws that force
sampling makes in CriticGPT, arXiv 2407.00215, section 3.3).
"""

from __future__ import annotations

from collections.abc import Sequence

import torch

from kilter.models import Item, LanguageModel, sample, score
from kilter.oversight.assistance import Assistance, Claim
from kilter.testbeds import Case
from kilter.training.sft import check_lengths

RIGHT, WRONG = "Right.", "Wrong:"


class PassageCritic:
    """Says of each passage how likely it is wrong, and why.

    Args:
        lm: the model; a trained one has its adapter active.
        threshold: the least probability of "wrong" at which a passage is named. Lower ones find more and invent more.
        most: passages that are named at most, the surest first.
        max_new_tokens: longest reason.

    Attributes:
        name: as on the record.
    """

    def __init__(
        self, lm: LanguageModel, *, threshold: float = 0.5, most: int = 3, max_new_tokens: int = 60
    ) -> None:  # fmt: skip
        self._lm, self.threshold, self._most, self._max_new_tokens = lm, threshold, most, max_new_tokens
        self.name = f"passages/{lm.name}"

    def probabilities(self, cases: Sequence[Case]) -> list[list[float]]:
        """P(wrong) of each passage of each case, against "right"; `DataError` where one is too long to be read."""
        both = [_answers(self._lm, case, (RIGHT, WRONG)) for case in cases]
        check_lengths(both, self._lm)
        found = []
        for case, scores in zip(cases, score(self._lm, both), strict=True):
            sums = torch.stack([one.sum() for one in scores.logprobs]).view(len(case.units), 2)
            found.append(torch.softmax(sums.double(), 1)[:, 1].tolist())
        return found

    def criticize_all(self, cases: Sequence[Case], seed: int) -> list[Assistance]:
        """Claims about the passages at or above the threshold, with a reason each, the surest first."""
        named = [self._named(one) for one in self.probabilities(cases)]
        prompts = [
            [*self._lm.encode_prompt(question(case)), *_said(self._lm, case, unit, WRONG)[0]]
            for case, units in zip(cases, named, strict=True)
            for unit, _ in units
        ]
        said = iter(sample(self._lm, prompts, max_new_tokens=self._max_new_tokens, temperature=0.0, seed=seed))
        return [
            Assistance(
                "critiques", self.name, tuple(_claim(case, unit, next(said)[0].text, chance) for unit, chance in units)
            )
            for case, units in zip(cases, named, strict=True)
        ]

    def _named(self, chances: Sequence[float]) -> list[tuple[int, float]]:
        sure = sorted(((chance, unit) for unit, chance in enumerate(chances)), reverse=True)
        return [(unit, chance) for chance, unit in sure[: self._most] if chance >= self.threshold]


def question(case: Case) -> str:
    """What the critic reads before it is asked about passages."""
    return f"{case.source}\n\nAn answer about it:\n{case.response}\n\nIs each passage of the answer right?"


def demonstrations(lm: LanguageModel, cases: Sequence[Case], *, notes: bool = True) -> list[Item]:
    """What `train_sft` learns the critic from: every passage of every case, right or wrong.

    Args:
        notes: with the reference note on what is wrong. A note has many more tokens than a verdict, and takes that
            much more of the loss.
    """
    items = []
    for case in cases:
        wrong = {unit: f" {flaw.type}. {flaw.note}" for flaw in case.flaws for unit in case.units_of(flaw)}
        verdicts = [
            (WRONG + wrong[unit] if notes else WRONG) if unit in wrong else RIGHT for unit in range(len(case.units))
        ]
        said = [_said(lm, case, unit, one, finished=notes) for unit, one in enumerate(verdicts)]
        items.append(_item(lm, case, said))
    return items


def _answers(lm: LanguageModel, case: Case, verdicts: Sequence[str]) -> Item:
    """Every passage with each verdict, one after the other."""
    said = [_said(lm, case, unit, verdict) for unit in range(len(case.units)) for verdict in verdicts]
    return _item(lm, case, said)


Said = tuple[list[int], list[bool]]


def _said(lm: LanguageModel, case: Case, unit: int, verdict: str, finished: bool = False) -> Said:
    """A passage and what is said of it as tokens, and which of them are learned: the passage is given."""
    start, end = case.units[unit]
    opening = lm.encode_response(f"{case.response[start:end]}\n", finished=False)
    rest = lm.encode_response(verdict, finished=finished)
    return [*opening, *rest], [False] * len(opening) + [True] * len(rest)


def _item(lm: LanguageModel, case: Case, said: Sequence[Said]) -> Item:
    return Item(lm.encode_prompt(question(case)), [tokens for tokens, _ in said], [learn for _, learn in said])


def _claim(case: Case, unit: int, said: str, chance: float) -> Claim:
    start, end = case.units[unit]
    kind, _, reason = said.strip().partition(". ")
    return Claim(
        case.response[start:end], start, end, "wrong", reason.strip() or "This is wrong.", kind or None, chance
    )  # fmt: skip
