"""Problems solved in steps, some of which go wrong at one step and on from there.

`generate` makes cases with a label for every step, in PRM800K's convention; `load_prm800k` and `load_gsm8k` read real
ones. Train and test share no kind of problem.
"""

from __future__ import annotations

from kilter.testbeds.reasoning.generate import KINDS, TYPES, generate
from kilter.testbeds.reasoning.loaders import load_gsm8k, load_prm800k

__all__ = ["KINDS", "TYPES", "generate", "load_gsm8k", "load_prm800k"]
