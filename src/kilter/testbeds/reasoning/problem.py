"""A problem: its numbers, its words, and how it is solved by hand."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kilter.testbeds.reasoning.pen import Pen


@dataclass(frozen=True)
class Problem:
    """One problem of a kind.

    Attributes:
        kind: its name.
        params: everything that it depends on, as plain data.
        text: its words, from the wordings and a source of randomness.
        solve: writes the steps with a pen and returns the answer that they come to.
    """

    kind: str
    params: dict[str, Any]
    text: Callable[[Any, random.Random], str]
    solve: Callable[[Pen], Any]


def size(difficulty: float) -> int:
    """The largest numbers of a problem: from 20, easy, to 900."""
    return round(20 * math.exp(math.log(45) * difficulty))
