"""The frame of a small plot: ranges, ticks at round numbers, and the mapping to the drawing's units."""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

from markupsafe import Markup, escape

from kilter.report.numbers import MINUS

WIDTH = 340
"""Drawing width. On a phone of 360 px it is shown a little smaller, so text of 12 units stays above 11 px."""

GLYPH = 6.4
"""Mean width of a character of the labels; fonts differ, so leave some air."""

_TOP, _BOTTOM, _RIGHT = 26, 36, 10


@dataclass(frozen=True)
class Frame:
    """Axes over `x` and `y` ranges (low, high), drawn `height` units high."""

    x: tuple[float, float]
    y: tuple[float, float]
    height: int = 230

    @property
    def left(self) -> float:
        """Where the plot begins: room for the widest label of the y axis."""
        return 10 + GLYPH * max(len(label) for label in labels(ticks(*self.y, 5)))

    @property
    def right(self) -> float:
        """Where the plot ends."""
        return WIDTH - _RIGHT

    def at_x(self, value: float) -> float:
        """Horizontal position of `value`."""
        return self.left + (value - self.x[0]) / (self.x[1] - self.x[0]) * (self.right - self.left)

    def at_y(self, value: float) -> float:
        """Vertical position of `value`; the drawing's y runs downwards."""
        bottom = self.height - _BOTTOM
        return bottom - (value - self.y[0]) / (self.y[1] - self.y[0]) * (bottom - _TOP)

    def draw(self, x_label: str, y_label: str) -> Markup:
        """Grid, tick labels and axis names; the y axis is named above it, where it reads without a twist."""
        parts = []
        y_ticks, x_ticks = ticks(*self.y, 5), ticks(*self.x, 5)
        for tick, label in zip(y_ticks, labels(y_ticks), strict=True):
            y = self.at_y(tick)
            parts.append(line(self.left, y, self.right, y, "grid"))
            parts.append(text(self.left - 6, y + 4, label, "tick end"))
        floor = self.height - _BOTTOM
        for tick, label in zip(x_ticks, labels(x_ticks), strict=True):
            x = self.at_x(tick)
            parts.append(line(x, floor, x, floor + 4, "axis"))
            parts.append(text(x, floor + 16, label, "tick middle"))
        parts.append(line(self.left, floor, self.right, floor, "axis"))
        parts.append(text(2, 12, y_label, "name"))
        parts.append(text(self.right, self.height - 4, x_label, "name end"))
        return Markup("").join(parts)


def ticks(low: float, high: float, about: int) -> list[float]:
    """Multiples of 1, 2 or 5 times a power of ten within [low, high], as near as possible to `about`."""
    power = 10.0 ** math.floor(math.log10((high - low) / about))
    found = [_multiples(low, high, unit * power) for unit in (1, 2, 5, 10)]
    return min(found, key=lambda row: abs(len(row) - about))


def _multiples(low: float, high: float, step: float) -> list[float]:
    first, last = math.ceil(low / step - 1e-9), math.floor(high / step + 1e-9)
    return [index * step for index in range(first, last + 1)]


def labels(values: list[float]) -> list[str]:
    """Labels with the decimals that the step needs: thousands as k, millions as M, small ones as 1.5e-5."""
    largest = max(abs(value) for value in values)
    step = min((b - a for a, b in pairwise(values)), default=largest or 1.0)
    size, suffix = _unit(largest)
    decimals = max(0, -math.floor(math.log10(step / size) + 1e-9))
    found = [f"{value / size:.{decimals}f}" for value in values]
    return ["0" if float(text) == 0 else text.replace("-", MINUS) + suffix for text in found]


def _unit(largest: float) -> tuple[float, str]:
    for size, suffix in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if largest >= 10 * size:
            return size, suffix
    if 0 < largest < 1e-3:
        power = math.floor(math.log10(largest) + 1e-9)
        return 10.0**power, f"e{power}".replace("-", MINUS)
    return 1.0, ""


def padded(values: list[float]) -> tuple[float, float]:
    """The range of `values` with a little air; never empty."""
    low, high = min(values), max(values)
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        air = abs(low) * 0.1 or 1.0
        return low - air, high + air
    air = (high - low) * 0.04
    return low - air, high + air


def line(x1: float, y1: float, x2: float, y2: float, kind: str) -> Markup:
    """A straight line of CSS class `kind`."""
    return Markup('<line class="{}" x1="{:.1f}" y1="{:.1f}" x2="{:.1f}" y2="{:.1f}"/>').format(kind, x1, y1, x2, y2)


def text(x: float, y: float, words: str, kind: str) -> Markup:
    """Words at a point, escaped, of CSS class `kind`."""
    return Markup('<text class="{}" x="{:.1f}" y="{:.1f}">{}</text>').format(kind, x, y, escape(words))
