"""Algorithms on one or two numbers: the greatest common divisor, and writing numbers in another base."""

from __future__ import annotations

import random
from typing import Any

from kilter.testbeds.reasoning.pen import Pen
from kilter.testbeds.reasoning.problem import Problem, size

# As often 1 as after a slip: most pairs of numbers have no common divisor, but a slip must change the answer.
_DIVISORS = (1, 1, 1, 1, 2, 2, 2, 3, 4, 5)


def gcd(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """Euclid's algorithm by division with remainder."""
    top, divisor = 20 + size(difficulty), rng.choice(_DIVISORS)
    wanted, best = min(steps, 7), (0, 0, -99)
    for _ in range(60):
        b = divisor * rng.randint(2 + top // (4 * divisor), 2 + top // divisor)
        a = b + divisor * rng.randint(1, 2 + 3 * top // divisor)
        count, pair = 0, (a, b)
        while pair[1]:
            count, pair = count + 1, (pair[1], pair[0] % pair[1])
        if pair[0] == divisor and abs(count - wanted) < abs(best[2] - wanted):
            best = (a, b, count)
    if not best[0]:
        return gcd(rng, steps, difficulty)
    a, b, _ = best

    def text(wordings: Any, words: random.Random) -> str:
        return str(words.choice(wordings["gcd_ask"])).format(a=a, b=b)

    def solve(pen: Pen) -> Any:
        pen.remark("gcd_aside")
        first, second = a, b
        while second:
            done = _divide(pen, "gcd", first, second, copied=first != a)
            first, second = done[2], done[3]
        return pen.answer(first)

    return Problem("gcd", {"a": a, "b": b}, text, solve)


def _divide(pen: Pen, line: str, a: int, b: int, copied: bool) -> list[int]:
    """Write "a = q * b + r" and return [a, q, b, r]."""
    right = [a, a // b, b, a % b]
    near = pen.near(a, low=b) if copied else []
    wrong = {
        "arithmetic_slip": [[a, a // b, b, slip] for slip in pen.near(a % b, low=0, high=b - 1)],
        "wrong_copy": [[one, one // b, b, one % b] for one in near],
    }
    return pen.write(right, lambda data: pen.line(line, **dict(zip("aqbr", data, strict=True))), wrong)


def to_base(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """A number in another base, by dividing again and again."""
    base = rng.choice([2, 3, 4, 5, 6, 7])
    digits = max(3, min(steps, 4 + round(5 * difficulty)))
    number = rng.randint(base ** (digits - 1), base**digits - 1)

    def text(wordings: Any, words: random.Random) -> str:
        return str(words.choice(wordings["base_ask"])).format(number=number, base=base)

    def solve(pen: Pen) -> Any:
        pen.remark("base_aside", base=base)
        left, found = number, ""
        while left:
            _, left, _, digit = _quotient(pen, left, base, copied=left != number)
            found = f"{digit}{found}"
        return pen.answer(found, near=False)

    return Problem("to_base", {"number": number, "base": base}, text, solve)


def _quotient(pen: Pen, a: int, b: int, copied: bool) -> list[int]:
    """Like `_divide`, but a slip may be in the quotient, with which one goes on, or in the remainder."""
    right = [a, a // b, b, a % b]
    slips = [[a, one, b, a % b] for one in pen.near(a // b, low=0, high=a - 1)]
    slips += [[a, a // b, b, one] for one in pen.near(a % b, low=0, high=b - 1)]
    near = pen.near(a, low=1) if copied else []
    wrong = {"arithmetic_slip": slips, "wrong_copy": [[one, one // b, b, one % b] for one in near]}
    return pen.write(right, lambda data: pen.line("base", **dict(zip("aqbr", data, strict=True))), wrong)


def from_base(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """The value of digits in another base, from the left (Horner's rule)."""
    base = rng.choice([2, 3, 4, 5, 6, 8, 9] if difficulty < 0.5 else [3, 4, 5, 6, 7, 8, 9])
    digits = [rng.randint(1, base - 1), *(rng.randrange(base) for _ in range(max(2, steps)))]

    def text(wordings: Any, words: random.Random) -> str:
        return str(words.choice(wordings["horner_ask"])).format(digits="".join(map(str, digits)), base=base)

    def solve(pen: Pen) -> Any:
        pen.remark("horner_aside")
        value = digits[0]
        for index, digit in pen.cases(list(enumerate(digits[1:]))):
            value = _horner(pen, value, base, digit, copied=index > 0)
        return pen.answer(value)

    return Problem("from_base", {"digits": digits, "base": base}, text, solve)


def _horner(pen: Pen, value: int, base: int, digit: int, copied: bool) -> int:
    right = [value, base, digit, value * base + digit]
    near = pen.near(value) if copied else []
    wrong = {
        "arithmetic_slip": [[value, base, digit, slip] for slip in pen.near(right[3])],
        "wrong_copy": [[one, base, digit, one * base + digit] for one in near],
        "wrong_operand": [[value, base, one, value * base + one] for one in range(base) if one != digit],
    }
    return pen.write(right, lambda data: pen.line("horner", **dict(zip("abdr", data, strict=True))), wrong)[3]
