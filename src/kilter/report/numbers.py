"""How the report writes numbers: as many digits as the interval bears, and units that people read."""

from __future__ import annotations

import math

from kilter.stats import Estimate

MINUS = "\N{MINUS SIGN}"
_PREFIXES = ((1e18, "E"), (1e15, "P"), (1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"))


def value(estimate: Estimate, unit: str = "", *, signed: bool = False) -> str:
    """The value with its unit: `73.1%`, `+0.36`, `0.42 nats`."""
    text = plain(estimate.value * _scale(unit), _decimals(estimate, unit), signed=signed)
    return text + (_suffix(unit, signed) if unit else "")


def interval(estimate: Estimate, unit: str = "", *, signed: bool = False) -> str:
    """The interval in brackets, in the unit of `value`; empty for an exact figure."""
    if estimate.low == estimate.high:
        return ""
    places = _decimals(estimate, unit)
    low, high = (plain(bound * _scale(unit), places, signed=signed) for bound in (estimate.low, estimate.high))
    return f"[{low}, {high}]"


def number(bare: float, unit: str = "") -> str:
    """A number without an interval, to three significant digits: a score, a bound, the end of a scale."""
    scaled = bare * _scale(unit)
    text = plain(scaled, _significant(scaled)) if scaled else "0"
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return text + (_suffix(unit, False) if unit else "")


def plain(bare: float, decimals: int, *, signed: bool = False) -> str:
    """Fixed decimals, thousands set apart, a true minus sign, and no negative zero."""
    text = f"{abs(bare):,.{decimals}f}"
    zero = not any(digit in text for digit in "123456789")
    sign = "" if zero else MINUS if bare < 0 else "+" if signed else ""
    return sign + text


def duration(seconds: float) -> str:
    """`0.4 s`, `42 s`, `4 min 32 s`, `2 h 05 min`."""
    if seconds < 9.95:
        return f"{seconds:.1f} s"
    whole = round(seconds)
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60:02d} s"
    return f"{whole // 3600} h {whole % 3600 // 60:02d} min"


def prefixed(amount: float, unit: str) -> str:
    """A large amount with a decimal prefix: `1.24 PFLOP`."""
    for size, prefix in _PREFIXES:
        if amount >= size:
            return f"{amount / size:.3g} {prefix}{unit}"
    return f"{amount:.3g} {unit}"


def memory(size: int) -> str:
    """Bytes in binary units: `1.9 GiB`, `512 MiB`."""
    return f"{size / 2**30:.1f} GiB" if size >= 2**30 else f"{size / 2**20:.0f} MiB"


def _scale(unit: str) -> float:
    return 100.0 if unit == "%" else 1.0


def _suffix(unit: str, signed: bool) -> str:
    if unit == "%":
        return " points" if signed else "%"
    return f" {unit}"


def _decimals(estimate: Estimate, unit: str) -> int:
    """Two significant digits of half the interval's width; more would be noise."""
    half = (estimate.high - estimate.low) / 2 * _scale(unit)
    if half <= 0:
        return _significant(estimate.value * _scale(unit))
    return min(4, max(0, 1 - math.floor(math.log10(half))))


def _significant(bare: float) -> int:
    if bare == 0 or bare == round(bare):
        return 0
    return min(6, max(0, 2 - math.floor(math.log10(abs(bare)))))
