"""Generating cases: draw a problem, solve it in steps, and let one step go wrong.

Labels follow PRM800K (Lightman et al., "Let's Verify Step by Step", arXiv 2305.20050): 1 for a right step that helps, 0
for one that is right and brings nothing forward, -1 for a wrong one. As in its second phase a solution is labeled up to
and including its first wrong step; what follows has no label, because it may be right or wrong in itself and rests on a
mistake all the same.
"""

from __future__ import annotations

import json
import random
import re
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from importlib import resources
from typing import Any

from kilter.errors import DataError
from kilter.testbeds.case import Case, Flaw, Split
from kilter.testbeds.reasoning.arithmetic import expression, journey, recurrence, running_total, shop
from kilter.testbeds.reasoning.numbers import from_base, gcd, to_base
from kilter.testbeds.reasoning.pen import Mistake, Pen, shown
from kilter.testbeds.reasoning.problem import Problem
from kilter.testbeds.reasoning.tracing import binary_search, calendar, shortest_path, sorting

KINDS: Mapping[Split, Mapping[str, Callable[[random.Random, int, float], Problem]]] = {
    "train": {
        "shop": shop,
        "expression": expression,
        "running_total": running_total,
        "gcd": gcd,
        "to_base": to_base,
        "sorting": sorting,
    },
    "test": {
        "journey": journey,
        "recurrence": recurrence,
        "from_base": from_base,
        "calendar": calendar,
        "binary_search": binary_search,
        "shortest_path": shortest_path,
    },
}
TYPES = (
    "arithmetic_slip",
    "wrong_copy",
    "wrong_operand",
    "wrong_operation",
    "skipped_case",
    "repeated_case",
    "wrong_comparison",
)
_LUCK = 0.1  # share of the flawed solutions in which a mistake without consequences for the answer will do
_TRIES = 60  # mistakes of one problem
_NEGATIVE = re.compile(r"-\d")  # a minus between numbers stands apart
_PROBLEMS = 200  # until one has a mistake that fits


def generate(
    n: int,
    seed: int,
    split: Split = "train",
    *,
    steps: int | None = None,
    kind: str | None = None,
    difficulty: float = 0.5,
    flawed: float = 0.5,
) -> list[Case]:
    """`n` problems with a solution in steps each, the same for the same arguments on every machine.

    Args:
        n: how many; a longer list begins with the shorter one of the same seed.
        seed: which.
        split: "train" or "test"; they share no kind of problem and no wording.
        steps: about how many steps a solution has, 2 to 12; from 3 to 9 with the difficulty if not set.
        kind: only problems of this kind, one of `KINDS[split]`; all kinds if not set.
        difficulty: from 0 to 1: more steps, larger numbers (up to 20 at 0, up to 900 at 1), wrong numbers nearer to
            the right ones.
        flawed: share of the solutions with a wrong step.

    Raises `DataError` for a setting out of range and an unknown split or kind.
    """
    kinds = _kinds(split, kind)
    for name, share in (("difficulty", difficulty), ("flawed", flawed)):
        if not 0 <= share <= 1:
            raise DataError(f"{name} lies between 0 and 1, not at {share}.")
    if n < 0 or not 2 <= (4 if steps is None else steps) <= 12:
        raise DataError(f"The reasoning testbed makes 0 or more solutions of 2 to 12 steps, not {n} of {steps}.")
    count = round(3 + 6 * difficulty) if steps is None else steps
    cases = []
    for index in range(n):
        rng = random.Random(f"reasoning/{split}/{kind}/{seed}/{index}")
        cases.append(_case(kinds, split, count, difficulty, rng.random() < flawed, rng))
    return cases


def _kinds(split: Split, kind: str | None) -> list[Callable[[random.Random, int, float], Problem]]:
    if split not in KINDS:
        raise DataError(f"The reasoning testbed has no split '{split}'; take 'train' or 'test'.")
    known = KINDS[split]
    if kind is not None and kind not in known:
        raise DataError(f"There are no problems of the kind '{kind}' in {split}; known are {', '.join(known)}.")
    return [known[kind]] if kind else list(known.values())


