"""Rewards for critics that write: what a critique is worth by the planted truth, or by what a judge gains from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from kilter.oversight.assistance import NOTHING, Assistance, claim_at
from kilter.oversight.findings import Mark, compare
from kilter.oversight.prompted import Problem, read_problems
from kilter.oversight.simulated_rater import RaterSettings, review
from kilter.testbeds import Case

Reward = Callable[[list[str], list[str]], list[float]]
UNREADABLE = -1.0


def truth_reward(prompts: Sequence[str], cases: Sequence[Case], false_cost: float = 0.5) -> Reward:
    """Planted flaws that a critique names, less `false_cost` for each right passage that it calls wrong.

    Args:
        prompts: of the cases, as `prompted.question` writes them.

    Returns:
        A reward for `train_grpo` and its kin. A critique that cannot be read gets -1.
    """

    def worth(case: Case, problems: list[Problem]) -> float:
        found = compare(case, [Mark(*case.units[one.unit], one.type) for one in problems])
        return found.found - false_cost * len(found.false)

    return _reward(prompts, cases, worth)


def gain_reward(prompts: Sequence[str], cases: Sequence[Case], judge: RaterSettings, times: int = 8) -> Reward:
    """What a simulated judge gains from a critique: right marks less wrong ones, with it and without.

    The judge begins `times` times with the same chances on both sides, so that the difference is the critique's alone.
    """

    def worth(case: Case, problems: list[Problem]) -> float:
        claims = (claim_at(case, *case.units[one.unit], "wrong", one.reason, one.type) for one in problems)
        help_ = Assistance("critiques", "in training", tuple(claims))
        with_help, without = (_score(case, one, judge, times) for one in (help_, NOTHING))
        return with_help - without

    return _reward(prompts, cases, worth)


def _score(case: Case, help_: Assistance, judge: RaterSettings, times: int) -> float:
    total = 0.0
    for number in range(times):
        rng = random.Random(f"gain/{number}/{case.response}")
        found = compare(case, review(judge, case, help_, rng).marks)
        total += found.found - len(found.false)
    return total / times


def _reward(prompts: Sequence[str], cases: Sequence[Case], worth: Callable[[Case, list[Problem]], float]) -> Reward:
    of = dict(zip(prompts, cases, strict=True))
    types = sorted({flaw.type for case in cases for flaw in case.flaws})

    def reward(asked: list[str], responses: list[str]) -> list[float]:
        values = []
        for prompt, response in zip(asked, responses, strict=True):
            problems = read_problems(response, of[prompt], types)
            values.append(UNREADABLE if problems is None else worth(of[prompt], problems))
        return values

    return reward
