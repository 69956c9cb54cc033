"""What steps that follow a reward model start from: the policy, the reward model on its trunk, the prompts."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kilter.models import LanguageModel, Response, load
from kilter.models.scalar import ScalarModel
from kilter.recipes import rows
from kilter.recipes.step import Context
from kilter.testbeds.instructions import gold_score
from kilter.training import LoraSettings


def open_rewarded(
    context: Context, lora: LoraSettings | None
) -> tuple[LanguageModel, ScalarModel, list[rows.PromptRow]]:
    """The inputs `policy`, `reward` and `data`; a policy that is trained whole does not share the reward's trunk."""
    policy = context.input("policy").result["model"]
    lm = load(policy)
    trunk = lm if lora is not None else load(policy)
    reward = ScalarModel.load(trunk, Path(context.input("reward").result["model"]), "reward")
    return lm, reward, rows.read_prompts(context.input("data").folder / rows.PROMPTS)


def gold_observer(prompts: Sequence[rows.PromptRow]) -> Any:
    """A function that scores rollouts with the testbed's program, or None where there is no testbed."""
    instructions = [one.read_instruction() for one in prompts]

    def observe(step: int, numbers: Sequence[int], responses: Sequence[Sequence[Response]]) -> dict[str, float]:
        scores = []
        for number, group in zip(numbers, responses, strict=True):
            instruction = instructions[number]
            if instruction is not None:
                scores += [gold_score(instruction, one.text, one.finished).total for one in group]
        return {"gold": statistics.mean(scores)} if scores else {}

    return observe if any(instructions) else None