@cache
def wordings(split: Split) -> Mapping[str, Any]:
    """The wordings of one split. Raises `DataError` where the file is damaged."""
    try:
        text = resources.files("kilter.testbeds.reasoning").joinpath("wordings.json").read_text(encoding="utf-8")
        data: dict[str, Any] = json.loads(text)[split]
    except (OSError, ValueError, KeyError) as error:
        raise DataError(f"Kilter's own file wordings.json cannot be read ({error!r}); install kilter again.") from error
    return data


def _case(
    kinds: Sequence[Callable[[random.Random, int, float], Problem]],
    split: Split,
    steps: int,
    difficulty: float,
    flawed: bool,
    rng: random.Random,
) -> Case:
    for _ in range(_PROBLEMS):
        problem = rng.choice(kinds)(rng, steps, difficulty)
        right = Pen(rng.getrandbits(32), wordings(split), difficulty)
        answer = problem.solve(right)
        wrong = _spoiled(problem, right, answer, rng) if flawed else right
        if wrong is not None:
            return _written(problem, split, difficulty, right, wrong, answer, rng)
    raise DataError(f"No problem of {steps} steps has a mistake that fits; take another number of steps or seed.")


def _spoiled(problem: Problem, right: Pen, answer: Any, rng: random.Random) -> Pen | None:
    """The solution with one wrong step: of a random type, in a random place, as often longer as shorter."""
    by_type: dict[str, list[Mistake]] = {}
    for chance in right.chances:
        by_type.setdefault(chance.type, []).append(chance)
    luck, longer = rng.random() < _LUCK, rng.choice([-1, 1])
    for _ in range(_TRIES):
        mistake = rng.choice(by_type[rng.choice(list(by_type))])
        wrong = Pen(right.seed, right.wordings, right.difficulty, mistake)
        said = problem.solve(wrong)
        if _fits(right, wrong, longer) and (luck or said != answer):
            return wrong
    return None


def _fits(right: Pen, wrong: Pen, longer: int) -> bool:
    """Whether the wrong step is one, every number stays above zero, and the length gives nothing away."""
    mistake = wrong.mistake
    if mistake is None or mistake.step >= min(len(right.steps), len(wrong.steps)):
        return False
    cases = mistake.type in ("skipped_case", "repeated_case")
    if not cases and len(right.steps) != len(wrong.steps):
        return False
    texts = [_text(pen) for pen in (right, wrong)]
    return (
        right.steps[mistake.step].data != wrong.steps[mistake.step].data
        and not wrong.steps[mistake.step].remark
        and (len(texts[1]) - len(texts[0])) * longer >= 0
        and not _NEGATIVE.search(texts[1])
    )


def _text(pen: Pen) -> str:
    return "\n".join(step.text for step in pen.steps)


def _written(
    problem: Problem, split: Split, difficulty: float, right: Pen, wrong: Pen, answer: Any, rng: random.Random
) -> Case:
    words, response = wordings(split), _text(wrong)
    units, at = [], 0
    for step in wrong.steps:
        units.append((at, at + len(step.text)))
        at += len(step.text) + 1
    said = wrong.steps[-1].data
    flaws: tuple[Flaw, ...] = ()
    first = wrong.mistake.step if wrong.mistake else None
    if wrong.mistake and first is not None:
        note = rng.choice(words["note"][wrong.mistake.type]).format(right=right.steps[first].text)
        flaws = (Flaw(*units[first], wrong.mistake.type, "minor" if said == answer else "major", note),)
    return Case(
        testbed="reasoning",
        structure=problem.kind,
        split=split,
        difficulty=difficulty,
        task=rng.choice(words["task"]),
        source=problem.text(words, rng),
        response=response,
        flaws=flaws,
        correct=_text(right),
        units=tuple(units),
        hidden={
            "kind": problem.kind,
            "params": problem.params,
            "answer": shown(answer),
            "said": shown(said),
            "answer_right": said == answer,
            "first_error": first,
            "ratings": _ratings(wrong, first),
            "steps": [step.data for step in wrong.steps],
            "correct_steps": [step.data for step in right.steps],
        },
    )


def _ratings(pen: Pen, first: int | None) -> list[int | None]:
    """PRM800K's labels: 1, 0 for remarks, -1 for the first wrong step, None after it."""
    labels: list[int | None] = [0 if step.remark else 1 for step in pen.steps]
    return labels if first is None else [*labels[:first], -1, *[None] * (len(labels) - first - 1)]
