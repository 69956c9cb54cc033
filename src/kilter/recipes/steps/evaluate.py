"""Step `evaluate`: sample from the start, the SFT model and the final policy on test prompts, and score everything.

Writes raw rows only; the report turns them into figures. The three models answer the same prompts with the same
random numbers. The work is cut into parts that need one model each, so that memory holds one; sums over another batch
differ in their last bits, so what is scored together stays in one part.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from kilter.evals import multiple_choice, perplexity, policy_kl
from kilter.judges import Candidate, Comparison, rater_pool
from kilter.models import Item, LanguageModel, score
from kilter.recipes import rows
from kilter.recipes.held import held_model, held_reward_model
from kilter.recipes.parts import Part, fan_out
from kilter.recipes.sampling import Sampling, read_samples, sample_part, sampling_parts
from kilter.recipes.step import Context, Kind
from kilter.settings import Settings
from kilter.testbeds.instructions import gold_score
from kilter.testbeds.plain_text import paragraphs, questions
from kilter.training import reward_scores
from kilter.training.seeds import derive_seed


class EvaluateStep(Settings):
    """The comparison of the final policy with where it came from."""

    temperature: float = Field(
        0.7, gt=0, description="Sampling temperature; PPO's, if the KL is to be the trained one."
    )
    max_new_tokens: int = Field(64, ge=1, description="Longest response.")


STAGES = ("final", "sft", "start")
SAMPLE, ABILITIES, KL, REWARD = "sample", "abilities", "kl", "reward"


def run(settings: EvaluateStep, context: Context) -> dict[str, Any]:
    """Sample and measure the three models, then score their responses by each other and by the reward model."""
    prompts = rows.read_prompts(context.input("data").folder / rows.TEST)
    folders = {
        "final": context.input("policy").result["model"],
        "sft": context.input("sft").result["model"],
        "start": context.input("model").result["model"],
    }
    responses, figures = _measure_models(settings, context, prompts, folders)
    texts = [one.prompt for one in prompts]
    tokens = {stage: [one.tokens for one in responses[stage]] for stage in STAGES}
    kl = {"model": folders["final"], "reference": folders["sft"], "temperature": settings.temperature}
    parts = [_part(KL, "the divergence from the SFT model", {**kl, "prompts": texts, "tokens": tokens["final"]})]
    if "reward" in context.inputs:
        scorer = {"trunk": folders["sft"], "reward": context.input("reward").result["model"]}
        parts.append(_part(REWARD, "the reward model's scores", {**scorer, "prompts": texts, "tokens": tokens}))
    results = context.follow("scoring the responses", len(parts), fan_out(evaluate_part, parts, context.workers))
    divergence, *scored = results
    rewards: dict[str, list[float]] = scored[0] if scored else {}
    _write(prompts, responses, {**figures, "kl": divergence}, rewards, context)
    total = sum(len(one.tokens or []) for stage in STAGES for one in responses[stage])
    return {"prompts": len(prompts), "tokens": total, "artifacts": {}}


def _measure_models(
    settings: EvaluateStep, context: Context, prompts: Sequence[rows.PromptRow], folders: Mapping[str, str]
) -> tuple[dict[str, list[rows.Written]], dict[str, Any]]:
    """Each model's response to every prompt, and what it still knows. The final one comes last: it is used next."""
    sampling = Sampling(1, settings.temperature, settings.max_new_tokens, derive_seed(context.seed, "sample"))
    parts: list[tuple[str, Part]] = []
    for stage in reversed(STAGES):
        what = f"sampling from the {stage} model"
        cut = sampling_parts(what, folders[stage], prompts, sampling, context.workers.slots)
        parts += [(stage, _part(SAMPLE, one.name, one.data)) for one in cut]
        parts.append((stage, _part(ABILITIES, f"what the {stage} model still knows", {"model": folders[stage]})))
    done = fan_out(evaluate_part, [part for _, part in parts], context.workers)
    results = list(context.follow("evaluating the models", len(parts), done))
    sampled: dict[str, list[Any]] = {stage: [] for stage in STAGES}
    figures: dict[str, Any] = {}
    for (stage, part), result in zip(parts, results, strict=True):
        if part.data["what"] == SAMPLE:
            sampled[stage].append(result)
        else:
            figures[stage] = result
    return {stage: [group[0] for group in read_samples(sampled[stage])] for stage in STAGES}, figures


