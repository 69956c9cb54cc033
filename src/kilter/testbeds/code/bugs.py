"""The types of bugs, and how a note speaks of each."""

from __future__ import annotations

from kilter.testbeds.case import Split

_SAID = {
    "boundary": (
        "A value at the boundary is treated the wrong way.",
        "The limit itself falls on the wrong side.",
    ),
    "missing_case": (
        "A case that needs its own treatment gets another one.",
        "One of the cases is not handled as it should be.",
    ),
    "tie": ("Equal candidates are resolved the wrong way.", "Where several are equal the wrong one is taken."),
    "wrong_variable": ("The wrong quantity is used here.", "This works with another variable than it should."),
    "aliasing": (
        "It is confused here whether the caller's own object is worked on or a copy.",
        "The data of the caller and a copy of it are mixed up.",
    ),
    "stale_state": (
        "A state is kept or reset when it should not be.",
        "What is remembered from one step to the next is wrong.",
    ),
    "early_exit": ("It stops at the wrong moment.", "The loop or the function ends at the wrong point."),
    "wrong_default": (
        "The value to begin with or to fall back on is wrong.",
        "A wrong initial or default value is used.",
    ),
    "division": ("The quotient is rounded the wrong way.", "Whole-number and exact division are confused."),
    "precedence": ("The terms are grouped the wrong way.", "The operations apply to the wrong operands."),
    "swallowed_error": (
        "Input that cannot be used is dealt with the wrong way.",
        "What is invalid does not have the consequence it should.",
    ),
    "wrong_order": (
        "The steps are done in the wrong order.",
        "One thing is done before the other that should come first.",
    ),
}

TYPES = tuple(_SAID)


def said(type: str, split: Split) -> str:
    """What is wrong with bugs of a type, in one sentence; the splits say it in different words."""
    return _SAID[type][split == "test"]
