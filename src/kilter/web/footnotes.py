"""Reasons told below a table, each once, for cells that hold a dash and a number."""

from __future__ import annotations


class Footnotes:
    """Collects the reasons of one page, in the order in which they are needed."""

    def __init__(self) -> None:
        self._numbers: dict[str, int] = {}

    def number(self, reason: str | None) -> int:
        """The number under which a reason stands."""
        return self._numbers.setdefault(reason or "", len(self._numbers) + 1)

    def all(self) -> list[tuple[int, str]]:
        """The reasons so far."""
        return [(number, reason) for reason, number in self._numbers.items()]
