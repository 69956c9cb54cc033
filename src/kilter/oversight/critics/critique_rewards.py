"""Rewards for critics that write: what a critique is worth by the planted truth, or by what a judge gains from it."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

from kilter.oversight.assistance import NOTHING, Assistance
from kilter.oversight.critics.written_critic import claims_of, named_types
from kilter.oversight.findings import Mark, compare
from kilter.oversight.prompted import Problem, question, read_problems
from kilter.oversight.simulated_rater import RaterSettings, review
from kilter.record import sha256
from kilter.testbeds import Case, as_jsonl
from kilter.training.rewards import Prompt

UNREADABLE = -1.0


class TruthReward:
    """Planted flaws that a critique names, less `false_cost` for each right passage that it calls wrong.

    A reward for `train_grpo` and its kin; a critique that cannot be read gets -1.

        reward = TruthReward(cases)
        train_grpo(lm, reward.prompts, reward, GRPOSettings(max_new_tokens=200), Path("critic"))

    Attributes:
        prompts: what a critic is asked about each case.
        types: the kinds of problem that it may name.

    Raises:
        DataError: no case has a flaw.
    """

    def __init__(self, cases: Sequence[Case], false_cost: float = 0.5) -> None:
        self._asked, self._false_cost = _Asked(cases), false_cost
        self.prompts, self.types = self._asked.prompts, self._asked.types

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """What each critique is worth, in flaws."""
        return self._asked.worth(prompts, responses, self._worth)

    def fingerprint_content(self) -> object:
        """What decides its values, for a run's fingerprint."""
        return ["truth", self._asked.digest, self._false_cost]

    def _worth(self, case: Case, problems: Sequence[Problem]) -> float:
        found = compare(case, [Mark(*case.units[one.unit], one.type) for one in problems])
        return found.found - self._false_cost * len(found.false)


class GainReward:
    """What a simulated judge gains from a critique: right marks less wrong ones, with it and without.

    The judge begins `times` times with the same chances on both sides, so that the difference is the critique's alone.
    Otherwise as `TruthReward`.
    """

    def __init__(self, cases: Sequence[Case], judge: RaterSettings, times: int = 8) -> None:
        self._asked, self._judge, self._times = _Asked(cases), judge, times
        self.prompts, self.types = self._asked.prompts, self._asked.types

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float]:
        """What the judge gains from each critique, in marks."""
        return self._asked.worth(prompts, responses, self._worth)

    def fingerprint_content(self) -> object:
        """What decides its values, for a run's fingerprint."""
        return ["gain", self._asked.digest, self._judge.model_dump(mode="json"), self._times]

    def _worth(self, case: Case, problems: Sequence[Problem]) -> float:
        help_ = Assistance("critiques", "in training", claims_of(case, problems))
        return self._score(case, help_) - self._score(case, NOTHING)

    def _score(self, case: Case, help_: Assistance) -> float:
        total = 0.0
        for number in range(self._times):
            rng = random.Random(f"gain/{number}/{case.response}")
            found = compare(case, review(self._judge, case, help_, rng).marks)
            total += found.found - len(found.false)
        return total / self._times


class _Asked:
    """Cases by what is asked about them."""

    def __init__(self, cases: Sequence[Case]) -> None:
        self.types = named_types(cases)
        self.prompts = [question(case, self.types) for case in cases]
        self.digest = sha256(as_jsonl(cases).encode())
        self._of: dict[Prompt, Case] = dict(zip(self.prompts, cases, strict=True))

    def worth(
        self, prompts: Sequence[Prompt], responses: Sequence[str], worth: Callable[[Case, list[Problem]], float]
    ) -> list[float]:
        """What `worth` gives to the problems that each response names."""
        values = []
        for prompt, response in zip(prompts, responses, strict=True):
            problems = read_problems(response, self._of[prompt], self.types)
            values.append(UNREADABLE if problems is None else worth(self._of[prompt], problems))
        return values
