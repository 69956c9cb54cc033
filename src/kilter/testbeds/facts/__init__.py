"""A made-up world's encyclopedia: articles, questions with known answers, and answers with planted flaws.

`generate` makes cases; `grow`, `full`, `cut` and `questions` are a plain API for debate, sandwiching and lie
detection, where a judge sees less than the experts. `load_statements` reads true and false statements of real data.
"""

from __future__ import annotations

from kilter.testbeds.facts.articles import View, cut, full
from kilter.testbeds.facts.generate import TYPES, generate, judge_view
from kilter.testbeds.facts.grow import grow
from kilter.testbeds.facts.questions import KINDS, UNKNOWN, Question, questions
from kilter.testbeds.facts.statements import load_statements

__all__ = [
    "KINDS",
    "TYPES",
    "UNKNOWN",
    "Question",
    "View",
    "cut",
    "full",
    "generate",
    "grow",
    "judge_view",
    "load_statements",
    "questions",
]
