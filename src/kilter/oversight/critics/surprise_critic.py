"""A critic that nobody told of flaws: it reads the source, then the response, and suspects what surprises it.

What a small model cannot yet say it often knows: a passage that contradicts the source is less likely after it
(BARTScore, arXiv 2106.11520, measures faithfulness so). Surprise is the mean negative log-probability per token of a
passage, after the source and the passages before it; a logistic curve, fitted where the flaws are known, makes a
probability of it. Training is SFT on right responses, after which they surprise less.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from scipy.optimize import minimize

from kilter.errors import DataError, ModelError
from kilter.files import read_text, write_atomically
from kilter.models import Item, LanguageModel, load, score
from kilter.oversight.assistance import Assistance, Claim
from kilter.oversight.critics.quality import flawed_units
from kilter.testbeds import Case
from kilter.training.sft import check_lengths

CURVE = "critic.json"
WINDOW = 6  # tokens that are quoted as the least expected of a passage


@dataclass(frozen=True)
class Curve:
    """P(wrong) of a passage is the logistic function of `slope` times its surprise (nats per token) and `intercept`."""

    slope: float
    intercept: float

    def __call__(self, surprise: float) -> float:
        """P(wrong) at a surprise in nats per token."""
        return float(1 / (1 + np.exp(-self.slope * surprise - self.intercept)))


class SurpriseCritic:
    """Names the passages that surprise it, with the words that it expected least.

    Args:
        lm: the model; a trained one has its adapter active.
        curve: from `fit_curve`, or of a trained critic (`open`).
        threshold: the least probability of "wrong" at which a passage is named. Lower ones find more and invent more.
        most: passages that are named at most, the surest first.

    Attributes:
        name: as on the record.
    """

    def __init__(self, lm: LanguageModel, curve: Curve, *, threshold: float = 0.5, most: int = 3) -> None:
        self._lm, self._curve, self.threshold, self._most = lm, curve, threshold, most
        self.name = f"surprise/{lm.name}"

    @classmethod
    def open(cls, folder: str | Path, *, threshold: float = 0.5, most: int = 3) -> SurpriseCritic:
        """The critic that `save` or `kilter train critic` wrote; raises `ModelError` where there is none."""
        file = Path(folder) / CURVE
        if not file.is_file():
            raise ModelError(
                f"{folder} holds no critic of kind surprise: {CURVE} is missing, which says how much surprise means "
                "that a passage is wrong. 'kilter train critic' fits one to a model."
            )
        try:
            curve = Curve(**json.loads(read_text(file)))
        except (ValueError, TypeError) as error:
            raise ModelError(f"{file} is damaged ({error}); train the critic anew.") from error
        return cls(load(folder), curve, threshold=threshold, most=most)

    def save(self, folder: Path) -> None:
        """Write the curve beside the model in `folder`."""
        write_atomically(folder / CURVE, json.dumps(asdict(self._curve)))

    def probabilities(self, cases: Sequence[Case]) -> list[list[float]]:
        """P(wrong) of each passage of each case."""
        return [[self._curve(_mean(one)) for one in passages] for passages in _surprises(self._lm, cases)]

    def criticize_all(self, cases: Sequence[Case], seed: int = 0) -> list[Assistance]:
        """Claims about the passages at or above the threshold, the surest first; nothing is drawn by `seed`."""
        del seed
        return [
            Assistance("critiques", self.name, tuple(self._claims(case, passages)))
            for case, passages in zip(cases, _surprises(self._lm, cases), strict=True)
        ]

    def _claims(self, case: Case, passages: Sequence[torch.Tensor]) -> list[Claim]:
        chances = sorted(((self._curve(_mean(one)), unit) for unit, one in enumerate(passages)), reverse=True)
        named = [(chance, unit) for chance, unit in chances[: self._most] if chance >= self.threshold]
        pieces = _pieces(self._lm, case)
        return [self._claim(case, unit, chance, pieces[unit], passages[unit]) for chance, unit in named]

    def _claim(self, case: Case, unit: int, chance: float, tokens: list[int], surprise: torch.Tensor) -> Claim:
        start, end = case.units[unit]
        width = min(WINDOW, len(tokens))
        first = int(surprise.unfold(0, width, 1).mean(1).argmax())
        words = self._lm.decode(tokens[first : first + width]).strip()
        reason = f"After the source this was not to be expected, least of all '{words}'."
        return Claim(case.response[start:end], start, end, "wrong", reason, None, chance)


def readings(lm: LanguageModel, cases: Sequence[Case]) -> list[Item]:
    """What `train_sft` learns the critic from: the right response to each task, after its source.

    Raises:
        DataError: no case has a right response.
    """
    right = [case for case in cases if case.correct]
    if not right:
        raise DataError("A critic of this kind learns from right responses, and no case has one.")
    return [Item(_prompt(lm, case), [lm.encode_response(case.correct)]) for case in right]


def fit_curve(lm: LanguageModel, cases: Sequence[Case]) -> Curve:
    """The logistic curve of most likelihood, on cases that the model was not trained on.

    Raises:
        DataError: the cases have no flawed passage, or no right one.
    """
    wrong = require_both(cases)
    surprise = [_mean(one) for passages in _surprises(lm, cases) for one in passages]
    x, sign = np.array(surprise), np.where(wrong, 1.0, -1.0)
    center, width = x.mean(), x.std() or 1.0

    def loss(at: np.ndarray) -> float:
        # a weak prior keeps the slope finite where surprise separates the two altogether
        return float(np.logaddexp(0, -sign * (at[0] * (x - center) / width + at[1])).sum() + 0.01 * at[0] ** 2)

    slope, intercept = minimize(loss, np.zeros(2)).x
    return Curve(float(slope / width), float(intercept - slope * center / width))


def require_both(cases: Sequence[Case]) -> list[bool]:
    """Of each passage of the cases whether it is wrong; raises `DataError` where all are, or none is."""
    wrong = [unit in flawed_units(case) for case in cases for unit in range(len(case.units))]
    if len(set(wrong)) < 2:
        raise DataError(
            "How much surprise means 'wrong' is learned from flawed and right passages, and one kind is missing; give "
            "more cases."
        )
    return wrong


def _surprises(lm: LanguageModel, cases: Sequence[Case]) -> list[list[torch.Tensor]]:
    """Negative log-probabilities of the tokens of each passage of each case; `DataError` where one is too long."""
    pieces = [_pieces(lm, case) for case in cases]
    items = [
        Item(_prompt(lm, case), [[token for piece in each for token in piece]])
        for case, each in zip(cases, pieces, strict=True)
    ]
    check_lengths(items, lm)
    return [
        [-one for one in torch.split(scores.logprobs[0], [len(piece) for piece in each])]
        for scores, each in zip(score(lm, items), pieces, strict=True)
    ]


def _prompt(lm: LanguageModel, case: Case) -> list[int]:
    return lm.encode_prompt(f"{case.source}\n\n{case.task}")


def _pieces(lm: LanguageModel, case: Case) -> list[list[int]]:
    """The tokens of each passage, with what stands between it and the one before."""
    ends = [0, *(end for _, end in case.units)]
    return [lm.encode_response(case.response[before:end], finished=False) for before, end in pairwise(ends)]


def _mean(surprise: torch.Tensor) -> float:
    return float(surprise.mean())
