"""Algorithms traced by hand: sorting, searching, dates, the shortest way through a small map."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from kilter.testbeds.reasoning.pen import Pen, shown
from kilter.testbeds.reasoning.problem import Problem, size

MONTHS = {
    "January": 31,
    "February": 28,
    "March": 31,
    "April": 30,
    "May": 31,
    "June": 30,
    "July": 31,
    "August": 31,
    "September": 30,
    "October": 31,
    "November": 30,
    "December": 31,
}


def sorting(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """A list after so many passes of bubble sort."""
    passes = max(2, min(steps, 6))
    numbers = rng.sample(range(2, 30 + size(difficulty)), passes + 2 + round(2 * difficulty))

    def text(wordings: Any, words: random.Random) -> str:
        return str(words.choice(wordings["sort_ask"])).format(numbers=shown(numbers), passes=passes)

    def solve(pen: Pen) -> Any:
        pen.remark("sort_aside")
        now = numbers
        for count in range(passes):
            right, swaps = bubble(now)
            wrong = {
                "skipped_case": [bubble(now, skip)[0] for skip in swaps],
                "wrong_copy": [
                    [*right[:place], near, *right[place + 1 :]]
                    for place in range(len(now))
                    for near in pen.near(right[place])[:2]
                    if near not in right
                ],
                "wrong_comparison": [_swapped(right, place) for place in range(len(now) - 1 - count, len(now) - 1)],
            }
            now = pen.write(right, lambda data: pen.line("sort", numbers=shown(data)), wrong)
        return pen.answer(now)

    return Problem("sorting", {"numbers": numbers, "passes": passes}, text, solve)


def bubble(numbers: Sequence[int], skip: int | None = None) -> tuple[list[int], list[int]]:
    """A list after one pass, and the places where neighbors changed over; at `skip` they are not compared."""
    now, swaps = list(numbers), []
    for place in range(len(now) - 1):
        if now[place] > now[place + 1] and place != skip:
            now[place], now[place + 1] = now[place + 1], now[place]
            swaps.append(place)
    return now, swaps


def _swapped(numbers: Sequence[int], place: int) -> list[int]:
    now = list(numbers)
    now[place], now[place + 1] = now[place + 1], now[place]
    return now


def binary_search(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """Which numbers of a sorted list binary search looks at, for one that is not there."""
    count = max(7, min(31, 2 ** min(steps, 5)))
    target, *numbers = rng.sample(range(2, 60 + size(difficulty)), count + 1)
    numbers.sort()

    def text(wordings: Any, words: random.Random) -> str:
        return str(words.choice(wordings["search_ask"])).format(numbers=shown(numbers), target=target)

    def solve(pen: Pen) -> Any:
        pen.remark("search_aside")
        low, high, seen = 1, len(numbers), []
        while low <= high:
            middle = (low + high) // 2
            right = _looked(numbers, target, low, high, middle)
            other = [one for one in (middle - 1, middle + 1) if low <= one <= high]
            wrong = {
                "arithmetic_slip": [_looked(numbers, target, low, high, one) for one in other],
                "wrong_copy": [_looked(numbers, target, low, high, middle, numbers[one - 1]) for one in other],
                "wrong_comparison": [[*right[:4], -right[4]]],
            }
            _, _, middle, value, turn = pen.write(right, lambda data: _told(pen, data), wrong)
            seen.append(value)
            low, high = (middle + 1, high) if turn > 0 else (low, middle - 1)
        return pen.answer(seen)

    return Problem("binary_search", {"numbers": numbers, "target": target}, text, solve)


def _looked(numbers: list[int], target: int, low: int, high: int, middle: int, read: int | None = None) -> list[int]:
    """One look: [low, high, place, number read there, 1 to go on above, -1 below]."""
    value = numbers[middle - 1] if read is None else read
    return [low, high, middle, value, 1 if target > value else -1]


def _told(pen: Pen, look: list[int]) -> str:
    low, high, middle, value, turn = look
    return pen.line("search_above" if turn > 0 else "search_below", low=low, high=high, middle=middle, value=value)


def calendar(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """The date so many days after another one, month by month, in a year that is not a leap year."""
    months = list(MONTHS)
    first = rng.randrange(0, max(1, 11 - min(steps, 9)))
    day = rng.randint(2, MONTHS[months[first]] - 1)
    span = sum(MONTHS[month] for month in months[first + 1 : first + min(steps, 9)])
    days = MONTHS[months[first]] - day + span + rng.randint(4, 27)

    def text(wordings: Any, words: random.Random) -> str:
        return str(words.choice(wordings["date_ask"])).format(month=months[first], day=day, days=days)

    def solve(pen: Pen) -> Any:
        pen.remark("date_aside")
        rest = pen.calculate("date_rest", MONTHS[months[first]], "-", day, month=months[first], copied=False)
        left = pen.calculate("date_left", days, "-", rest, month=months[first], copied=False)
        month = first + 1
        while left > MONTHS[months[month % 12]]:
            length = MONTHS[months[month % 12]]
            others = [one for one in (30, 31) if one != length]
            left = pen.calculate("date_month", left, "-", length, others=others, month=months[month % 12])
            month += 1
        return pen.answer(f"{months[month % 12]} {left}", near=False)

    return Problem("calendar", {"month": months[first], "day": day, "days": days}, text, solve)


def shortest_path(rng: random.Random, steps: int, difficulty: float) -> Problem:
    """The length of the shortest way along one-way roads between stations, each with roads from earlier ones."""
    stations = [chr(ord("A") + number) for number in range(max(4, min(steps + 1, 9)))]
    roads: dict[str, dict[str, int]] = {}
    for number, station in enumerate(stations[1:], start=1):
        before = stations[max(0, number - 3) : number]
        chosen = sorted(rng.sample(before, min(len(before), rng.choice([1, 2, 2, 3]))))
        roads[station] = {one: rng.randint(2, 10 + size(difficulty) // 4) for one in chosen}

    def text(wordings: Any, words: random.Random) -> str:
        listed = ", ".join(f"{one} to {to} {miles}" for to, ways in roads.items() for one, miles in ways.items())
        return str(words.choice(wordings["path_ask"])).format(roads=listed, last=stations[-1])

    def solve(pen: Pen) -> Any:
        pen.remark("path_aside")
        best = {stations[0]: 0}
        for station, ways in roads.items():
            best[station] = _shortest(pen, station, ways, best, roads)
        return pen.answer(best[stations[-1]])

    return Problem("shortest_path", {"roads": roads, "last": stations[-1]}, text, solve)


def _shortest(
    pen: Pen, station: str, ways: dict[str, int], best: dict[str, int], roads: dict[str, dict[str, int]]
) -> int:
    """Write how far a station is by each way, and which is the shortest: [[from, far, road, sum], ...], shortest."""
    sums = [(one, best[one], miles, best[one] + miles) for one, miles in ways.items()]
    shortest = min(total for *_, total in sums)
    others = [miles for to, other in roads.items() if to != station for miles in other.values()]

    def altered(index: int, far: int, miles: int, total: int) -> list[Any]:
        now = [*sums[:index], (sums[index][0], far, miles, total), *sums[index + 1 :]]
        return [now, min(total for *_, total in now)]

    wrong: dict[str, list[Any]] = {"arithmetic_slip": [], "wrong_copy": [], "wrong_operand": []}
    for index, (_, far, miles, total) in enumerate(sums):
        wrong["arithmetic_slip"] += [altered(index, far, miles, near) for near in pen.near(total)]
        wrong["wrong_copy"] += [altered(index, near, miles, near + miles) for near in (pen.near(far) if far else [])]
        wrong["wrong_operand"] += [altered(index, far, one, far + one) for one in others if one != miles]
    wrong["wrong_comparison"] = [[sums, total] for *_, total in sums if total > shortest]

    def say(data: list[Any]) -> str:
        told = ", ".join(pen.wordings["path_way"][0].format(one=a, far=b, miles=c, r=d) for a, b, c, d in data[0])
        return pen.line("path", station=station, ways=told, shortest=data[1])

    return int(pen.write([sums, shortest], say, wrong)[1])
