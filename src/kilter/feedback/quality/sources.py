"""How strong the models are that wrote the responses: Bradley-Terry over what people preferred.

Which model wrote a response, the item's hidden part says: `meta` holds `"models"`, one name for each response in the
responses' order, such as {"models": ["sft", "ppo"]}. Raters never see it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from kilter.errors import DataError
from kilter.feedback.quality.aspects import of_use
from kilter.feedback.tasks import BOTH_BAD, TIE, Task, TaskItem, side_of
from kilter.feedback.work import Result
from kilter.stats import BradleyTerry, Estimate, bradley_terry, ranking_pairs, rate
from kilter.stats.bootstrap import REPLICATES

MODELS = "models"


@dataclass(frozen=True)
class SourceStrengths:
    """Strengths with intervals, P(best) and effect of position in `fit`; and what they were fitted to.

    Attributes:
        win_rates: of each model against whomever it met, a tie counting one half; n is its comparisons.
        comparisons: pairs of responses that were judged.
        ties: of them, level ones; `both_bad` of these were called both bad.
        left_out: judgments without a use, by reason.
    """

    fit: BradleyTerry
    win_rates: dict[str, Estimate]
    comparisons: int
    ties: int
    both_bad: int
    left_out: dict[str, int]

    @property
    def order(self) -> list[int]:
        """The places of the contestants, the strongest first."""
        return sorted(range(len(self.fit.contestants)), key=lambda place: -self.fit.strengths[place].value)

    def as_dict(self) -> dict[str, Any]:
        """As JSON, the strongest first."""
        fit = self.fit.as_dict()
        for one in fit["contestants"]:
            one["win_rate"] = self.win_rates[one["name"]].as_dict()
        counts = {"comparisons": self.comparisons, "ties": self.ties, "both_bad": self.both_bad}
        return {**fit, **counts, "left_out": self.left_out}


@dataclass(frozen=True)
class _Game:
    first: str
    second: str
    outcome: float
    prompt: str
    side: int | None


def source_strengths(
    task: Task, results: Sequence[Result], question: str, *, seed: int = 0, replicates: int = REPLICATES
) -> SourceStrengths:
    """Fit the models' strengths to the answers of a comparison or ranking question, on work items.

    Pairs of a ranking count as comparisons; prompts are resampled with all that was said of their responses.

    Raises `DataError` where no item names its models, or the comparisons do not connect them.
    """
    answers = [one for one in of_use(results, "work") if one.question == question]
    left_out: dict[str, int] = {}
    games: list[_Game] = []
    both_bad = 0
    for one in answers:
        why = _why_unusable(one.item)
        found = [] if why else [game for game in _games(one) if game.first != game.second]
        if why or not found:
            reason = why or "all responses are by one model"
            left_out[reason] = left_out.get(reason, 0) + 1
        games += found
        both_bad += bool(found) and one.value == BOTH_BAD
    if not games:
        raise DataError(
            f"Strengths are refused: no answer to '{question}' compares two models. Give the items' meta the names of "
            f'the models in the order of the responses, such as {{"{MODELS}": ["sft", "ppo"]}}; raters never see it.'
        )
    clusters = [game.prompt for game in games]
    known = all(game.side is not None for game in games) and task.blind
    sides = [int(game.side or 0) for game in games] if known else None
    fit = bradley_terry(
        [(game.first, game.second, game.outcome) for game in games], clusters, sides, seed=seed, replicates=replicates
    )
    rates = {str(name): _win_rate(games, str(name), seed, replicates) for name in fit.contestants}
    level = sum(game.outcome == 0.5 for game in games)
    return SourceStrengths(fit, rates, len(games), level, both_bad, dict(sorted(left_out.items())))


def _why_unusable(item: TaskItem) -> str | None:
    names = item.meta.get(MODELS)
    if names is None:
        return f"the item's meta names no {MODELS}"
    if not isinstance(names, list | tuple) or not all(isinstance(one, str) and one for one in names):
        return f"the item's {MODELS} are not a list of names"
    if len(names) != len(item.responses):
        return f"the item has another number of {MODELS} than of responses"
    return None


def _games(result: Result) -> list[_Game]:
    names, shown = result.item.meta[MODELS], result.judgment.side_shown
    prompt = json.dumps(result.item.prompt) if result.item.prompt else result.artifact
    if isinstance(result.value, list):
        outcomes = ranking_pairs(result.value)
    else:
        side = side_of(result.value)
        outcomes = [(0, 1, 0.5 if side in (TIE, BOTH_BAD) else float(side == 0))]
    return [
        _Game(
            names[i], names[j], outcome, prompt,
            None if shown is None else int(shown.index(i) > shown.index(j)),
        )
        for i, j, outcome in outcomes
    ]  # fmt: skip


def _win_rate(games: Sequence[_Game], name: str, seed: int, replicates: int) -> Estimate:
    own = [game for game in games if name in (game.first, game.second)]
    won = [game.outcome if game.first == name else 1 - game.outcome for game in own]
    return rate(won, [game.prompt for game in own], seed=seed, replicates=replicates)
