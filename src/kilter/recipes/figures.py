"""The figures of a run, each with interval and n, from the rows that its steps left."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from kilter.errors import DataError
from kilter.evals.perplexity import Perplexity, perplexity_change, ratio_estimate
from kilter.recipes import rows
from kilter.recipes.raters import Raters, read_raters
from kilter.recipes.step import Context
from kilter.stats import (
    Calibration,
    Estimate,
    WinRate,
    bootstrap_mean,
    calibration,
    length_controlled_win_rate,
    paired_difference,
    rate,
    win_rate,
)
from kilter.testbeds.instructions import Instruction, gold_score

TIE = 0.02
"""Gold scores no further apart are a tie, as for the gold judge."""


@dataclass
class Figures:
    """Everything the report shows.

    Attributes:
        named: by the names of summary.json.
        refused: why a figure could not be had, by its name.
        wins: win rates by name, with ties and position effect.
        reward: calibration of the reward model on held-out comparisons.
        raters: who compared.
        tested: rows of the evaluation.
        check: what the blind check came to (see `outcome`), with its judges and rows; None where there was none.
    """

    named: dict[str, Estimate] = field(default_factory=dict)
    refused: dict[str, str] = field(default_factory=dict)
    wins: dict[str, WinRate] = field(default_factory=dict)
    reward: Calibration | None = None
    raters: Raters = field(default_factory=Raters)
    tested: list[dict[str, Any]] = field(default_factory=list)
    check: dict[str, Any] | None = None

    def attempt(self, name: str, compute: Any, *arguments: Any, **options: Any) -> Any:
        """Compute a figure; what the data cannot support is kept as refused with its reason."""
        try:
            return compute(*arguments, **options)
        except DataError as error:
            self.refused[name] = str(error)
            return None


def collect_figures(context: Context) -> Figures:
    """Read the outputs of the evaluation, the reward model, the comparisons and the check, as far as there are any."""
    figures = Figures()
    if "evaluate" in context.inputs:
        folder = context.input("evaluate").folder
        figures.tested = rows.read_dicts(folder / "responses.jsonl")
        _outcomes(figures)
        _abilities(figures, rows.read_dicts(folder / "abilities.jsonl"))
    if "reward" in context.inputs and "comparisons" in context.inputs:
        _reward_model(figures, context)
    if "comparisons" in context.inputs:
        compared = context.input("comparisons")
        figures.raters = read_raters(compared.folder / "labels.jsonl", compared.result.get("judges", {}))
        figures.refused |= figures.raters.refused
        if figures.raters.alpha is not None:
            figures.named["rater_alpha"] = figures.raters.alpha
    if "check" in context.inputs:
        check = context.input("check")
        figures.check = {**check.result, "lines": rows.read_dicts(check.folder / "check.jsonl")}
        figures.named |= {name: Estimate(**one) for name, one in check.result["figures"].items()}
        figures.refused |= check.result["refused"]
    return figures


def _outcomes(figures: Figures) -> None:
    """Gold scores, win rates, KL, lengths and proxy rewards of the test prompts."""
    tested, named = figures.tested, figures.named
    names = {"start": "before", "sft": "sft", "final": "after"}
    for measure, values in (
        ("gold_score", "gold"),
        ("reward", "reward"),
        ("length", "tokens"),
        ("finished", "finished"),
    ):
        if values not in tested[0]["start"]:
            continue
        columns = {stage: [float(one[stage][values]) for one in tested] for stage in names}
        for stage, suffix in names.items():
            estimate = rate(columns[stage]) if measure == "finished" else bootstrap_mean(columns[stage])
            named[f"{measure}_{suffix}"] = estimate
        named[f"{measure}_change"] = paired_difference(columns["start"], columns["final"])
    named["kl"] = bootstrap_mean([one["kl"] for one in tested])
    if "gold" not in tested[0]["start"]:
        if "reward" in tested[0]["start"]:
            wins = [_won(one["final"]["reward"], one["start"]["reward"], 0.0) for one in tested]
            _win(figures, "proxy_win_rate", wins, "start")
        return
    for name, opponent in (("gold_win_rate", "start"), ("gold_win_rate_vs_sft", "sft")):
        _win(figures, name, [_won(one["final"]["gold"], one[opponent]["gold"], TIE) for one in tested], opponent)
    won = [float(one["rater"]["won"]) for one in tested]
    sides = [one["rater"]["side"] for one in tested]
    judged = figures.attempt("simulated_win_rate", win_rate, won, None, sides)
    if judged is not None:
        figures.wins["simulated_win_rate"] = judged
        named["simulated_win_rate"] = judged.rate
        if judged.position_effect is not None:
            named["position_effect"] = judged.position_effect


def _won(after: float, before: float, tie: float) -> float:
    return 0.5 if abs(after - before) <= tie else float(after > before)


def _win(figures: Figures, name: str, outcomes: Sequence[float], opponent: str) -> None:
    tested = figures.tested
    won = win_rate(outcomes)
    figures.wins[name] = won
    figures.named[name] = won.rate
    lengths = [[float(one[stage]["tokens"]) for one in tested] for stage in ("final", opponent)]
    controlled = figures.attempt(f"length_controlled_{name}", length_controlled_win_rate, outcomes, *lengths)
    if controlled is not None:
        figures.named[f"length_controlled_{name}"] = controlled.rate


def _abilities(figures: Figures, lines: Sequence[dict[str, Any]]) -> None:
    """Perplexity and multiple-choice accuracy: what the training cost."""
    by_stage = {one["stage"]: one for one in lines}
    texts: dict[str, Perplexity] = {}
    for stage, suffix in (("start", "before"), ("sft", "sft"), ("final", "after")):
        one = by_stage[stage]
        estimate = ratio_estimate(one["nll"], one["nll_tokens"])
        texts[stage] = Perplexity(estimate, tuple(one["nll"]), tuple(one["nll_tokens"]))
        figures.named[f"perplexity_{suffix}"] = estimate
        figures.named[f"multiple_choice_{suffix}"] = rate([float(x) for x in one["questions"]])
    figures.named["perplexity_change"] = perplexity_change(texts["start"], texts["final"])
    right = [[float(x) for x in by_stage[stage]["questions"]] for stage in ("start", "final")]
    figures.named["multiple_choice_change"] = paired_difference(*right)


def _reward_model(figures: Figures, context: Context) -> None:
    """Accuracy and calibration on held-out comparisons, beside what length alone would give."""
    margins = rows.read_dicts(context.input("reward").folder / "heldout_margins.jsonl")
    aside = rows.read_comparisons(context.input("comparisons").folder / rows.HELDOUT)
    clusters = [one["prompt"] for one in margins]
    chance = [1 / (1 + math.exp(-max(-60.0, min(60.0, one["logit"])))) for one in margins]
    figures.reward = figures.attempt(
        "reward_model_calibration", calibration, chance, [1] * len(chance), clusters, symmetric=True
    )
    right = [0.5 if one["logit"] == 0 else float(one["logit"] > 0) for one in margins]
    accuracy = figures.attempt("reward_model_accuracy", rate, right, clusters)
    if accuracy is None:
        return
    figures.named["reward_model_accuracy"] = accuracy
    if figures.reward is not None:
        figures.named["reward_model_ece"] = figures.reward.ece
        figures.named["reward_model_brier"] = figures.reward.brier
    lengths = [
        (
            len(aside[one["prompt"]].responses[one["better"]].text),
            len(aside[one["prompt"]].responses[one["worse"]].text),
        )
        for one in margins
    ]
    shorter = [0.5 if better == worse else float(better < worse) for better, worse in lengths]
    figures.named["shorter_is_better_accuracy"] = rate(shorter, clusters)
    golds = [_gold_order(aside[one["prompt"]], one) for one in margins]
    if any(one is not None for one in golds):
        known = [(r if g > 0 else 1 - r, c) for r, g, c in zip(right, golds, clusters, strict=True) if g]
        name = "reward_model_gold_accuracy"
        if known:
            figures.named[name] = rate([r for r, _ in known], [c for _, c in known])
        else:
            figures.refused[name] = "the gold score calls every held-out pair a tie"


def _gold_order(row: rows.ComparisonRow, margin: dict[str, Any]) -> float | None:
    """Gold score of the response called better minus that of the other; None without a testbed."""
    if row.instruction is None:
        return None
    instruction = Instruction.from_dict(row.instruction)
    better, worse = (row.responses[margin[key]] for key in ("better", "worse"))
    gap = (
        gold_score(instruction, better.text, better.finished).total
        - gold_score(instruction, worse.text, worse.finished).total
    )
    return gap if abs(gap) > TIE else 0.0
