from __future__ import annotations

import pytest

from kilter.report import numbers
from kilter.stats import Estimate


@pytest.mark.parametrize(
    ("low", "value", "high", "unit", "signed", "shown", "bracket"),
    [
        (0.6893, 0.7312, 0.7731, "%", False, "73.1%", "[68.9, 77.3]"),
        (0.2, 0.5, 0.8, "%", False, "50%", "[20, 80]"),
        (-0.026, -0.005, 0.016, "%", True, "−0.5 points", "[−2.6, +1.6]"),
        (0.217, 0.2511, 0.285, "", True, "+0.251", "[+0.217, +0.285]"),
        (10.72, 11.34, 11.96, "nats", False, "11.34 nats", "[10.72, 11.96]"),
        (-0.00001, 0.0, 0.2, "", True, "0.00", "[0.00, +0.20]"),
        (12000, 12345, 12700, "tokens", False, "12,345 tokens", "[12,000, 12,700]"),
        (0.3334, 0.3334, 0.3334, "", False, "0.333", ""),
        (42, 42, 42, "steps", False, "42 steps", ""),
    ],
)
def test_as_many_digits_as_the_interval_bears(low, value, high, unit, signed, shown, bracket):
    estimate = Estimate(value, low, high, 10, "x")
    assert numbers.value(estimate, unit, signed=signed) == shown
    assert numbers.interval(estimate, unit, signed=signed) == bracket


@pytest.mark.parametrize(
    ("bare", "unit", "shown"),
    [
        (0.5, "%", "50%"),
        (0, "", "0"),
        (1, "", "1"),
        (0.31, "", "0.31"),
        (-3.5, "", "−3.5"),
        (1e5, "", "100,000"),
    ],
)
def test_bare_numbers(bare, unit, shown):
    assert numbers.number(bare, unit) == shown


@pytest.mark.parametrize(
    ("seconds", "shown"),
    [
        (0.04, "0.0 s"),
        (9.94, "9.9 s"),
        (9.96, "10 s"),
        (59.6, "1 min 00 s"),
        (272, "4 min 32 s"),
        (7500, "2 h 05 min"),
    ],
)
def test_durations(seconds, shown):
    assert numbers.duration(seconds) == shown


def test_amounts():
    assert numbers.prefixed(1.238e15, "FLOP") == "1.24 PFLOP"
    assert numbers.prefixed(12.0, "FLOP") == "12 FLOP"
    assert numbers.memory(3 * 2**29) == "1.5 GiB"
    assert numbers.memory(2**20) == "1 MiB"
