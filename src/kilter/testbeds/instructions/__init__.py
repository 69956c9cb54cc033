"""Short writing instructions whose intent, said and unsaid, a program can check.

`generate` makes prompts with demonstrations, `gold_score` judges any reply to them. Topics and wording of the
test split never occur in the train split, so that what is learned must generalize.
"""

from __future__ import annotations

from kilter.testbeds.instructions.checks import Check, kinds
from kilter.testbeds.instructions.generate import generate
from kilter.testbeds.instructions.gold import GoldScore, combine, gold_score
from kilter.testbeds.instructions.instruction import Instruction
from kilter.testbeds.instructions.spoil import spoil

__all__ = ["Check", "GoldScore", "Instruction", "combine", "generate", "gold_score", "kinds", "spoil"]
