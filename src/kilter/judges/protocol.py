"""What a judge is: the one protocol that programs, models, people and their helped versions follow."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal, Protocol, runtime_checkable

from kilter.errors import DataError
from kilter.record import Judgment, Principal
from kilter.testbeds.instructions import Instruction

BETTER = "Which response is better?"

_FEWEST, _MOST = 2, 9


@dataclass(frozen=True)
class Candidate:
    """One response as a judge sees it; `finished` is False where it was cut off by the token limit."""

    text: str
    finished: bool = True


@dataclass(frozen=True)
class Comparison:
    """One prompt with 2 to 9 responses to be ordered.

    `instruction` is for program judges and simulated raters alone; whoever learns to judge must not see it.
    Raises `DataError` when there are too few or too many responses.
    """

    prompt: str
    responses: tuple[Candidate, ...]
    instruction: Instruction | None = field(default=None, repr=False)

    def __post_init__(self) -> None:
        if not _FEWEST <= len(self.responses) <= _MOST:
            raise DataError(
                f"A comparison orders {_FEWEST} to {_MOST} responses, but this one has {len(self.responses)} "
                f"(prompt: {self.prompt:.60}). Split larger sets, and drop prompts with a single response."
            )

    @cached_property
    def key(self) -> str:
        """SHA-256 of prompt and responses: the same for the same content in any batch."""
        content = [self.prompt, *([response.text, response.finished] for response in self.responses)]
        return hashlib.sha256(json.dumps(content).encode()).hexdigest()


@dataclass(frozen=True)
class Opinion:
    """What one judge says of one comparison, before it is written down as a judgment.

    value: for two responses the index of the preferred one in `Comparison.responses`, or "tie"; for more, all
        indices with the best first, or "tie" when none stands out.
    probability: how sure the judge is of `value`, where it can say so.
    side_shown: indices in the order in which they were shown, where order can matter.
    seed: the seed of its sampling, where it samples.
    ratings: one number per response on the judge's own scale, where it has one.
    """

    value: int | tuple[int, ...] | Literal["tie"]
    probability: float | None = None
    side_shown: tuple[int, ...] | None = None
    seed: int | None = None
    ratings: tuple[float, ...] | None = None

    @property
    def best(self) -> int | None:
        """Index of the preferred response; None for a tie."""
        if isinstance(self.value, tuple):
            return self.value[0]
        return None if self.value == "tie" else self.value


@runtime_checkable
class Judge(Protocol):
    """Anything that orders responses."""

    @property
    def name(self) -> str:
        """Who judged, such as "simulated/careful-1"; kept in the record."""
        ...

    @property
    def principal(self) -> Principal:
        """Who stands behind the judge."""
        ...

    def judge(self, comparisons: Sequence[Comparison], seed: int) -> list[Opinion]:
        """One opinion per comparison, in order; the same content and seed give the same one in any batch."""
        ...


def to_judgments(
    opinions: Sequence[Opinion], targets: Sequence[str], judge: Judge, question: str = BETTER
) -> list[Judgment]:
    """Opinions of one judge as rows of the record; `targets` are the ids of the comparisons' artifacts.

    Raises `DataError` when there is not exactly one target per opinion.
    """
    if len(opinions) != len(targets):
        raise DataError(f"{judge.name} gave {len(opinions)} opinions on {len(targets)} comparisons; each needs one.")
    return [
        Judgment(
            target=target,
            question=question,
            judge=judge.name,
            principal=judge.principal,
            value=list(opinion.value) if isinstance(opinion.value, tuple) else opinion.value,
            probability=opinion.probability,
            side_shown=None if opinion.side_shown is None else list(opinion.side_shown),
            seed=opinion.seed,
        )
        for opinion, target in zip(opinions, targets, strict=True)
    ]


def instruction_of(comparison: Comparison, judge: str) -> Instruction:
    """The instruction behind a comparison; raises `DataError` when it has none, as with real data."""
    if comparison.instruction is None:
        raise DataError(
            f"The judge '{judge}' can only judge prompts of a testbed, because it scores them with the "
            f"testbed's program, but this prompt has none: {comparison.prompt:.60}. "
            "Use a reward model or people instead."
        )
    return comparison.instruction
