"""What a model knows of flaws in three ways: the GDC gap (arXiv 2206.05802, section 5).

Each item is a pair: the flawed response and the right one to the same task. As a generator the model prefers one by
likelihood, as a discriminator by P(wrong); as a critic it tells the flawed passages of the flawed response from the
right ones. Ties count one half, and chance is one half for all three, so that they can be compared on the same items.
What a critic cannot point at although the discriminator knows it is the gap that oversight must close.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from kilter.errors import DataError
from kilter.models import Item, LanguageModel, load, score
from kilter.oversight.critics.passage_critic import PassageCritic
from kilter.oversight.critics.quality import Suspects, above, ranked_rightly
from kilter.stats import Estimate, paired_difference, rate
from kilter.testbeds import Case

_SENTENCE = re.compile(r"\S.*?(?:[.!?](?=\s|$)|$)", re.DOTALL)
_LINE = re.compile(r"\S.*")


@dataclass(frozen=True)
class GDC:
    """Shares of pairs in which the right response was picked, and the differences.

    Attributes:
        generator: by mean log-probability per token of the response after its task.
        discriminator: by the chance that something is wrong in it.
        critic: by pairs of a flawed and a right passage, in which the flawed one is surer wrong.
        gd, dc: discriminator less generator, and critic less discriminator, pair by pair.
    """

    generator: Estimate
    discriminator: Estimate
    critic: Estimate
    gd: Estimate
    dc: Estimate


def gdc_gap(lm: LanguageModel, cases: Sequence[Case], critic: Suspects | None = None) -> GDC:
    """The three figures of a model on the cases that have flaws.

    Args:
        critic: how it discriminates and criticizes; a `PassageCritic` of the model if not given.

    Raises:
        DataError: no case has a flaw with a correct version.
    """
    pairs = [case for case in cases if case.flaws and case.correct]
    if not pairs:
        raise DataError("The gap is measured on cases with a flawed and a correct response, and there are none.")
    critic = critic or PassageCritic(lm)
    chances = critic.probabilities(pairs)
    flawed, right = _whole(critic, pairs, chances)
    generator = _generator(lm, pairs)
    discriminator = [above(max(bad), max(good)) for bad, good in zip(flawed, right, strict=True)]
    critiques = [ranked_rightly(case, each) for case, each in zip(pairs, chances, strict=True)]
    return GDC(
        rate(generator), rate(discriminator), rate(critiques), paired_difference(generator, discriminator),
        paired_difference(discriminator, critiques),
    )  # fmt: skip


def gdc_by_model(
    models: Sequence[str | Path], cases: Sequence[Case], critic: Callable[[LanguageModel], Suspects] = PassageCritic
) -> dict[str, GDC]:
    """The three figures of each model given, on the same cases; one model is in memory at a time.

    Args:
        models: names or folders, as `load` takes them.
        critic: makes of a model what discriminates and criticizes.

    Raises:
        ModelError: there is no such model.
        DataError: as `gdc_gap`.
    """
    found = {}
    for name in models:
        lm = load(name)
        found[str(name)] = gdc_gap(lm, cases, critic(lm))
    return found


def _generator(lm: LanguageModel, pairs: Sequence[Case]) -> list[float]:
    items = [
        Item(lm.encode_prompt(f"{case.source}\n\n{case.task}"), [lm.encode_response(case.correct),
             lm.encode_response(case.response)])
        for case in pairs
    ]  # fmt: skip
    means = [[float(one.mean()) for one in scores.logprobs] for scores in score(lm, items)]
    return [above(right, flawed) for right, flawed in means]


def _whole(
    critic: Suspects, pairs: Sequence[Case], chances: Sequence[list[float]]
) -> tuple[Sequence[list[float]], list[list[float]]]:
    """P(wrong) of the passages of each flawed response and of each right one.

    Both are cut by one rule: with more passages the worst of them is worse, so that a finer cut would look guilty.
    """
    rules = [_rule(case) for case in pairs]
    flawed = [_cut(case.response, rule, case) for case, rule in zip(pairs, rules, strict=True)]
    right = [_cut(case.correct, rule, case) for case, rule in zip(pairs, rules, strict=True)]
    is_their_own = all(one.units == case.units for one, case in zip(flawed, pairs, strict=True))
    return chances if is_their_own else critic.probabilities(flawed), critic.probabilities(right)


def _rule(case: Case) -> re.Pattern[str]:
    """What passages are in this case: sentences, or lines as in code and in steps."""

    def misfit(rule: re.Pattern[str]) -> tuple[bool, int]:
        cut = _passages(case.response, rule)
        return cut != case.units, abs(len(cut) - len(case.units))

    return min(_SENTENCE, _LINE, key=misfit)


def _cut(text: str, rule: re.Pattern[str], case: Case) -> Case:
    """The case with this response, as if it were right, cut by the rule."""
    return replace(case, response=text, correct=text, flaws=(), units=_passages(text, rule))


def _passages(text: str, rule: re.Pattern[str]) -> tuple[tuple[int, int], ...]:
    return tuple(one.span() for one in rule.finditer(text))
