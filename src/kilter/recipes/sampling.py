"""Responses sampled in parts that may be done anywhere: the same tokens, however many parts there are.

A part is made of whole batches, those that one process would decode together, because sums over another batch differ
in their last bits and with them, now and then, a token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from kilter.models import sample
from kilter.models.sample import batches
from kilter.recipes.held import held_model
from kilter.recipes.parts import Part, cut
from kilter.recipes.rows import PromptRow, Written


@dataclass(frozen=True)
class Sampling:
    """How responses are sampled."""

    n: int
    temperature: float
    max_new_tokens: int
    seed: int


def sampling_parts(what: str, model: str, prompts: Sequence[PromptRow], sampling: Sampling, slots: int) -> list[Part]:
    """The work of sampling from the model in the folder `model`, in at most `slots` parts; `what` names it."""
    whole = batches(len(prompts), sampling.n)
    parts = []
    for some in cut(len(whole), slots):
        first, last = whole[some[0]].start, whole[some[-1]].stop
        own = [one.prompt for one in prompts[first:last]]
        data = {"model": model, "prompts": own, "first": first, **asdict(sampling)}
        parts.append(Part(f"{what}, prompts {first + 1} to {last}", data))
    return parts


def sample_part(data: Mapping[str, Any]) -> list[list[dict[str, Any]]]:
    """The job: for each prompt of a part its responses, as the fields of `Written`."""
    lm = held_model(data["model"])
    numbers = range(data["first"], data["first"] + len(data["prompts"]))
    groups = sample(
        lm, [lm.encode_prompt(prompt) for prompt in data["prompts"]], n=data["n"], temperature=data["temperature"],
        max_new_tokens=data["max_new_tokens"], seed=data["seed"], numbers=numbers,
    )  # fmt: skip
    return [[asdict(Written.of(one)) for one in group] for group in groups]


def read_samples(results: Iterable[list[list[dict[str, Any]]]]) -> list[list[Written]]:
    """The parts' results as one list: for each prompt its responses."""
    return [[Written(**one) for one in group] for part in results for group in part]
