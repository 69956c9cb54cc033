"""Drawing the arguments of calls."""

from __future__ import annotations

import random
from collections.abc import Sequence


def numbers(rng: random.Random, most: int = 7, low: int = -4, high: int = 9, least: int = 0) -> list[int]:
    """A list of whole numbers, rather short, with repetitions likely."""
    return [rng.randint(low, high) for _ in range(rng.randint(least, most))]


def pick(rng: random.Random, choices: Sequence[str], most: int = 6, least: int = 0) -> list[str]:
    """A list of some of the choices, repetitions allowed."""
    return [rng.choice(choices) for _ in range(rng.randint(least, most))]


def text(rng: random.Random, alphabet: str, most: int = 10, least: int = 0) -> str:
    """Characters of an alphabet."""
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(least, most)))


def grid(rng: random.Random, cells: Sequence[object], most: int = 4, least: int = 1) -> list[list[object]]:
    """Rows of the same length."""
    width = rng.randint(least, most)
    return [[rng.choice(cells) for _ in range(width)] for _ in range(rng.randint(least, most))]


def spans(rng: random.Random, most: int = 5, high: int = 12) -> list[list[int]]:
    """Pairs [start, end] with start <= end."""
    return [sorted((rng.randint(0, high), rng.randint(0, high))) for _ in range(rng.randint(0, most))]
