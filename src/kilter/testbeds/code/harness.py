"""What the sandbox runs: calls every version of a function with every argument list, and prints what came out.

A text for a child, which has the standard library alone; nothing imports this file. It does not know what should come
out. Steps are counted rather than timed, so that "does not end" means the same on every machine.
"""

from __future__ import annotations

import ast
import json
import sys
from typing import Any


class TooLong(BaseException):
    """The function has done more steps than it may."""


def frozen(value: Any) -> str:
    """The value as text, the same for equal values: dictionaries and sets in order, floats to nine digits."""
    if isinstance(value, float):
        text = f"{value:.9g}"
        return text if set(text) & set(".en") else f"{text}.0"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{frozen(key)}: {frozen(one)}" for key, one in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(map(frozen, value))) + "}" if value else "set()"
    if isinstance(value, list):
        return "[" + ", ".join(map(frozen, value)) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(map(frozen, value)) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def outcome(function: Any, arguments: list[Any], most: int) -> str:
    """What a call gives: a value, an exception, or no end; and what became of its arguments."""
    before = frozen(arguments)
    steps = 0

    def count(frame: Any, event: str, _: Any) -> Any:
        nonlocal steps
        if frame.f_code.co_filename != "candidate.py":
            return None
        steps += event == "line"
        if steps > most:
            raise TooLong
        return count

    sys.settrace(count)
    try:
        said = frozen(function(*arguments))
    except TooLong:
        return "does not end"
    except Exception as error:
        said = f"raises {type(error).__name__}"
    finally:
        sys.settrace(None)
    after = frozen(arguments)
    return (said if after == before else f"{said}, with its arguments changed to ({after[1:-1]})")[:2000]


def tried(code: str, name: str, calls: list[str], most: int) -> list[str]:
    """The outcomes of one version; a text that does not compile has the same for all."""
    names: dict[str, Any] = {"__name__": "candidate"}
    try:
        exec(compile(code, "candidate.py", "exec"), names)
        function = names[name]
    except Exception as error:
        return [f"raises {type(error).__name__}"] * len(calls)
    return [outcome(function, ast.literal_eval(call), most) for call in calls]


if __name__ == "__main__":
    sys.setrecursionlimit(300)
    out = sys.stdout
    sys.stdout = sys.stderr  # what a function prints is not an answer
    answers = []
    for job in json.loads(sys.stdin.read()):
        answers.append([tried(code, job["name"], job["calls"], job["steps"]) for code in job["codes"]])
    out.write(json.dumps(answers))
    out.flush()
