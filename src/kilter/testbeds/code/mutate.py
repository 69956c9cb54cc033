"""Bugs for any function: small changes of its tree that a tired programmer could have made.

Each is a change of one node or of the order of neighboring statements. They need not make a difference: whether one
does is found out by running it.
"""

from __future__ import annotations

import ast
import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

Edit = Callable[[Any], None]
Edits = Iterator[tuple[str, Edit]]

_FLIPPED: dict[type[ast.cmpop], type[ast.cmpop]] = {
    ast.Lt: ast.LtE,
    ast.LtE: ast.Lt,
    ast.Gt: ast.GtE,
    ast.GtE: ast.Gt,
}
_COPIES = ("list", "dict", "set", "sorted")


@dataclass(frozen=True)
class Site:
    """A place where a function can be made wrong, in one way.

    Attributes:
        type: of the bug.
        node: the how-manyth node of the tree, in the order of `ast.walk`.
        way: the how-manyth change of this node.
        line: what the node's first line reads, and where in it the node begins, to find it in a variant.
    """

    type: str
    node: int
    way: int
    line: tuple[str, int]


@dataclass(frozen=True)
class Mutant:
    """A function with a bug at a site."""

    site: Site
    code: str


def sites(code: str) -> list[Site]:
    """Every place where a function, as `ast.unparse` writes it, can be made wrong."""
    tree, lines, found = ast.parse(code), code.splitlines(), []
    kinds, updates = _kinds(tree), _updates(tree)
    for index, node in enumerate(ast.walk(tree)):
        for way, (type, _) in enumerate(_edits(node, kinds)):
            line = lines[getattr(node, "lineno", 1) - 1]
            column = getattr(node, "col_offset", 0) - (len(line) - len(line.lstrip()))
            known = "tie" if type == "boundary" and id(node) in updates else type
            found.append(Site(known, index, way, (line.strip(), column)))
    return found


def mutated(code: str, site: Site) -> str:
    """The function with the bug at this site; the same text where the change makes none."""
    tree = ast.parse(code)
    kinds = _kinds(tree)
    node = next(one for index, one in enumerate(ast.walk(tree)) if index == site.node)
    edit = next(edit for way, (_, edit) in enumerate(_edits(node, kinds)) if way == site.way)
    edit(node)
    return ast.unparse(ast.fix_missing_locations(tree))


def some_mutants(code: str, most: int, rng: random.Random) -> list[Mutant]:
    """At most so many mutants of a function, of as many types as there are; no two read the same."""
    seen, found = {code}, []
    for site in in_turn(sites(code), rng):
        text = mutated(code, site)
        if text not in seen:
            seen.add(text)
            found.append(Mutant(site, text))
        if len(found) == most:
            break
    return found


def in_turn(found: list[Site], rng: random.Random) -> list[Site]:
    """Sites in random order, one of each type before the second of any, so that no type crowds out the others."""
    shuffled = rng.sample(found, len(found))
    counts: dict[str, int] = {}
    turns = []
    for site in shuffled:
        counts[site.type] = counts.get(site.type, 0) + 1
        turns.append(counts[site.type])
    return [shuffled[at] for at in sorted(range(len(shuffled)), key=lambda at: turns[at])]


def _edits(node: ast.AST, kinds: dict[str, str]) -> Edits:
    match node:
        case ast.Compare(ops=[op]) if type(op) in _FLIPPED:
            yield "boundary", lambda it: setattr(it, "ops", [_FLIPPED[type(it.ops[0])]()])
        case ast.Call():
            yield from _of_call(node)
        case ast.Subscript(slice=ast.Slice()):
            yield from _of_slice(node)
        case ast.BinOp():
            yield from _of_operation(node)
        case ast.BoolOp(values=values):
            yield from _of_condition(node, len(values))
        case ast.UnaryOp(op=ast.Not(), operand=ast.BoolOp(values=[_, _])):
            yield "precedence", _ungroup_not
        case ast.Name(ctx=ast.Load()):
            for other in (name for name, kind in kinds.items() if kind == kinds.get(node.id) and name != node.id):
                yield "wrong_variable", partial(_rename, other=other)
        case ast.Assign(targets=[ast.Name()], value=ast.Constant(value=value)) if value in (0, 1, None):
            yield "wrong_default", _other_start
    for name in ("body", "orelse", "finalbody"):
        if isinstance(block := getattr(node, name, None), list) and not isinstance(node, ast.Module):
            yield from _of_block(node, name, block)


