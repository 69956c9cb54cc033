from __future__ import annotations

import ast
import random

import pytest

from kilter.testbeds.code.mutate import mutated, sites, some_mutants
from kilter.testbeds.code.place import changed, docstring, should_be


def reads(*lines: str) -> str:
    return "\n".join(("def f(xs, n):", *(f"    {line}" for line in lines)))


def all_of(code: str) -> set[tuple[str, str]]:
    return {(site.type, mutated(code, site)) for site in sites(code)}


@pytest.mark.parametrize(
    ("type", "right", "wrong"),
    [
        ("boundary", ["return n < 3"], ["return n <= 3"]),
        ("boundary", ["return list(range(n))"], ["return list(range(n - 1))"]),
        ("boundary", ["return list(range(1, n + 1))"], ["return list(range(1, n))"]),
        ("boundary", ["return xs[n + 1:]"], ["return xs[n:]"]),
        ("boundary", ["return xs[:n]"], ["return xs[:n + 1]"]),
        ("tie", ["best = 0", "if n > best:", "    best = n", "return best"],
         ["best = 0", "if n >= best:", "    best = n", "return best"]),
        ("tie", ["return sorted(xs, key=lambda x: (x[1], x[0]))"], ["return sorted(xs, key=lambda x: x[1])"]),
        ("missing_case", ["if not xs:", "    return 0", "return xs[0]"], ["return xs[0]"]),
        ("missing_case", ["return n > 0 and xs[0] > 1"], ["return xs[0] > 1"]),
        ("aliasing", ["ys = list(xs)", "return ys"], ["ys = xs", "return ys"]),
        ("aliasing", ["return xs[:]"], ["return xs"]),
        ("aliasing", ["return xs.copy()"], ["return xs"]),
        ("stale_state", ["for x in xs:", "    row = []", "    row.append(x)"],
         ["row = []", "for x in xs:", "    row.append(x)"]),
        ("early_exit", ["for x in xs:", "    n += x", "return n"], ["for x in xs:", "    n += x", "    return n"]),
        ("early_exit", ["for x in xs:", "    if x:", "        continue", "    n += x"],
         ["for x in xs:", "    if x:", "        break", "    n += x"]),
        ("wrong_default", ["return xs.get(n, 0)"], ["return xs.get(n, 1)"]),
        ("wrong_default", ["a = 0", "return a"], ["a = 1", "return a"]),
        ("division", ["return n // 2"], ["return n / 2"]),
        ("division", ["return round(n)"], ["return int(n)"]),
        ("precedence", ["return (n + 1) * 2"], ["return n + 1 * 2"]),
        ("precedence", ["return xs and (n or xs[0])"], ["return xs and n or xs[0]"]),
        ("precedence", ["return not (xs or n)"], ["return not xs or n"]),
        ("swallowed_error", ["if n < 0:", "    raise ValueError(n)"], ["if n < 0:", "    return None"]),
        ("wrong_order", ["for x in xs:", "    n += x", "    xs[0] = n"],
         ["for x in xs:", "    xs[0] = n", "    n += x"]),
        ("wrong_variable", ["a = 0", "b = 1", "return a"], ["a = 0", "b = 1", "return b"]),
    ],
)  # fmt: skip
def test_each_type_changes_what_it_is_about(type: str, right: list[str], wrong: list[str]) -> None:
    assert (type, reads(*wrong)) in all_of(reads(*right))


def test_every_mutant_is_a_program_and_reads_differently() -> None:
    code = ast.unparse(ast.parse(reads(
        "total, best = (0, None)", "for i, x in enumerate(xs):", "    if x < 0 or i > n:", "        continue",
        "    if best is None or x > best:", "        best = x", "    total += (x + 1) * n // 2",
        "if not total:", "    raise ValueError(xs[1:])", "return [total, best]")))  # fmt: skip
    found = some_mutants(code, 100, random.Random(1))
    texts = [one.code for one in found]
    assert len(set(texts)) == len(texts) >= 12
    assert code not in texts
    assert all(ast.unparse(ast.parse(text)) == text for text in texts)
    assert len({one.site.type for one in found[:4]}) == 4, "types come in turn"
    assert some_mutants(code, 5, random.Random(2)) == some_mutants(code, 5, random.Random(2))


def test_the_place_of_a_bug_is_the_changed_line_or_the_one_before_what_is_missing() -> None:
    right = reads("a = 1", "if n:", "    return a", "return n")
    for wrong, passage, said in (
        (reads("a = 2", "if n:", "    return a", "return n"), "a = 2", "Line 2 should read `a = 1`."),
        (reads("a = 1", "return n"), "a = 1", "After line 2 `if n:`; `return a` is missing."),
        (reads("a = 1", "if n:", "    return a", "n += 1", "return n"), "n += 1", "Line 5 should not be there."),
        (reads("a = 1", "if n:", "    return a", "    return n"), "return n", "Line 5 should be indented less."),
        (reads("if n:", "    return a", "return n"), "def f(xs, n):", "After line 1 `a = 1` is missing."),
    ):
        start, end = changed(right, wrong)
        assert wrong[start:end] == passage
        assert should_be(right, wrong) == said


def test_a_specification_is_wrapped_and_its_passages_are_found_again() -> None:
    spec = "Do this and that. " + "More words follow here. " * 8 + "The end is here."
    start = spec.index("The end")
    text, places = docstring("def f(a):", spec, {"end": (start, len(spec)), "none": (3, 3)}, [("f(1)", "2")])
    assert all(len(line) <= 88 for line in text.splitlines())
    assert text.endswith('    >>> f(1)\n    2\n    """\n')
    assert text[slice(*places["end"])].split() == ["The", "end", "is", "here."]
    assert set(places) == {"end"}
    assert " ".join(text.split('"""')[1].split(">>>")[0].split()) == " ".join(spec.split())
