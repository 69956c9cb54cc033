"""Real problems as cases: HumanEval, MBPP, and collections of bugs that somebody has found.

Their code is not ours, so that it runs only where the sandbox can hold it. A problem whose own solution does not pass
its own tests is left out.
"""

from __future__ import annotations

import ast
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kilter.errors import DataError
from kilter.files import json_lines
from kilter.sandbox import Limits, Program, run_many
from kilter.testbeds.case import Case, Flaw, Severity
from kilter.testbeds.code.bugs import said
from kilter.testbeds.code.mutate import Mutant, some_mutants
from kilter.testbeds.code.place import call, changed, lines_of, should_be
from kilter.testbeds.code.trial import NO_END, Job, differing, is_rough, outcomes

_MUTANTS = 40
_MAJOR = 0.3
_STEPS = 20_000
_LIMITS = Limits(seconds=5.0, cpu_seconds=5)
_CALLED = "candidate"  # what HumanEval's tests call the function


@dataclass(frozen=True)
class _Problem:
    """A real problem: `shown` are the calls that its text shows, `calls` those of its tests."""

    id: str
    source: str
    name: str
    code: str
    tests: str
    calls: tuple[list[Any], ...]
    shown: tuple[list[Any], ...]


def load_humaneval(
    path: Path | str, *, seed: int = 0, flawed: float = 0.5, difficulty: float = 0.5, limit: int | None = None
) -> list[Case]:
    """HumanEval's problems (Chen et al. 2021, arXiv 2107.03374) as correct and as tampered cases.

    Args:
        path: JSONL, may be gzipped, with `task_id`, `prompt`, `entry_point`, `canonical_solution` and `test`.
        seed: which bugs, and in which problems.
        flawed: share of the problems that get a bug, where a change is found that the tests find.
        difficulty: from 0 to 1: bugs that fewer of the tests' calls find.
        limit: only the first so many problems.

    Raises `DataError` for a row that cannot be used, `SandboxError` where code of others cannot be run safely.
    """
    return _load(path, "humaneval", _humaneval, seed, flawed, difficulty, limit)


def load_mbpp(
    path: Path | str, *, seed: int = 0, flawed: float = 0.5, difficulty: float = 0.5, limit: int | None = None
) -> list[Case]:
    """MBPP's problems (Austin et al. 2021, arXiv 2108.07732) as correct and as tampered cases; see `load_humaneval`.

    The rows have `task_id`, `text`, `code`, `test_list` and, where there is any, `test_setup_code`. The first test is
    shown with the task, the others are hidden.
    """
    return _load(path, "mbpp", _mbpp, seed, flawed, difficulty, limit)


def load_bugs(path: Path | str, *, limit: int | None = None) -> list[Case]:
    """Bugs that somebody has collected, one case each.

    Args:
        path: JSONL, may be gzipped, with `task` (what the function is to do), `correct`, `buggy` (programs) and `tests`
            (assertions, as a text or as a list of texts), and if known the bug's `type`, `severity` and `note`.
        limit: only the first so many.

    Both programs are run: the correct one must pass, the buggy one must fail. Raises `DataError` with the line where
    that is not so, `SandboxError` where code of others cannot be run safely.
    """
    rows = _read(Path(path), ("task", "correct", "buggy", "tests"))[:limit]
    programs = [Program(f"{row[which]}\n{_joined(row['tests'])}") for _, row in rows for which in ("correct", "buggy")]
    ended = [one.status == "ok" for one in run_many(programs, limits=_LIMITS)]
    cases = []
    for (line, row), right, wrong in zip(rows, ended[::2], ended[1::2], strict=True):
        if not right or wrong:
            which = "'correct' fails" if not right else "'buggy' passes"
            raise DataError(f"{path}, line {line}: {which} the tests of this row. Mend the programs or the tests.")
        cases.append(_collected(f"{path}, line {line}", row))
    return cases


