"""What a report says in sentences: what was done, who judged, and what it does not show."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

from kilter.recipes.figures import Figures
from kilter.recipes.step import Context, Output
from kilter.stats import Estimate

METHODS = {"ppo": "PPO", "grpo": "GRPO", "dpo": "DPO", "kto": "KTO"}

FEW = 100
"""Prompts from which on a blind check's interval is narrow enough, ten points either way, to need no warning."""

SIMULATED = (
    "The raters of this run are simulated: programs with noise, habits and one careless member. They show that the "
    "loop and its statistics work, and say nothing about people."
)


def summary(figures: Figures, context: Context, trained: str, steps: int) -> str:
    """What was done and what came of it, in a paragraph; `trained` names the method that made the policy."""
    told = f"{_training(figures, context, trained, steps)} {_outcome(figures)}"
    return told.strip()


def _training(figures: Figures, context: Context, trained: str, steps: int) -> str:
    model = context.outputs["model"].result["model"] if "model" in context.outputs else "The model"
    if "comparisons" not in context.inputs:
        return f"{model} was trained by {trained} in {steps} steps."
    who = "simulated raters" if figures.raters.simulated else "people"
    compared = context.input("comparisons").result["rows"]
    if "reward" in context.inputs:
        also = " with a KL penalty and a pretraining term" if trained == "PPO" else ""
        return (
            f"{model} was fine-tuned on demonstrations, a reward model learned from {compared} prompts whose "
            f"responses {who} had compared, and {trained} improved the policy against that reward model for {steps} "
            f"steps{also}."
        )
    return (
        f"{model} was fine-tuned on demonstrations, and {trained} improved it in {steps} steps on {compared} prompts "
        f"whose responses {who} had compared, without a reward model."
    )


def _outcome(figures: Figures) -> str:
    named = figures.named
    text = "" if figures.check is None else _checked(figures, figures.check)
    if "gold_score_before" in named:
        text += (
            "Then a program that knows what each prompt asked for, and that no stage was trained on, judged the "
            f"responses to {len(figures.tested)} prompts on topics never seen in training: the gold score went from "
            f"{named['gold_score_before'].value:.2f} to {named['gold_score_after'].value:.2f}."
        )
    elif "reward_model_accuracy" in named and not figures.raters.simulated:
        length = named["shorter_is_better_accuracy"]
        text += (
            f"On held-out comparisons of the same people the reward model agrees with them in "
            f"{_percent(named['reward_model_accuracy'])} of {named['reward_model_accuracy'].n} cases; preferring the "
            f"shorter response would in {length.value:.1%}."
        )
    return text


def _checked(figures: Figures, check: Mapping[str, Any]) -> str:
    name, who = ("simulated_check", "Simulated raters") if check["simulated"] else ("people", "People")
    rate = figures.named.get(f"{name}_win_rate")
    if rate is None:
        return f"The blind check says nothing: {figures.refused[f'{name}_win_rate']} "
    return (
        f"{who} who were not told which model wrote what preferred the new responses to those of {check['before']} in "
        f"{_percent(rate)} of {rate.n} cases, a tie counting half. "
    )


def _percent(one: Estimate) -> str:
    return f"{one.value:.1%} [{one.low:.1%}, {one.high:.1%}]"


def notices(figures: Figures, inputs: Mapping[str, Output]) -> tuple[str, ...]:
    """What must be known before any number is read."""
    if figures.raters.simulated:
        return (SIMULATED,)
    found = []
    compared = inputs.get("comparisons")
    if compared is not None and "source" in compared.result:
        found.append(
            f"The comparisons come from {compared.result.get('judge', 'people')} ({compared.result['source']})."
        )
    elif figures.raters.judges:
        found.append(f"The comparisons were made by {_people(figures.raters.judges)} in this run.")
    if figures.check is not None and not figures.check["simulated"]:
        judged = figures.check["judged"]
        few = " That is few: read the interval, not the value." if judged < FEW else ""
        found.append(
            f"The blind check was made by {_people(figures.check['judges'])} on {judged} prompts.{few} It holds for "
            "prompts of this kind and for who judged, not for other people."
        )
    if "proxy_win_rate" in figures.named:
        found.append(
            "There is no gold judge: the policy is scored by the reward model it was trained against, which overstates "
            "its gain."
        )
    return (" ".join(found),) if found else ()


def _people(judges: Collection[str]) -> str:
    return "one person" if len(judges) == 1 else f"{len(judges)} people"


def limits(figures: Figures) -> tuple[str, ...]:
    """What the run does not show."""
    found = [
        "One run with one seed: the intervals cover the test prompts, not another seed of the training.",
        "A model of this size knows and follows little; the figures compare it with itself, not with larger models.",
    ]
    if "reward_after" in figures.named:
        found.append("The proxy reward is what training pushed up, so its rise alone proves nothing.")
    if figures.tested:
        found.append("Perplexity and 160 easy questions are a small part of what training could have cost.")
    else:
        found.append("What the training cost in other abilities was not measured: the recipe has no step evaluate.")
    if figures.raters.simulated:
        found.append(
            "The raters are simulated and judge by the same kind of program that is the gold judge, with noise and "
            "habits added. Real people disagree in ways that this does not show."
        )
    if "gold_score_after" in figures.named:
        found.append("The prompts are generated; a policy that does well on them has learned this kind of prompt.")
    elif figures.check is None:
        found.append("There is no gold judge: whether people prefer the new responses was not measured. Ask them.")
    if "reward_model_accuracy" in figures.named and not figures.raters.simulated:
        found.append("Agreement with held-out comparisons is bounded by how much people agree with each other.")
    if figures.check is not None and len({*figures.raters.judges, *figures.check["judges"]}) == 1:
        found.append("Whoever made the comparisons made the check, too: it shows what one person prefers.")
    return tuple(found)