def _of_call(node: ast.Call) -> Edits:
    match node:
        case ast.Call(func=ast.Name(id="range"), args=[*_, _]):
            which = min(1, len(node.args) - 1)  # the end
            yield "boundary", lambda it: it.args.__setitem__(which, _one_less(it.args[which]))
            if len(node.args) == 2:
                yield "boundary", lambda it: it.args.__setitem__(0, ast.Constant(0))
        case ast.Call(func=ast.Attribute(attr="get"), args=[_, ast.Constant(value=0 | 1)]):
            yield "wrong_default", lambda it: setattr(it.args[1], "value", 1 - it.args[1].value)
        case ast.Call(func=ast.Name(id=name), args=[ast.Name()], keywords=[]) if name in _COPIES:
            yield "aliasing", _become_argument
        case ast.Call(func=ast.Attribute(attr="copy"), args=[]):
            yield "aliasing", lambda it: _become(it, it.func.value)
        case ast.Call(func=ast.Name(id="round"), args=[_, *_]):
            yield "division", _cut_off
    for keyword in node.keywords:
        if keyword.arg == "key" and isinstance(keyword.value, ast.Lambda):
            body = keyword.value.body
            if isinstance(body, ast.Tuple) and len(body.elts) > 1:
                yield "tie", lambda it: _keep_first_key(it)


def _of_slice(node: ast.Subscript) -> Edits:
    part = node.slice
    assert isinstance(part, ast.Slice)
    if part.lower is None and part.upper is None and part.step is None:
        yield "aliasing", lambda it: _become(it, it.value)
    if part.lower is not None:
        yield "boundary", lambda it: setattr(it.slice, "lower", _one_less(it.slice.lower))
    if part.upper is not None:
        yield "boundary", lambda it: setattr(it.slice, "upper", _one_more(it.slice.upper))


def _of_operation(node: ast.BinOp) -> Edits:
    if isinstance(node.op, ast.Div | ast.FloorDiv):
        swapped = ast.FloorDiv if isinstance(node.op, ast.Div) else ast.Div
        yield "division", lambda it: setattr(it, "op", swapped())
    if isinstance(node.op, ast.Add | ast.Sub) and isinstance(node.right, ast.Constant) and node.right.value == 1:
        yield "boundary", lambda it: _become(it, it.left)
    if isinstance(node.op, ast.Mult | ast.Div | ast.FloorDiv | ast.Mod):
        if isinstance(node.left, ast.BinOp) and isinstance(node.left.op, ast.Add | ast.Sub):
            yield "precedence", _ungroup_left
        if isinstance(node.right, ast.BinOp) and isinstance(node.right.op, ast.Add | ast.Sub):
            yield "precedence", _ungroup_right


def _of_condition(node: ast.BoolOp, count: int) -> Edits:
    for which in range(count):
        yield "missing_case", partial(_drop_operand, which=which)
    for which, value in enumerate(node.values):
        if isinstance(value, ast.BoolOp) and isinstance(node.op, ast.And) and which == count - 1 > 0:
            yield "precedence", _ungroup_or


def _of_block(node: ast.AST, name: str, block: list[ast.stmt]) -> Edits:
    in_loop = isinstance(node, ast.For | ast.While)
    for which, one in enumerate(block):
        after = block[which + 1] if which + 1 < len(block) else None
        match one:
            case ast.If(body=[*_, last], orelse=[]) if len(block) > 1 and isinstance(
                last, ast.Return | ast.Continue | ast.Break | ast.Raise
            ):
                yield "missing_case", partial(_replace, name=name, which=which, by=[])
            case ast.If(orelse=[ast.If(orelse=[_, *_])]):
                yield "missing_case", partial(_at, name=name, which=which, edit=_skip_branch)
            case ast.Continue():
                yield "early_exit", partial(_replace, name=name, which=which, by=[ast.Break()])
            case ast.Break():
                yield "early_exit", partial(_replace, name=name, which=which, by=[ast.Continue()])
            case ast.Raise():
                nothing = ast.Return(ast.Constant(None))
                yield "swallowed_error", partial(_replace, name=name, which=which, by=[nothing])
            case ast.For() | ast.While() if isinstance(after, ast.Return):
                yield "early_exit", partial(_at, name=name, which=which, edit=_return_inside)
        if isinstance(one, ast.For | ast.While) and len(one.body) > 1 and _is_fresh(one.body[0]):
            yield "stale_state", partial(_at, name=name, which=which, edit=_move_out)
        if after is not None and _swappable(one, after) and (in_loop or not isinstance(one, ast.Assign)):
            yield "wrong_order", partial(_at, name=name, which=which, edit=_swap)


def _one_less(node: ast.expr) -> ast.expr:
    match node:
        case ast.Constant(value=int(value)):
            return ast.Constant(value - 1) if value > 0 else node
        case ast.BinOp(op=ast.Add(), right=ast.Constant(value=1)):
            return node.left
    return ast.BinOp(node, ast.Sub(), ast.Constant(1))


