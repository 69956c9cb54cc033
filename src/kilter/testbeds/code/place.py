"""Where in a text a bug is, what a note says of it, and how a specification is laid out."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence
from typing import Any

_COLUMNS = 88


def lines_of(code: str) -> tuple[tuple[int, int], ...]:
    """The lines of a text without their indentation, [start, end) each; empty ones are left out."""
    return tuple(match.span() for match in re.finditer(r"\S.*", code))


def changed(right: str, wrong: str) -> tuple[int, int]:
    """The passage of the wrong text that differs from the right one; where lines are missing, the line before them."""
    before, after = right.splitlines(), wrong.splitlines()
    parts = [part for part in difflib.SequenceMatcher(None, before, after, False).get_opcodes() if part[0] != "equal"]
    first, last = min(part[3] for part in parts), max(part[4] for part in parts)
    if first == last:  # something is missing
        first = max(0, first - 1)
    starts = [0]
    for line in after:
        starts.append(starts[-1] + len(line) + 1)
    indent = len(after[first]) - len(after[first].lstrip())
    last = max(last, first + 1)
    return starts[first] + indent, starts[last] - 1


def should_be(right: str, wrong: str) -> str:
    """What a note says of a bug: which lines, and what should be there."""
    before, after = right.splitlines(), wrong.splitlines()
    parts = [part for part in difflib.SequenceMatcher(None, before, after, False).get_opcodes() if part[0] != "equal"]
    said = []
    for _, low, high, first, last in parts:
        old = "; ".join(f"`{line.strip()}`" for line in before[low:high])
        where = f"line {first + 1}" if last - first <= 1 else f"lines {first + 1} to {last}"
        depths = [len(one[0]) - len(one[0].lstrip()) for one in (before[low:high], after[first:last]) if one]
        same = [line.strip() for line in before[low:high]] == [line.strip() for line in after[first:last]]
        if same and len(depths) == 2:
            said.append(f"{where} should be indented {'more' if depths[0] > depths[1] else 'less'}")
        elif low == high:
            said.append(f"{where} should not be there")
        elif first == last:
            said.append(f"after line {first} {old} is missing")
        else:
            said.append(f"{where} should read {old}")
    text = ", and ".join(said)
    return text[:1].upper() + text[1:] + "."


def call(name: str, arguments: Sequence[Any]) -> str:
    """A call as one writes it."""
    return f"{name}({', '.join(map(repr, arguments))})"


def docstring(
    head: str, spec: str, places: dict[str, tuple[int, int]], examples: Sequence[tuple[str, str]]
) -> tuple[str, dict[str, tuple[int, int]]]:
    """The head of a function with its docstring, and where the passages of its specification are, [start, end)."""
    text, moved, column = f'{head}\n    """', [], 7
    for word in re.finditer(r"\S+|\s+", spec):
        following = re.match(r"\S*", spec[word.end() :])
        if word[0].isspace() and column + 1 + len(following[0] if following else "") > _COLUMNS:
            moved += [len(text)] * len(word[0])
            text, column = f"{text}\n    ", 4
            continue
        moved += range(len(text), len(text) + len(word[0]))
        text, column = text + word[0], column + len(word[0])
    moved.append(len(text))
    text += "\n"
    for asked, got in examples:
        text += f"\n    >>> {asked}\n    {got}"
    return f'{text}\n    """\n', {
        key: (moved[start], moved[end]) for key, (start, end) in places.items() if start < end
    }
