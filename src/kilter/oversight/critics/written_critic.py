"""A critic that writes its problems, a line each: it is asked as any prompted model is, and so learns to answer.

The reference critique of a case is what an ideal answer would be: the planted flaws with their notes, or "none". A
model that learned from them can be named in a study wherever a prompted model can.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, sample
from kilter.oversight.assistance import Assistance, Claim, claim_at
from kilter.oversight.critics.quality import CriticQuality, is_mixed, quality_of
from kilter.oversight.findings import Mark, compare
from kilter.oversight.prompted import Problem, question, read_problems
from kilter.oversight.study import flaw_types
from kilter.stats import Estimate, bootstrap_mean, rate
from kilter.testbeds import Case

NONE = "none"


def reference_critique(case: Case) -> str:
    """The planted flaws as an answer that `read_problems` reads back: a line for each, or the word none.

    The form names each passage once: of several flaws that touch the same passages alone, the first is named.
    """
    lines: dict[int, str] = {}
    for flaw in case.flaws:
        free = [unit for unit in case.units_of(flaw) if unit not in lines]
        if free:
            lines[free[0]] = f"{free[0] + 1} | {flaw.type} | {' '.join(flaw.note.split())}"
    return "\n".join(lines[unit] for unit in sorted(lines)) or NONE


def reference_critiques(lm: LanguageModel, cases: Sequence[Case], types: Sequence[str]) -> list[Item]:
    """What `train_sft` learns a critic that writes from: what is asked about each case, and its reference critique.

    Args:
        types: kinds of problem that the question names; see `named_types`.
    """
    return [
        Item(lm.encode_prompt(question(case, types)), [lm.encode_response(reference_critique(case))]) for case in cases
    ]


def named_types(cases: Sequence[Case]) -> list[str]:
    """The kinds of flaw that a question about the cases names; raises `DataError` where no case has a flaw."""
    types = flaw_types(cases)
    if not types:
        raise DataError("A critic that writes learns from planted flaws, and no case has one. Give flawed cases, too.")
    return types


def claims_of(case: Case, problems: Sequence[Problem]) -> tuple[Claim, ...]:
    """The problems of an answer as claims about passages."""
    return tuple(
        claim_at(case, *case.units[one.unit], "wrong", one.reason or "This is wrong.", one.type) for one in problems
    )


class WrittenCritic:
    """Writes the problems that it sees; what cannot be read counts as silence, and is said to be unreadable.

    Args:
        lm: the model; a trained one has its adapter active.
        types: kinds of problem that it may name, of the cases that it is asked about.
        temperature: of its answers; above 0 another seed gives another critique.
        max_new_tokens: longest critique.

    Attributes:
        name: as on the record.
    """

    def __init__(
        self, lm: LanguageModel, types: Sequence[str], *, temperature: float = 0.0, max_new_tokens: int = 200
    ) -> None:  # fmt: skip
        self._lm, self._types = lm, tuple(types)
        self._temperature, self._max_new_tokens = temperature, max_new_tokens
        self.name = f"written/{lm.name}"

    def problems(self, cases: Sequence[Case], seed: int = 0) -> list[list[Problem] | None]:
        """The problems that it names in each case; None where its answer cannot be read.

        Raises:
            DataError: a case leaves no room for a critique in the model's context.
        """
        prompts = [self._lm.encode_prompt(question(case, self._types)) for case in cases]
        said = sample(self._lm, prompts, max_new_tokens=self._max_new_tokens, temperature=self._temperature, seed=seed)
        return [read_problems(one.text, case, self._types) for [one], case in zip(said, cases, strict=True)]

    def criticize_all(self, cases: Sequence[Case], seed: int = 0) -> list[Assistance]:
        """Claims about each case."""
        return [
            Assistance("critiques", self.name, claims_of(case, problems or ()), problems is not None)
            for case, problems in zip(cases, self.problems(cases, seed), strict=True)
        ]

    def probabilities(self, cases: Sequence[Case]) -> list[list[float]]:
        """1 for each passage that it names and 0 for the others: it does not say how sure it is."""
        return [_chances(case, said) for case, said in zip(cases, self.problems(cases), strict=True)]


@dataclass(frozen=True)
class WrittenQuality(CriticQuality):
    """`CriticQuality` of critiques that name passages or do not, and what they are by themselves.

    Attributes:
        named: on average the share of flawed passages among those named; where none is named one at random counts.
        found: of the planted flaws the share that is named, case by case.
        invented: right passages called wrong, per case.
        unreadable: share of the critiques that cannot be read, which name nothing.
    """

    found: Estimate
    invented: Estimate
    unreadable: Estimate


def written_quality(critic: WrittenCritic, cases: Sequence[Case]) -> WrittenQuality:
    """What the critic writes about the cases, against a passage at random.

    Raises:
        DataError: no case has a flawed and a right passage.
    """
    said = critic.problems(cases)
    both = [(case, one) for case, one in zip(cases, said, strict=True) if is_mixed(case)]
    quality = quality_of([case for case, _ in both], [_chances(case, one) for case, one in both])
    found, invented = [], []
    for case, problems in zip(cases, said, strict=True):
        findings = compare(case, [Mark(*case.units[one.unit], one.type) for one in problems or ()])
        invented.append(float(len(findings.false)))
        if case.flaws:
            found.append(findings.found / len(case.flaws))
    return WrittenQuality(
        **vars(quality), found=rate(found), invented=bootstrap_mean(invented),
        unreadable=rate([float(one is None) for one in said]),
    )  # fmt: skip


def _chances(case: Case, said: Sequence[Problem] | None) -> list[float]:
    named = {one.unit for one in said or ()}
    return [float(unit in named) for unit in range(len(case.units))]
