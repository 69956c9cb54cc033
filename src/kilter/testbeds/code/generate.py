"""Generating cases: a problem with its knobs set, tests from its reference, and bugs that some of the tests find."""

from __future__ import annotations

import ast
import random
from dataclasses import dataclass, field
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.case import Case, Flaw, Split
from kilter.testbeds.code.bugs import said
from kilter.testbeds.code.mutate import Site, mutated, sites, some_mutants
from kilter.testbeds.code.place import call, changed, docstring, lines_of, should_be
from kilter.testbeds.code.problem import Problem, Style, draw_style, written
from kilter.testbeds.code.problems import problems
from kilter.testbeds.code.trial import Job, differing, is_rough, outcomes

_CALLS = 24  # tests of a function, examples included
_EXAMPLES = 3
_MUTANTS = 12  # tried for each function
_BY_KNOB = 0.75  # share of bugs that are right for another specification
_MAJOR = 0.3  # share of the tests that a major bug fails
_ATTEMPTS = 8
_BATCH = 200
_TASK = {
    "train": "Write the Python function that this docstring describes.",
    "test": "Implement the function below in Python, as its docstring asks.",
}


def generate(n: int, seed: int, split: Split = "train", *, difficulty: float = 0.5, flawed: float = 0.5) -> list[Case]:
    """`n` functions, the same for the same arguments on every machine.

    Args:
        n: how many; a longer list begins with the shorter one of the same seed.
        seed: which.
        split: "train" or "test"; they share no problem.
        difficulty: from 0 to 1: fewer bugs (up to three at 0, one at 1), each found by fewer of the tests.
        flawed: share of the functions that have bugs.

    Every function is run in a child process: the correct one passes all tests, the flawed one all examples of its
    docstring and not all of the hidden tests.

    Raises `DataError` for a number, split, difficulty or share out of range.
    """
    for name, share in (("difficulty", difficulty), ("flawed", flawed)):
        if not 0 <= share <= 1:
            raise DataError(f"{name} lies between 0 and 1, not at {share}.")
    if n < 0:
        raise DataError(f"The code testbed cannot generate {n} functions; ask for 0 or more.")
    if split not in _TASK:
        raise DataError(f"There is no split '{split}' of the code testbed; take train or test.")
    cases: list[Case] = []
    for start in range(0, n, _BATCH):
        cases += _batch(range(start, min(n, start + _BATCH)), seed, split, difficulty, flawed)
    return cases


@dataclass(frozen=True)
class _Bug:
    """A knob's other setting, or a change of the tree; `index` among the versions of the draft."""

    type: str
    index: int
    knob: tuple[str, int] | None = None
    site: Site | None = None


@dataclass
class _Draft:
    """A function on its way to a case. `codes[0]` is the reference, `codes[1]` the correct one, then one per bug."""

    rng: random.Random
    problem: Problem
    knobs: dict[str, int]
    style: Style
    name: str
    calls: tuple[list[Any], ...]
    codes: list[str]
    bugs: list[_Bug]
    outcomes: list[list[str]] = field(default_factory=list)

    @property
    def correct(self) -> str:
        return self.codes[1]

    def failing(self, index: int) -> list[int]:
        """The calls for which a version gives something else than the reference."""
        return differing(self.outcomes[0], self.outcomes[index])


def _batch(indices: range, seed: int, split: Split, difficulty: float, flawed: float) -> list[Case]:
    """Cases of some indices, in few programs: first each bug is run alone, then those chosen together."""
    done: dict[int, Case] = {}
    for attempt in range(_ATTEMPTS):
        left = [index for index in indices if index not in done]
        drafts = [_draft(random.Random(f"code/{split}/{seed}/{index}/{attempt}"), split) for index in left]
        for draft, found in zip(drafts, outcomes([_job(one, one.codes) for one in drafts], trusted=True), strict=True):
            draft.outcomes = found
            if draft.failing(1):
                raise DataError(
                    f"The code testbed: '{draft.problem.name}' is not what its reference is.\n{draft.correct}"
                )
        chosen = [_choose(draft, difficulty) for draft in drafts]
        texts = [_with(draft, bugs) for draft, bugs in zip(drafts, chosen, strict=True)]
        jobs = [_job(draft, [text]) for draft, text in zip(drafts, texts, strict=True)]
        together = outcomes(jobs, trusted=True)
        for index, draft, bugs, text, found in zip(left, drafts, chosen, texts, together, strict=True):
            case = _case(draft, bugs, text, found[0], split, difficulty, flawed)
            if case is not None:
                done[index] = case
        if len(done) == len(indices):
            return [done[index] for index in indices]
    raise DataError("The code testbed found no bug that a test finds for some function; take another seed.")


