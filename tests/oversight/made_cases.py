"""Cases made of numbered words: which of them are wrong is known without reading."""

from __future__ import annotations

from collections.abc import Sequence

from kilter.testbeds import Case, Flaw

WIDTH = 10


def made_case(number: int = 0, wrong: Sequence[int] = (1, 4), units: int = 8) -> Case:
    """A response of `units` parts of ten characters, those in `wrong` with a flaw of type "odd" or "even"."""
    correct = "".join(f"c{number:04}u{unit:02}. " for unit in range(units))
    response = "".join(
        f"x{number:04}u{unit:02}. " if unit in wrong else f"c{number:04}u{unit:02}. " for unit in range(units)
    )
    flaws = tuple(
        Flaw(WIDTH * unit, WIDTH * unit + 8, "odd" if unit % 2 else "even", "major", f"Part {unit} begins with x.")
        for unit in sorted(wrong)
    )
    return Case(
        "made", f"s{number}", "test", 0.5, "Copy it.", correct, response, flaws, correct,
        tuple((WIDTH * unit, WIDTH * unit + 9) for unit in range(units)),
    )  # fmt: skip