def _part(what: str, name: str, data: dict[str, Any]) -> Part:
    return Part(name, {"what": what, **data})


def evaluate_part(data: Mapping[str, Any]) -> Any:
    """The job: one of the four kinds of parts."""
    return _JOBS[data["what"]](data)


def _kept_abilities(data: Mapping[str, Any]) -> dict[str, Any]:
    """Perplexity on held-out paragraphs and answers to multiple-choice questions: the alignment tax."""
    lm = held_model(data["model"])
    text = perplexity(lm, [one.text for one in paragraphs("heldout")])
    return {"nll": text.nll, "nll_tokens": text.tokens, "questions": multiple_choice(lm, questions())}


def _divergence(data: Mapping[str, Any]) -> list[float]:
    """KL of each response: scored by the policy that sampled it, then by the reference."""
    lm = held_model(data["model"])
    scores = score(lm, _items(lm, data["prompts"], data["tokens"]), temperature=data["temperature"])
    own = [one.logprobs[0].tolist() for one in scores]
    lm = held_model(data["reference"])
    return policy_kl(own, lm, _items(lm, data["prompts"], data["tokens"]), data["temperature"])


def _rewards(data: Mapping[str, Any]) -> dict[str, list[float]]:
    """The reward model's score of each stage's responses."""
    model = held_reward_model(data["trunk"], data["reward"])
    return {
        stage: [float(one[0]) for one in reward_scores(model, _items(model.lm, data["prompts"], tokens))]
        for stage, tokens in data["tokens"].items()
    }


def _items(lm: LanguageModel, prompts: Sequence[Any], tokens: Sequence[Sequence[int] | None]) -> list[Item]:
    return [Item(lm.encode_prompt(prompt), [one or []]) for prompt, one in zip(prompts, tokens, strict=True)]


_JOBS = {SAMPLE: sample_part, ABILITIES: _kept_abilities, KL: _divergence, REWARD: _rewards}


def _write(
    prompts: list[rows.PromptRow], responses: dict[str, list[rows.Written]], figures: dict[str, Any],
    rewards: Mapping[str, Sequence[float]], context: Context,
) -> None:  # fmt: skip
    raters = rater_pool(context.seed)
    lines = []
    for number, prompt in enumerate(prompts):
        line: dict[str, Any] = {"prompt": prompt.prompt, "text": prompt.text, "kl": figures["kl"][number]}
        instruction = prompt.read_instruction()
        for stage in STAGES:
            response = responses[stage][number]
            line[stage] = {
                "text": response.text, "finished": response.finished, "tokens": len(response.tokens or []),
            }  # fmt: skip
            if rewards:
                line[stage]["reward"] = rewards[stage][number]
            if instruction is not None:
                gold = gold_score(instruction, response.text, response.finished)
                line[stage] |= {"gold": gold.total, "parts": gold.parts}
        if instruction is not None:
            # A second opinion with noise, habits and sides, blind to which model wrote what.
            pair = tuple(
                Candidate(responses[stage][number].text, responses[stage][number].finished)
                for stage in ("final", "start")
            )
            rater = raters[number % len(raters)]
            opinion = rater.judge([Comparison(prompt.text, pair, instruction)], context.seed)[0]
            shown = opinion.side_shown or (0, 1)
            line["rater"] = {"name": rater.name, "won": int(opinion.value == 0), "side": shown.index(0)}
        lines.append(line)
    rows.write_rows(context.folder / "responses.jsonl", lines)
    ability = ({"stage": stage, **figures[stage], "reward": list(rewards.get(stage, ()))} for stage in STAGES)
    rows.write_rows(context.folder / "abilities.jsonl", ability)


KIND = Kind("evaluate", EvaluateStep, run, inputs=("model", "sft", "policy", "data"), optional=("reward",))
