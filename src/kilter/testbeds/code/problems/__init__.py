"""The problems of the code testbed: 40 structures for train, 16 others for test."""

from __future__ import annotations

from kilter.testbeds.case import Split
from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.held_out_sequences import SEQUENCES
from kilter.testbeds.code.problems.held_out_systems import SYSTEMS
from kilter.testbeds.code.problems.train_lists import LISTS
from kilter.testbeds.code.problems.train_paths import PATHS
from kilter.testbeds.code.problems.train_records import RECORDS
from kilter.testbeds.code.problems.train_text import TEXT

__all__ = ["problems"]


def problems(split: Split) -> tuple[Problem, ...]:
    """The problems of a split; the splits share none, and no name of a function."""
    return (*LISTS, *TEXT, *RECORDS, *PATHS) if split == "train" else (*SEQUENCES, *SYSTEMS)
