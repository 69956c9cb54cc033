"""Python functions with a docstring, correct and with bugs that some of the hidden tests find.

`generate` makes cases from 40 problems for train and 16 others for test, each with its specification in many variants;
`load_humaneval`, `load_mbpp` and `load_bugs` make cases of real problems. Everything is verified by running it.
"""

from __future__ import annotations

from kilter.testbeds.code.bugs import TYPES
from kilter.testbeds.code.generate import generate
from kilter.testbeds.code.load import load_bugs, load_humaneval, load_mbpp

__all__ = ["TYPES", "generate", "load_bugs", "load_humaneval", "load_mbpp"]
