"""What the sandbox runs: calls every version of a function with every argument list, and prints what came out.

A text for a child, which has the standard library alone; nothing imports this file. It does not know what should come
out. Rounds of loops and calls are counted rather than timed, so that "does not end" means the same on every machine.
"""

from __future__ import annotations

import ast
import json
import sys
from typing import Any


class TooLong(BaseException):
    """The function has done more steps than it may."""


class Counter:
    """Counts the rounds of loops and the calls; it is called `_step` in the code of the function."""

    def __init__(self, most: int) -> None:
        self.most = self.left = most

    def __call__(self) -> None:
        """One step more."""
        self.left -= 1
        if self.left < 0:
            raise TooLong


class Counted(ast.NodeTransformer):
    """Puts a step at the beginning of every loop's round and of every function."""

    def generic_visit(self, node: ast.AST) -> ast.AST:
        """Visit what is inside first."""
        super().generic_visit(node)
        if isinstance(node, ast.For | ast.While | ast.FunctionDef):
            step = ast.Expr(ast.Call(ast.Name("_step", ast.Load()), [], []))
            node.body.insert(0, ast.copy_location(step, node.body[0]))
        return node


def frozen(value: Any, step: Counter) -> str:
    """The value as text, the same for equal values: dictionaries and sets in order, floats to nine digits."""
    step()
    if isinstance(value, float):
        text = f"{value:.9g}"
        return text if set(text) & set(".en") else f"{text}.0"
    if isinstance(value, dict):
        return "{" + ", ".join(sorted(f"{frozen(key, step)}: {frozen(one, step)}" for key, one in value.items())) + "}"
    if isinstance(value, set | frozenset):
        return "{" + ", ".join(sorted(frozen(one, step) for one in value)) + "}" if value else "set()"
    if isinstance(value, list):
        return "[" + ", ".join(frozen(one, step) for one in value) + "]"
    if isinstance(value, tuple):
        return "(" + ", ".join(frozen(one, step) for one in value) + ("," if len(value) == 1 else "") + ")"
    return repr(value)


def outcome(function: Any, arguments: list[Any], step: Counter) -> str:
    """What a call gives: a value, an exception, or no end; and what became of its arguments."""
    step.left = step.most
    try:
        before = frozen(arguments, step)
        try:
            said = frozen(function(*arguments), step)
        except Exception as error:
            said = f"raises {type(error).__name__}"
        after = frozen(arguments, step)
    except (TooLong, RecursionError):  # by an argument that holds itself
        return "does not end"
    return (said if after == before else f"{said}, with its arguments changed to ({after[1:-1]})")[:2000]


def tried(code: str, name: str, calls: list[str], most: int) -> list[str]:
    """The outcomes of one version; a text that does not compile has the same for all."""
    step = Counter(most)
    names: dict[str, Any] = {"__name__": "candidate", "_step": step}
    try:
        tree = ast.fix_missing_locations(Counted().visit(ast.parse(code)))
        exec(compile(tree, "candidate.py", "exec"), names)
        function = names[name]
    except (Exception, TooLong) as error:
        return [f"raises {type(error).__name__}"] * len(calls)
    return [outcome(function, ast.literal_eval(call), step) for call in calls]


if __name__ == "__main__":
    sys.setrecursionlimit(300)
    out = sys.stdout
    sys.stdout = sys.stderr  # what a function prints is not an answer
    answers = []
    for job in json.loads(sys.stdin.read()):
        answers.append([tried(code, job["name"], job["calls"], job["steps"]) for code in job["codes"]])
    out.write(json.dumps(answers))
    out.flush()