def _load(
    path: Path | str,
    testbed: str,
    read: Callable[[str, dict[str, Any]], _Problem],
    seed: int,
    flawed: float,
    difficulty: float,
    limit: int | None,
) -> list[Case]:
    for name, share in (("difficulty", difficulty), ("flawed", flawed)):
        if not 0 <= share <= 1:
            raise DataError(f"{name} lies between 0 and 1, not at {share}.")
    fields = {"humaneval": ("task_id", "prompt", "entry_point", "canonical_solution", "test")}
    rows = _read(Path(path), fields.get(testbed, ("task_id", "text", "code", "test_list")))[:limit]
    problems = [read(f"{path}, line {line}", row) for line, row in rows]
    passed = run_many([Program(f"{one.code}\n{one.tests}") for one in problems], limits=_LIMITS)
    usable = [one for one, result in zip(problems, passed, strict=True) if result.status == "ok"]
    if not usable:
        raise DataError(f"{path}: no problem's solution passes its own tests. Is the file whole, and for Python 3?")
    draws = [random.Random(f"{testbed}/{seed}/{one.id}") for one in usable]
    wanted = [rng.random() < flawed for rng in draws]
    tampered = _tamper([one if want else None for one, want in zip(usable, wanted, strict=True)], draws, difficulty)
    return [_case(testbed, one, found, difficulty) for one, found in zip(usable, tampered, strict=True)]


@dataclass(frozen=True)
class _Tampered:
    """A problem's mutant with what it gives: (arguments, outcome, expected) for a call, and the share that fails."""

    mutant: Mutant
    shows: tuple[list[Any], str, str]
    failing: float


def _tamper(
    problems: Sequence[_Problem | None], draws: Sequence[random.Random], difficulty: float
) -> list[_Tampered | None]:
    """A bug for each problem that is to have one and where the tests find one."""
    tried = {at: one for at, one in enumerate(problems) if one is not None and one.calls}
    found = {at: some_mutants(_bare(one.code), _MUTANTS, draws[at]) for at, one in tried.items()}
    jobs = [
        Job(one.name, (one.code, *(mutant.code for mutant in found[at])), one.calls, _STEPS)
        for at, one in tried.items()
    ]
    answers = dict(zip(tried, outcomes(jobs, trusted=False), strict=True))
    ranked = {at: _ranked(one, found[at], answers[at], difficulty) for at, one in tried.items()}
    tests = [Program(f"{one.mutant.code}\n{tried[at].tests}") for at, row in ranked.items() for one in row]
    failed = iter([result.status != "ok" for result in run_many(tests, limits=_LIMITS)])
    chosen = {at: [one for one in row if next(failed)] for at, row in ranked.items()}
    return [next(iter(chosen.get(at, [])), None) for at in range(len(problems))]


def _ranked(problem: _Problem, found: list[Mutant], answers: list[list[str]], difficulty: float) -> list[_Tampered]:
    """The mutants that some calls find and some do not, best first: what the text shows should hold."""
    expected, rows = answers[0], []
    for mutant, given in zip(found, answers[1:], strict=True):
        failing = differing(expected, given)
        rough = sum(is_rough(given[at]) and not is_rough(expected[at]) for at in failing)
        endless = any(given[at] == NO_END for at in failing)  # would take its whole time in the problem's own tests
        if not failing or len(failing) == len(given) or rough > 0.5 * len(given) or endless:
            continue
        hidden = [at for at in failing if problem.calls[at] not in problem.shown]
        at = min(hidden or failing, key=lambda one: (len(repr(problem.calls[one])), one))
        share = len(failing) / len(given)
        order = (len(hidden) < len(failing), abs(share - 0.6 * (1 - difficulty)))
        rows.append((order, _Tampered(mutant, (problem.calls[at], given[at], expected[at]), share)))
    return [one for _, one in sorted(rows, key=lambda row: row[0])[:4]]


def _case(testbed: str, problem: _Problem, tampered: _Tampered | None, difficulty: float) -> Case:
    correct = _bare(problem.code)
    response, flaws, bugs = correct, [], []
    if tampered is not None:
        response = tampered.mutant.code
        arguments, got, expected = tampered.shows
        gives = got if is_rough(got) else f"gives {got}"
        asked, type = call(problem.name, arguments), tampered.mutant.site.type
        note = f"{said(type, 'test')} {should_be(correct, response)} For {asked} it {gives}, not {expected}."
        severity: Severity = "major" if tampered.failing >= _MAJOR else "minor"
        flaws = [Flaw(*changed(correct, response), type, severity, note)]
        bugs = [{"type": type, "call": asked, "expected": expected, "got": got, "failing": tampered.failing}]
    return Case(
        testbed=testbed,
        structure=problem.id,
        split="test",
        difficulty=difficulty,
        task="Implement the function below in Python.",
        source=problem.source,
        response=response,
        flaws=tuple(flaws),
        correct=correct,
        units=lines_of(response),
        hidden={"function": problem.name, "program": problem.tests, "bugs": bugs},
    )


