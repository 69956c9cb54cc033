"""What can be told about a response without looking at what it is about: the check every testbed must pass.

A testbed is worth something only if flawed and correct responses cannot be told apart by their length or by their
words alone. Two logistic regressions try to: one sees the number of words and characters, one the words. Each pair of
a flawed response and the correct one to the same task gives one example of either kind, so that chance is one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from kilter.errors import DataError
from kilter.stats import Estimate, rate
from kilter.testbeds.case import Case

_FOLDS = 5
_LEAST = 20  # pairs below which the regressions have nothing to learn from


def shortcuts(cases: Sequence[Case], held_out: Sequence[Case] | None = None, *, seed: int = 0) -> dict[str, Estimate]:
    """Accuracy of the "length" and the "words" baseline at telling flawed from correct responses.

    Trained on `cases` and tested on `held_out`; without it, cross-validated in five folds. Only cases with flaws and a
    correct response beside them count: each is a pair of the two, which stay in one fold. The intervals resample pairs.

    Raises `DataError` for fewer than 20 pairs.
    """
    train = [case for case in cases if case.flaws and case.correct]
    test = None if held_out is None else [case for case in held_out if case.flaws and case.correct]
    for pairs in (train, *([] if test is None else [test])):
        if len(pairs) < _LEAST:
            raise DataError(
                f"A check for shortcuts needs at least {_LEAST} cases with flaws, not {len(pairs)}, each with "
                "a correct response beside it; give more, or a larger share with flaws."
            )
    return {name: _accuracy(name, train, test, seed) for name in ("length", "words")}


def _accuracy(name: str, train: list[Case], test: list[Case] | None, seed: int) -> Estimate:
    if test is not None:
        return _rate(name, _right(name, train, test), "held out")
    order = np.random.default_rng(seed).permutation(len(train))
    right: list[float] = []
    for fold in np.array_split(order, _FOLDS):
        inside = set(fold.tolist())
        rest = [case for index, case in enumerate(train) if index not in inside]
        right += _right(name, rest, [train[index] for index in sorted(inside)])
    return _rate(name, right, f"{_FOLDS}-fold")


def _rate(name: str, right: list[float], how: str) -> Estimate:
    found = rate(right, clusters=[index // 2 for index in range(len(right))])
    return Estimate(found.value, found.low, found.high, found.n, f"{name}, logistic, {how}, {found.method}")


def _right(name: str, train: list[Case], test: list[Case]) -> list[float]:
    """One where the regression is right, for the flawed and the correct response of each test pair in turn."""
    model = _model(name)
    model.fit(_texts(train), _labels(train))
    return [float(said == is_) for said, is_ in zip(model.predict(_texts(test)), _labels(test), strict=True)]


def _texts(cases: list[Case]) -> list[str]:
    return [text for case in cases for text in (case.response, case.correct)]


def _labels(cases: list[Case]) -> list[int]:
    return [1, 0] * len(cases)


def _model(name: str) -> Any:
    from sklearn.feature_extraction.text import CountVectorizer
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer, MaxAbsScaler, StandardScaler

    if name == "length":
        return make_pipeline(FunctionTransformer(_lengths), StandardScaler(), LogisticRegression())
    counts = CountVectorizer(token_pattern=r"(?u)\S+", lowercase=True)
    return make_pipeline(counts, MaxAbsScaler(), LogisticRegression(max_iter=500))


def _lengths(texts: Sequence[str]) -> Any:
    return np.array([[len(text.split()), len(text)] for text in texts], dtype=float)
