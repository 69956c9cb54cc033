"""A problem: a specification and a function whose choices are marked, so that one text gives many pairs of the two.

In the text of a problem a group «...¦...» is a choice. «@name A¦B» is a *knob*: it stands in the specification and in
the code, so that whichever way it is set, code and specification agree; and code with the other setting is wrong. That
is why wrong code looks like right code: it is right for another specification. «A¦B» and «@~name A¦B» are *styles*:
ways to write the same.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

_GROUP = re.compile(r"«(?:@(~?\w+)[ \n])?([^«»]*)»")
_MIRROR = {ast.Lt: ast.Gt, ast.LtE: ast.GtE, ast.Gt: ast.Lt, ast.GtE: ast.LtE}

Knobs = Mapping[str, int]


@dataclass(frozen=True)
class Problem:
    """A structure of the testbed.

    Attributes:
        name: of the structure, and of the function.
        spec: the docstring, with knobs.
        code: the function, with knobs and styles; the first alternative of each style is the reference.
        knobs: the type of bug that each knob makes when code and specification disagree.
        arguments: draws the arguments of one call: plain data that JSON holds.
        names: variables, and the function, with other names they may have.
    """

    name: str
    spec: str
    code: str
    knobs: Mapping[str, str]
    arguments: Callable[[random.Random], list[Any]]
    names: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def sizes(self) -> dict[str, int]:
        """How many settings each knob has."""
        return {key: body.count("¦") + 1 for key, body in _GROUP.findall(self.spec) if key}

    def described(self, knobs: Knobs, names: Mapping[str, str]) -> tuple[str, dict[str, tuple[int, int]]]:
        """The specification with `names` for its variables, and where in it each knob speaks, [start, end)."""
        spec = re.sub(r"`(\w+)`", lambda match: f"`{names.get(match[1], match[1])}`", self.spec)
        text, places, last = "", {}, 0
        for match in _GROUP.finditer(spec):
            text += spec[last : match.start()]
            said = match[2].split("¦")[knobs[match[1]]]
            places[match[1]] = (len(text), len(text) + len(said))
            text, last = text + said, match.end()
        return text + spec[last:], places


@dataclass(frozen=True)
class Style:
    """How a function is written, whatever it does: the same for the correct and for the flawed one.

    Attributes:
        seed: decides each style of the problem's text; None takes the first of each.
        names: what variables, and the function, are called.
        spelled_out: write `x = x + y` rather than `x += y`.
        mirrored: write `b > a` rather than `a < b`.
    """

    seed: int | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    spelled_out: bool = False
    mirrored: bool = False


def draw_style(problem: Problem, rng: random.Random) -> Style:
    """A style for one case."""
    names: dict[str, str] = {}
    for name, others in problem.names.items():
        names[name] = rng.choice([one for one in (name, *others) if one not in names.values()])
    return Style(rng.getrandbits(32), names, rng.random() < 0.3, rng.random() < 0.3)


def written(problem: Problem, knobs: Knobs, style: Style) -> ast.Module:
    """The function with its knobs and styles set, as a tree."""
    counter = iter(range(10_000))

    def chosen(match: re.Match[str]) -> str:
        key, options = match[1], match[2].split("¦")
        if key and not key.startswith("~"):
            return options[knobs[key]]
        which = key or str(next(counter))
        return options[0 if style.seed is None else random.Random(f"{style.seed}/{which}").randrange(len(options))]

    tree = ast.parse(_GROUP.sub(chosen, problem.code))
    _Restyle(style).visit(tree)
    return ast.fix_missing_locations(tree)


class _Restyle(ast.NodeTransformer):
    """Names and spellings; what the function does stays the same."""

    def __init__(self, style: Style) -> None:
        self.style = style

    def visit_Name(self, node: ast.Name) -> ast.AST:
        return ast.Name(self.style.names.get(node.id, node.id), node.ctx)

    def visit_arg(self, node: ast.arg) -> ast.AST:
        return ast.arg(self.style.names.get(node.arg, node.arg))

    def visit_FunctionDef(self, node: ast.FunctionDef) -> ast.AST:
        self.generic_visit(node)
        node.name = self.style.names.get(node.name, node.name)
        return node

    def visit_AugAssign(self, node: ast.AugAssign) -> ast.AST:
        self.generic_visit(node)
        if not self.style.spelled_out or not isinstance(node.target, ast.Name):
            return node
        value = ast.BinOp(ast.Name(node.target.id, ast.Load()), node.op, node.value)
        return ast.Assign([node.target], value, lineno=node.lineno)

    def visit_Compare(self, node: ast.Compare) -> ast.AST:
        self.generic_visit(node)
        other = _MIRROR.get(type(node.ops[0]))
        constants = isinstance(node.left, ast.Constant) or isinstance(node.comparators[0], ast.Constant)
        if not self.style.mirrored or len(node.ops) > 1 or other is None or constants:
            return node
        return ast.Compare(node.comparators[0], [other()], [node.left])