def _collected(where: str, row: dict[str, Any]) -> Case:
    correct, buggy = (_parsed(where, row[which]) for which in ("correct", "buggy"))
    if correct == buggy:
        raise DataError(f"{where}: 'correct' and 'buggy' differ in their layout only.")
    severity: Severity = "minor" if row.get("severity") == "minor" else "major"
    if row.get("severity") not in (None, severity):
        raise DataError(f"{where}: the severity is '{row['severity']}'; it is minor or major.")
    note = str(row.get("note") or should_be(correct, buggy))
    flaw = Flaw(*changed(correct, buggy), str(row.get("type") or "bug"), severity, note)
    name = str(row.get("id") or f"row {where.rpartition(' ')[2]}")
    return Case(
        testbed="bugs",
        structure=name,
        split="test",
        difficulty=0.5,
        task="Implement in Python what the text asks for.",
        source=str(row["task"]),
        response=buggy,
        flaws=(flaw,),
        correct=correct,
        units=lines_of(buggy),
        hidden={"program": _joined(row["tests"])},
    )


def _humaneval(where: str, row: dict[str, Any]) -> _Problem:
    name, prompt, test = row["entry_point"], row["prompt"], row["test"]
    code = prompt + row["canonical_solution"]
    calls = _calls(where, test, (name, _CALLED))
    shown = _calls(where, "\n".join(re.findall(r">>> (.+)", prompt)), (name,), strict=False)
    return _Problem(row["task_id"], prompt, name, code, f"{test}\ncheck({name})", calls, shown)


def _mbpp(where: str, row: dict[str, Any]) -> _Problem:
    code, tests = row["code"].replace("\r\n", "\n").replace("\t", "    "), row["test_list"]
    if not isinstance(tests, list) or not tests:
        raise DataError(f"{where}: test_list should be a list of assertions.")
    defined = [one.name for one in ast.parse(_parsed(where, code)).body if isinstance(one, ast.FunctionDef)]
    used = {node.id for node in ast.walk(ast.parse(_parsed(where, _joined(tests)))) if isinstance(node, ast.Name)}
    name = next((one for one in reversed(defined) if one in used), "")
    if not name:
        raise DataError(f"{where}: the tests call no function that the code defines ({', '.join(defined) or 'none'}).")
    source = f"{row['text']}\n\n{tests[0]}\n"
    program = f"{row.get('test_setup_code') or ''}\n{_joined(tests)}"
    shown = _calls(where, tests[0], (name,))
    return _Problem(
        f"mbpp/{row['task_id']}", source, name, code, program, _calls(where, _joined(tests), (name,)), shown
    )


def _calls(where: str, text: str, names: tuple[str, ...], strict: bool = True) -> tuple[list[Any], ...]:
    """The arguments of the calls in a text, as far as they are literals and no keywords; each once."""
    found: dict[str, list[Any]] = {}
    try:
        tree = ast.parse(text)
    except SyntaxError as error:
        if strict:
            raise DataError(f"{where}: the tests are not Python ({error}).") from error
        return ()
    for node in ast.walk(tree):
        if (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in names
            and not node.keywords
        ):
            try:
                arguments = [ast.literal_eval(one) for one in node.args]
            except ValueError:
                continue
            found.setdefault(repr(arguments), arguments)
    return tuple(found.values())


def _bare(code: str) -> str:
    """A program without comments and the docstrings of its functions: they stand in the task."""
    tree = ast.parse(code)
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None:
            node.body = node.body[1:] or [ast.Pass()]
    return ast.unparse(tree)


def _parsed(where: str, code: Any) -> str:
    try:
        return ast.unparse(ast.parse(str(code)))
    except (SyntaxError, ValueError) as error:
        raise DataError(f"{where}: this is not a Python 3 program ({error}).") from error


def _joined(tests: Any) -> str:
    return "\n".join(map(str, tests)) if isinstance(tests, list) else str(tests)


def _read(path: Path, needed: Sequence[str]) -> list[tuple[int, dict[str, Any]]]:
    """Every row of a JSONL file with its line."""
    rows = list(json_lines(path))
    for number, row in rows:
        missing = [name for name in needed if row.get(name) in (None, "", [])]
        if missing:
            raise DataError(f"{path}, line {number} lacks {', '.join(missing)}; a row needs {', '.join(needed)}.")
    if not rows:
        raise DataError(f"{path} holds no rows. It should have one problem a line.")
    return rows
