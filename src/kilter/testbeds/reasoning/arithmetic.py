"""Problems of adding, subtracting and multiplying: in words, in symbols, in a column of entries."""

from __future__ import annotations

import random
from typing import Any

from kilter.testbeds.reasoning.pen import OPERATIONS, Pen
from kilter.testbeds.reasoning.problem import Problem, size


def draw_entries(rng: random.Random, steps: int, difficulty: float) -> dict[str, Any]:
    """A start and signed entries whose running total stays above zero."""
    top = size(difficulty)
    total = start = rng.randint(top // 2, 2 * top)
    entries: list[list[Any]] = []
    for _ in range(steps):
        number = rng.randint(2, top)
        sign = "-" if number < total and rng.random() < 0.5 else "+"
        total = OPERATIONS[sign](total, number)
        entries.append([sign, number])
    return {"start": start, "entries": entries}


def shop(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """Somebody's stock after purchases, sales, and so on, told in words."""
    params = draw_entries(rng, steps, difficulty)

    def text(wordings: Any, words: random.Random) -> str:
        who, what = words.choice(wordings["names"]), words.choice(wordings["things"])
        told = [wordings["shop_start"][0].format(who=who, what=what, b=params["start"])]
        for sign, number in params["entries"]:
            told.append(words.choice(wordings["shop_more" if sign == "+" else "shop_less"]).format(who=who, b=number))
        return " ".join([*told, wordings["shop_ask"][0].format(who=who, what=what)])

    return Problem("shop", params, text, lambda pen: _total(pen, params, "shop"))


def running_total(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """The balance after a list of entries."""
    params = draw_entries(rng, steps, difficulty)

    def text(wordings: Any, words: random.Random) -> str:
        entries = ", ".join(f"{sign}{number}" for sign, number in params["entries"])
        return str(words.choice(wordings["total_ask"])).format(start=params["start"], entries=entries)

    return Problem("running_total", params, text, lambda pen: _total(pen, params, "total"))


def _total(pen: Pen, params: dict[str, Any], line: str) -> Any:
    pen.remark(f"{line}_aside")
    total, entries = params["start"], params["entries"]
    for index, (sign, number) in pen.cases(list(enumerate(entries))):
        others = [one for _, one in entries]
        total = pen.calculate(line, total, sign, number, others=others, copied=index > 0, flip=True)
    return pen.answer(total)


def expression(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """An expression in brackets, worked out from the inside."""
    top = size(difficulty)
    total = start = rng.randint(2, top)
    parts: list[list[Any]] = []
    for _ in range(steps):
        sign = rng.choice("+-+-*")
        number = rng.randint(2, 9) if sign == "*" else rng.randint(2, top)
        sign = "+" if sign == "-" and number >= total else sign
        total = OPERATIONS[sign](total, number)
        parts.append([sign, number])
    params = {"start": start, "parts": parts}

    def text(wordings: Any, words: random.Random) -> str:
        written = str(start)
        for index, (sign, number) in enumerate(parts):
            written = f"{f'({written})' if index else written} {sign} {number}"
        return str(words.choice(wordings["expression_ask"])).format(expression=written)

    def solve(pen: Pen) -> Any:
        pen.remark("expression_aside")
        total = start
        for index, (sign, number) in enumerate(parts):
            others = [one for other, one in parts if other == sign]
            total = pen.calculate("expression", total, sign, number, others=others, copied=index > 0, flip=True)
        return pen.answer(total)

    return Problem("expression", params, text, solve)


def journey(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """How far from home somebody is after legs of so many hours at so many miles an hour, forth and back."""
    top = 20 + size(difficulty) // 10
    away = 0
    legs: list[tuple[str, int, int]] = []
    for _ in range(max(2, (steps + 1) // 2)):
        speed, hours = rng.randint(11, top), rng.randint(2, 9)
        sign = "-" if speed * hours < away and rng.random() < 0.6 else "+"
        away = OPERATIONS[sign](away, speed * hours)
        legs.append((sign, speed, hours))
    params = {"legs": [list(leg) for leg in legs]}

    def text(wordings: Any, words: random.Random) -> str:
        who = words.choice(wordings["names"])
        told = [wordings["journey_start"][0].format(who=who)]
        for sign, speed, hours in legs:
            line = words.choice(wordings["journey_on" if sign == "+" else "journey_back"])
            told.append(line.format(who=who, speed=speed, hours=hours))
        return " ".join([*told, wordings["journey_ask"][0].format(who=who)])

    def solve(pen: Pen) -> Any:
        pen.remark("journey_aside")
        away = 0
        for index, (sign, speed, hours) in pen.cases(list(enumerate(legs))):
            times = [other for _, _, other in legs]
            miles = pen.calculate("journey_leg", speed, "*", hours, others=times, copied=False)
            away = pen.calculate("journey_sum", away, sign, miles, flip=away > 0, copied=index > 0) if away else miles
        return pen.answer(away)

    return Problem("journey", params, text, solve)


def recurrence(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """A rule applied again and again: times something, then plus or minus something."""
    factor, sign = rng.randint(2, 4), rng.choice("+-")
    number, rounds = rng.randint(2, 5 + size(difficulty) // 20), max(2, (steps + 1) // 2)
    start = rng.randint(number, number + size(difficulty) // 8)
    params = {"start": start, "factor": factor, "sign": sign, "number": number, "rounds": rounds}

    def text(wordings: Any, words: random.Random) -> str:
        line = words.choice(wordings["rule_more" if sign == "+" else "rule_less"])
        return str(line).format(start=start, factor=factor, number=number, rounds=rounds)

    def solve(pen: Pen) -> Any:
        pen.remark("rule_aside")
        value = start
        for index in range(rounds):
            value = pen.calculate("rule_times", value, "*", factor, others=[number], copied=index > 0)
            value = pen.calculate("rule_then", value, sign, number, others=[factor], flip=True)
        return pen.answer(value)

    return Problem("recurrence", params, text, solve)