def _job(draft: _Draft, codes: list[str]) -> Job:
    return Job(draft.name, tuple(codes), draft.calls)


def _draft(rng: random.Random, split: Split) -> _Draft:
    problem = rng.choice(problems(split))
    knobs = {knob: rng.randrange(count) for knob, count in problem.sizes().items()}
    style = draw_style(problem, rng)
    calls: dict[str, list[Any]] = {}
    for _ in range(4 * _CALLS):
        arguments = problem.arguments(rng)
        calls.setdefault(repr(arguments), arguments)
        if len(calls) == _CALLS:
            break
    codes = [ast.unparse(written(problem, knobs, how)) for how in (Style(names=style.names), style)]
    bugs: list[_Bug] = []
    for knob, count in problem.sizes().items():
        for setting in range(count):
            text = ast.unparse(written(problem, {**knobs, knob: setting}, style))
            if text not in codes[1:]:
                bugs.append(_Bug(problem.knobs[knob], len(codes), knob=(knob, setting)))
                codes.append(text)
    for mutant in some_mutants(codes[1], _MUTANTS, rng):
        if mutant.code not in codes:  # a knob's other setting may read the same
            bugs.append(_Bug(mutant.site.type, len(codes), site=mutant.site))
            codes.append(mutant.code)
    name = style.names.get(problem.name, problem.name)
    return _Draft(rng, problem, knobs, style, name, tuple(calls.values()), codes, bugs)


def _choose(draft: _Draft, difficulty: float) -> list[_Bug]:
    """One bug, or up to three where the case is to be easy; only the first may be a change of the tree."""
    rng, total = draft.rng, len(draft.calls)
    target = 0.6 * (1 - difficulty)

    def distance(bug: _Bug) -> float:
        return abs(len(draft.failing(bug.index)) / total - target)

    usable = [bug for bug in draft.bugs if _is_natural(draft, bug)]
    by_knob = [bug for bug in usable if bug.knob]
    others = [bug for bug in usable if bug.site]
    picked: list[_Bug] = []
    count = 1 + sum(rng.random() < 0.6 * (1 - difficulty) for _ in range(2))
    if others and (not by_knob or rng.random() > _BY_KNOB):
        type = rng.choice(sorted({bug.type for bug in others}))
        same = [bug for bug in others if bug.type == type]
        picked.append(min(same, key=distance))
    # the commonest type waits, so that all are seen
    by_knob.sort(key=lambda bug: distance(bug) + 0.1 * rng.random() + 0.1 * (bug.type == "missing_case"))
    for bug in by_knob:
        if len(picked) < count and not any(one.knob and one.knob[0] == bug.knob[0] for one in picked if bug.knob):
            picked.append(bug)
    text = _with(draft, picked)  # a change of the tree may have lost its place to a knob
    return picked if all(_with(draft, _without(picked, bug)) != text for bug in picked) else picked[:1]


def _without(bugs: list[_Bug], bug: _Bug) -> list[_Bug]:
    return [one for one in bugs if one is not bug]


def _is_natural(draft: _Draft, bug: _Bug) -> bool:
    """Whether some tests find it and some do not, and it rarely crashes or hangs."""
    failing = draft.failing(bug.index)
    said = draft.outcomes[bug.index]
    rough = [at for at in failing if is_rough(said[at])]
    return 0 < len(failing) < len(said) - _EXAMPLES and (bug.knob is not None or len(rough) <= 0.5 * len(said))


