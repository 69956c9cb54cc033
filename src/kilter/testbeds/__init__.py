"""Worlds whose truth is known, so that judges, training and measurements can be scored against it.

`instructions` generates short writing tasks with a gold judge; `plain_text` holds written English
and easy questions. Nothing here imports a model or a trainer.
"""

from __future__ import annotations

from kilter.testbeds.case import Case, Flaw
from kilter.testbeds.catalog import LOADERS, TESTBEDS, as_jsonl, generate, load, read_cases

__all__ = ["LOADERS", "TESTBEDS", "Case", "Flaw", "as_jsonl", "generate", "load", "read_cases"]