def _one_more(node: ast.expr) -> ast.expr:
    match node:
        case ast.Constant(value=int(value)):
            return ast.Constant(value + 1)
        case ast.BinOp(op=ast.Sub(), right=ast.Constant(value=1)):
            return node.left
    return ast.BinOp(node, ast.Add(), ast.Constant(1))


def _become(it: Any, other: Any) -> None:
    """Turn a node into another one, in its place."""
    kept = dict(other.__dict__)
    it.__dict__.clear()
    it.__dict__.update(kept)
    it.__class__ = other.__class__


def _become_argument(it: Any) -> None:
    _become(it, it.args[0])


def _cut_off(it: Any) -> None:
    it.func.id, it.args = "int", it.args[:1]


def _keep_first_key(it: Any) -> None:
    for keyword in it.keywords:
        if keyword.arg == "key":
            keyword.value.body = keyword.value.body.elts[0]


def _other_start(it: Any) -> None:
    it.value.value = 1 if it.value.value == 0 and it.value.value is not None else 0


def _drop_operand(it: Any, which: int) -> None:
    it.values.pop(which)
    if len(it.values) == 1:
        _become(it, it.values[0])


def _ungroup_left(it: Any) -> None:
    inner = it.left
    _become(it, ast.BinOp(inner.left, inner.op, ast.BinOp(inner.right, it.op, it.right)))


def _ungroup_right(it: Any) -> None:
    inner = it.right
    _become(it, ast.BinOp(ast.BinOp(it.left, it.op, inner.left), inner.op, inner.right))


def _ungroup_or(it: Any) -> None:
    inner = it.values[-1]
    _become(it, ast.BoolOp(inner.op, [ast.BoolOp(ast.And(), [*it.values[:-1], inner.values[0]]), *inner.values[1:]]))


def _ungroup_not(it: Any) -> None:
    first, second = it.operand.values
    _become(it, ast.BoolOp(it.operand.op, [ast.UnaryOp(ast.Not(), first), second]))


def _rename(it: Any, other: str) -> None:
    it.id = other


def _at(it: Any, name: str, which: int, edit: Callable[[list[Any], int], None]) -> None:
    """Edit the statements of a block from some place on."""
    edit(getattr(it, name), which)


def _replace(it: Any, name: str, which: int, by: list[ast.stmt]) -> None:
    getattr(it, name)[which : which + 1] = by


def _skip_branch(block: list[Any], which: int) -> None:
    block[which].orelse = block[which].orelse[0].orelse


def _return_inside(block: list[Any], which: int) -> None:
    block[which].body.append(block.pop(which + 1))


def _move_out(block: list[Any], which: int) -> None:
    block.insert(which, block[which].body.pop(0))


def _swap(block: list[Any], which: int) -> None:
    block[which], block[which + 1] = block[which + 1], block[which]


def _is_fresh(one: ast.stmt) -> bool:
    """Whether a statement sets a variable to something empty or constant."""
    match one:
        case ast.Assign(targets=[ast.Name()], value=ast.Constant() | ast.List(elts=[]) | ast.Dict(keys=[])):
            return True
    return False


def _swappable(one: ast.stmt, after: ast.stmt) -> bool:
    """Whether two simple statements depend on each other: the order of others does not matter."""
    simple = (ast.Assign, ast.AugAssign, ast.Expr)
    if not isinstance(one, simple) or not isinstance(after, simple):
        return False
    return bool(_names(one, ast.Store) & _names(after, ast.Load) or _names(one, ast.Load) & _names(after, ast.Store))


def _names(node: ast.AST, context: type[ast.expr_context]) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, context)}


def _kinds(tree: ast.AST) -> dict[str, str]:
    """Variables that surely hold numbers, and those that surely hold lists: only like is mistaken for like."""
    kinds: dict[str, str] = {}
    for node in ast.walk(tree):
        match node:
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.Constant(value=value)) if type(value) is int:
                kinds[name] = "number"
            case ast.AugAssign(target=ast.Name(id=name), op=ast.Add() | ast.Sub(), value=value):
                if not isinstance(value, ast.List | ast.Constant) or isinstance(getattr(value, "value", 0), int):
                    kinds.setdefault(name, "number")
            case ast.For(target=ast.Name(id=name), iter=ast.Call(func=ast.Name(id="range"))):
                kinds[name] = "number"
            case ast.Assign(targets=[ast.Name(id=name)], value=ast.List() | ast.ListComp()):
                kinds[name] = "list"
    return kinds


def _updates(tree: ast.AST) -> set[int]:
    """Comparisons that decide whether a best value so far is replaced: there `<` or `<=` is a matter of ties."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.If) and isinstance(node.test, ast.Compare):
            stored = {name for one in node.body for name in _names(one, ast.Store)}
            if stored & _names(node.test, ast.Load):
                found.add(id(node.test))
    return found