def _with(draft: _Draft, bugs: list[_Bug]) -> str:
    """The function with some bugs at once."""
    knobs = draft.knobs | dict(bug.knob for bug in bugs if bug.knob)
    code = ast.unparse(written(draft.problem, knobs, draft.style))
    for site in (bug.site for bug in bugs if bug.site):
        if knobs != draft.knobs:  # it may stand elsewhere now, or be gone
            alike = [one for one in sites(code) if (one.type, one.way, one.line) == (site.type, site.way, site.line)]
            code = mutated(code, alike[0]) if alike else code
        else:
            code = mutated(code, site)
    return code


def _case(
    draft: _Draft, bugs: list[_Bug], text: str, found: list[str], split: Split, difficulty: float, flawed: float
) -> Case | None:
    """The case, or nothing where the bugs hide each other or no example could be shown."""
    rng, expected = draft.rng, draft.outcomes[0]
    failing = differing(expected, found)
    passing = [at for at in range(len(found)) if at not in failing]
    alone = [[at for at in draft.failing(bug.index) if at in failing] for bug in bugs]
    if not bugs or not all(alone) or len(passing) < _EXAMPLES:
        return None
    # where there is one, a note quotes a call that no other bug spoils
    own = [[at for at in one if sum(at in other for other in alone) == 1] or one for one in alone]
    shown = _examples(passing, expected, rng)
    examples = [(call(draft.name, draft.calls[at]), expected[at]) for at in shown]
    spec, places = draft.problem.described(draft.knobs, draft.style.names)
    source, places = docstring(text.split("\n")[0], spec, places, examples)
    hidden = [at for at in range(len(found)) if at not in shown]
    is_flawed = rng.random() < flawed
    response = text if is_flawed else draft.correct
    flaws = [_flaw(draft, bugs, bug, text, found, at, places, split) for bug, at in zip(bugs, own, strict=True)]
    return Case(
        testbed="code",
        structure=draft.problem.name,
        split=split,
        difficulty=difficulty,
        task=_TASK[split],
        source=source,
        response=response,
        flaws=tuple(sorted((flaw for flaw, _ in flaws), key=lambda flaw: flaw.start)) if is_flawed else (),
        correct=draft.correct,
        units=lines_of(response),
        hidden={
            "function": draft.name,
            "examples": [[draft.calls[at], expected[at]] for at in shown],
            "tests": [[draft.calls[at], expected[at]] for at in hidden],
            "failing": [place for place, at in enumerate(hidden) if at in failing] if is_flawed else [],
            "bugs": [row for _, row in flaws] if is_flawed else [],
        },
    )


def _examples(passing: list[int], expected: list[str], rng: random.Random) -> list[int]:
    """Calls to show, with different outcomes if there are any, so that they say something."""
    order = rng.sample(passing, len(passing))
    first = {expected[at]: at for at in reversed(order)}
    order.sort(key=lambda at: first[expected[at]] != at)
    return sorted(order[:_EXAMPLES])


def _flaw(
    draft: _Draft,
    bugs: list[_Bug],
    bug: _Bug,
    text: str,
    found: list[str],
    failing: list[int],
    places: dict[str, tuple[int, int]],
    split: Split,
) -> tuple[Flaw, dict[str, Any]]:
    """The flaw, and what is kept of it: the shortest call that shows it, with both outcomes."""
    right = _with(draft, _without(bugs, bug))
    start, end = changed(right, text)
    at = min(failing, key=lambda one: (len(repr(draft.calls[one])), one))
    asked, got, expected = call(draft.name, draft.calls[at]), found[at], draft.outcomes[0][at]
    note = f"{said(bug.type, split)} {should_be(right, text)} For {asked} it {_gives(got)}, not {expected}."
    evidence = (places[bug.knob[0]],) if bug.knob and bug.knob[0] in places else ()
    severity = len(draft.failing(bug.index)) / len(draft.calls)
    flaw = Flaw(start, end, bug.type, "major" if severity >= _MAJOR else "minor", note, evidence)
    return flaw, {"type": bug.type, "call": asked, "expected": expected, "got": got, "failing": severity}


def _gives(outcome: str) -> str:
    return outcome if is_rough(outcome) else f"gives {outcome}"
