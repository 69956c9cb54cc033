"""Problems of the test split on calendars, shops, machines and boards."""

from __future__ import annotations

from kilter.testbeds.code.problem import Problem
from kilter.testbeds.code.problems.inputs import grid, numbers, pick

SYSTEMS = (
    Problem(
        "days_between",
        "Return the number of days from one [year, month, day] to another. «@swap The first may be later than the "
        "second; the number is the same.¦If the first is later than the second, return -1.» «@leap Every fourth "
        "year is a leap year.¦Every fourth year is a leap year, but of the years "
        "that end in 00 only those that 400 divides.»",
        """
def days_between(begin, finish):
    def is_leap(year):
        return year % 4 == 0«@leap ¦ and (year % 100 != 0 or year % 400 == 0)»

    def day_number(date):
        year, month, day = date
        lengths = [31, 29 if is_leap(year) else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31]
        earlier = sum(366 if is_leap(past) else 365 for past in range(1890, year))
        return earlier + sum(lengths[:month - 1]) + day
    gap = day_number(finish) - day_number(begin)
    return «@swap abs(gap)¦max(gap, -1)»
""",
        {"swap": "swallowed_error", "leap": "missing_case"},
        lambda r: [
            [r.choice([1899, 1900, 1900, 1904, 2000, 2023]), r.randint(1, 12), r.randint(1, 28)] for _ in range(2)
        ],
        {"begin": ("since", "departure"), "finish": ("until", "arrival"), "lengths": ("days_in", "months")},
    ),
    Problem(
        "meeting_rooms",
        "Return how many rooms are needed for meetings [start, end] that are planned in one building. «@touch A "
        "room is free "
        "at the minute in which a meeting ends.¦A room is free only after the minute in which a meeting ends.» «@late "
        "Meetings that begin after minute 5 are held elsewhere.¦All meetings are held there.»",
        """
def meeting_rooms(meetings):
    events = []
    for start, end in meetings:
        «@late if start > 5:
            continue
        ¦»events.append((start, «@touch 1¦0», 1))
        events.append((end, «@touch 0¦1», -1))
    in_use = 0
    needed = 0
    for _, _, change in sorted(events):
        in_use += change
        needed = max(needed, in_use)
    return needed
""",
        {"touch": "boundary", "late": "missing_case"},
        lambda r: [[sorted((r.randint(0, 8), r.randint(0, 9))) for _ in range(r.randint(0, 5))]],
        {
            "meetings": ("agenda", "sessions"),
            "events": ("marks", "timeline"),
            "in_use": ("taken", "open_now"),
            "needed": ("rooms",),
        },
    ),
    Problem(
        "vending_machine",
        "Handle the inputs of a machine: a number is a coin, a letter chooses 'A' for 3, 'B' for 5 or 'C' for 6. "
        "Return "
        "the letters of what comes out. «@keep What was paid too much stays for the next choice.¦What was paid "
        "too much is "
        "kept by the machine.» «@poor A choice without enough money is passed over.¦After a choice without "
        "enough money "
        "the machine stops.»",
        """
def vending_machine(inputs):
    costs = dict(A=3, B=5, C=6)
    credit = 0
    dropped = ''
    for given in inputs:
        if given not in costs:
            credit += int(given)
        elif credit < costs[given]:
            «@poor continue¦break»
        else:
            dropped += given
            credit «@keep -= costs[given]¦= 0»
    return dropped
""",
        {"keep": "stale_state", "poor": "early_exit"},
        lambda r: [pick(r, ["A", "B", "C", "1", "2", "5", "5"], 8)],
        {
            "inputs": ("pressed", "signals"),
            "costs": ("tariff", "menu"),
            "credit": ("money", "wallet"),
            "dropped": ("dispensed",),
        },
    ),
    Problem(
        "tax_due",
        "Income is taxed by brackets [upper bound, percent]: each percent holds for the part between the bound "
        "before it "
        "and its own; income above the last bound is taxed like the last part. «@free The first 10 of income are free."
        "¦No part of income is free.» «@round The tax is rounded down to a whole number.¦The tax is not rounded.»",
        """
def tax_due(income, brackets):
    tax = 0
    lower = «@free 10¦0»
    for number, (upper, percent) in enumerate(brackets):
        if number == len(brackets) - 1:
            upper = max(upper, income)
        taxed = min(income, upper) - lower
        if taxed > 0:
            tax += taxed * percent
            lower = upper
    return tax «@round //¦/» 100
""",
        {"free": "wrong_default", "round": "division"},
        lambda r: [
            r.choice([0, 5, 7, 8, 9, 10, 11, 20, 60, 95, 140, 300]),
            [[20, r.randint(5, 20)], [60, r.randint(20, 30)], [100, r.choice([30, 45])]][: r.randint(1, 3)],
        ],
        {
            "income": ("earned", "salary"),
            "brackets": ("schedule", "scale"),
            "tax": ("owed", "duty"),
            "lower": ("floor", "base"),
        },
    ),
    Problem(
        "cache_misses",
        "Count the page requests that a cache of `capacity` pages cannot answer. A full cache drops «@which the "
        "page whose "
        "last use is longest ago¦the page that came in first». «@write A page whose name begins with '!' is never put "
        "into the cache.¦All pages are put into the cache.»",
        """
def cache_misses(requests, capacity):
    pages = []
    misses = 0
    for page in requests:
        if page in pages:
            «@which pages.remove(page)
            pages.append(page)¦pass»
            continue
        misses += 1
        «@write if page.startswith('!'):
            continue
        ¦»pages.append(page)
        if len(pages) > capacity:
            del pages[0]
    return misses
""",
        {"which": "wrong_order", "write": "missing_case"},
        lambda r: [pick(r, ["a", "b", "c", "!d", "e"], 12, 3), r.randint(1, 3)],
        {
            "requests": ("accesses", "trace"),
            "capacity": ("room", "slots"),
            "pages": ("cached", "memory"),
            "misses": ("faults",),
        },
    ),
    Problem(
        "spiral",
        "Read the cells of a grid in a spiral from the top left, «@way clockwise, that is first along the top row"
        "¦counterclockwise, that is first down the left column». «@mark Cells that hold 0 are passed over.¦All "
        "cells are "
        "read.» The grid stays as it is.",
        """
def spiral(board):
    remaining = «@way [[*line] for line in board]¦[[*line] for line in zip(*board)]»
    seen = []
    while remaining:
        for cell in remaining.pop(0):
            «@mark if cell != 0:
                seen.append(cell)¦seen.append(cell)»
        remaining = [[*line] for line in zip(*remaining)]
        remaining.reverse()
    return seen
""",
        {"way": "wrong_order", "mark": "missing_case"},
        lambda r: [grid(r, [0, 1, 2, 3], 3)],
        {
            "board": ("matrix", "tiles"),
            "remaining": ("unread", "rest"),
            "seen": ("visited_cells", "reading"),
            "cell": ("tile",),
        },
    ),
    Problem(
        "evaluate_postfix",
        "Evaluate words in postfix order: numbers and + - * /, as in ['6', '2', '/']. «@divide The quotient is a whole "
        "number, rounded down.¦The quotient is not rounded.» «@zero Division by zero gives 0.¦Division by zero raises "
        "ZeroDivisionError.» Numbers that are left over are not looked at; the last one is returned.",
        """
def evaluate_postfix(words):
    operands = []
    for word in words:
        if word not in ('+', '-', '*', '/'):
            operands.append(int(word))
            continue
        right_one = operands.pop()
        left_one = operands.pop()
        if word == '+':
            operands.append(left_one + right_one)
        elif word == '-':
            operands.append(left_one - right_one)
        elif word == '*':
            operands.append(left_one * right_one)
        «@zero elif right_one == 0:
            operands.append(0)
        ¦»else:
            operands.append(left_one «@divide //¦/» right_one)
    return operands[-1]
""",
        {"divide": "division", "zero": "swallowed_error"},
        lambda r: [
            [
                str(r.randint(0, 9)),
                str(r.randint(1, 9)),
                r.choice("+-*/"),
                str(r.choice([0, 0, 2, 3])),
                r.choice("+-//"),
                *r.choice([[], ["4", r.choice("/-*")]]),
            ]
        ],
        {"words": ("tokens_given", "formula"), "operands": ("pile", "numbers_read"), "right_one": ("second_one",)},
    ),
    Problem(
        "thermostat",
        "Return for each temperature whether the heating is on (1) or off (0). It goes on below `low`, off above "
        "`high`, "
        "and «@between in between stays as it was¦in between is off»; at first it is off. «@edge It goes on at exactly "
        "`low` as well.¦It does not go on at exactly `low`.»",
        """
def thermostat(temperatures, low, high):
    heating = 0
    states = []
    for temperature in temperatures:
        «@between ¦heating = 0
        »if temperature «@edge <=¦<» low:
            heating = 1
        elif temperature > high:
            heating = 0
        states.append(heating)
    return states
""",
        {"between": "stale_state", "edge": "boundary"},
        lambda r: [numbers(r, 7, 15, 22), r.randint(16, 18), r.randint(19, 21)],
        {"temperatures": ("degrees", "measured"), "heating": ("burner", "active"), "states": ("switched", "history")},
    ),
)
