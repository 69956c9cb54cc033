"""The figures at the top of a report, and its table of before and after."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from kilter.recipes.figures import Figures
from kilter.report import Headline, Measure
from kilter.stats import Estimate


def headlines_of(figures: Figures, trained: str) -> tuple[Headline, ...]:
    """What matters most: people's verdict, the gold judge's, how good the reward model is, and the distance covered.

    Args:
        trained: name of the method that made the policy.
    """
    named = figures.named

    def win(label: str, name: str, explanation: str) -> Headline | None:
        return Headline(label, named[name], "%", explanation, (0, 1), 0.5, "no difference") if name in named else None

    blind = "" if figures.check is None else f"blind, against {figures.check['before']}, ties count half"
    accuracy = named.get("reward_model_accuracy")
    found = (
        win("Preferred by people", "people_win_rate", blind),
        win("Preferred by simulated raters", "simulated_check_win_rate", blind),
        win("Gold win rate", "gold_win_rate", "against the start, ties count half"),
        win("Gold win rate against SFT", "gold_win_rate_vs_sft", f"what {trained} added to SFT"),
        None if accuracy is None else Headline(
            "Reward model accuracy", accuracy, "%", "on held-out comparisons", (0.4, 1),
            named["shorter_is_better_accuracy"].value, "shorter is better",
        ),
        Headline("KL", named["kl"], "nats", "per response, from the SFT model") if "kl" in named else None,
        win("Proxy win rate", "proxy_win_rate", "by the reward model itself, against the start"),
    )  # fmt: skip
    return tuple(one for one in found if one is not None)


def measures_of(figures: Figures) -> tuple[Measure, ...]:
    """The rows of the table, for what was measured or refused."""
    found = []
    if figures.check is not None:
        found.append(_judged_by_people(figures, figures.check))
    if figures.tested:
        found += _judged_by_gold(figures) if "gold_win_rate" in figures.named else _judged_by_proxy(figures)
    if "reward_model_accuracy" in {**figures.named, **figures.refused}:
        found += _reward_model(figures)
    if len(figures.raters.judges) > 1 and not figures.raters.simulated:
        alpha = "Krippendorff's alpha of those who compared: 1 is full agreement, 0 is chance."
        found.append(_one(figures, "Agreement of the raters", alpha, "rater_alpha"))
    if figures.tested:
        found += _before_and_after(figures)
    return tuple(found)


def _before_and_after(figures: Figures) -> list[Measure]:
    proxy = _both(figures, "Proxy reward", "The reward model's score; training pushes it up.", "reward")
    return [
        *([proxy] if "reward_after" in figures.named else []),
        _one(figures, "KL from the SFT model", "Sum over the tokens of a response.", "kl", "nats"),
        _both(figures, "Response length", "Sampled tokens.", "length", "tokens"),
        _both(figures, "Finished by itself", "Ended with the end-of-sequence token.", "finished", "%", True),
        _both(figures, "Perplexity", "On held-out plain text: lower is better.", "perplexity", "", False),
        _both(
            figures, "Multiple choice", "Easy questions by likelihood; chance is 25 %.", "multiple_choice", "%", True
        ),
    ]


def _judged_by_people(figures: Figures, check: Mapping[str, Any]) -> Measure:
    """The blind check; who is simulated is called so."""
    name, who = ("simulated_check", "simulated raters") if check["simulated"] else ("people", "people")
    how = f"Blind, sides dealt by the server, against {check['before']}; ties count half."
    note = f"{check['wins']} won, {check['ties']} tied, {check['losses']} lost."
    if check["same"]:
        note += f" To {check['same']} more prompts both wrote the same, which counts as a tie."
    effect = figures.named.get(f"{name}_position_effect")
    if effect is not None:
        note += _position(effect)
    return _one(figures, f"Win rate by {who}", how, f"{name}_win_rate", "%", note)


def _judged_by_gold(figures: Figures) -> list[Measure]:
    measures = [_both(figures, "Gold score", "The held-out program's score, 0 to 1.", "gold_score", "", True)]
    for name, against in (("gold_win_rate", "the start"), ("gold_win_rate_vs_sft", "the SFT model")):
        measures += [
            _one(
                figures, f"Win rate against {against}", "Gold judge; ties count half.", name, "%", _ties(figures, name)
            ),
            _one(
                figures,
                f"Length-controlled, against {against}",
                "The win rate expected at equal length.",
                f"length_controlled_{name}",
                "%",
            ),
        ]
    ties = _ties(figures, "simulated_win_rate")
    raters = "Blind, sides at random, against the start."
    measures.append(_one(figures, "Win rate by simulated raters", raters, "simulated_win_rate", "%", ties))
    return measures


def _judged_by_proxy(figures: Figures) -> list[Measure]:
    if "proxy_win_rate" not in figures.named:
        return []
    by = "By the reward model that trained the policy: no independent judge."
    return [
        _one(figures, "Proxy win rate against the start", by, "proxy_win_rate", "%"),
        _one(
            figures, "The same, length-controlled", "Expected at equal length.", "length_controlled_proxy_win_rate", "%"
        ),
    ]


def _reward_model(figures: Figures) -> list[Measure]:
    ordered = "Share of held-out comparisons ordered as the raters did."
    length = "What always preferring the shorter response would score."
    measures = [
        _one(figures, "Reward model accuracy", ordered, "reward_model_accuracy", "%"),
        _one(figures, "Shorter is better", length, "shorter_is_better_accuracy", "%"),
        _one(figures, "Calibration error", "ECE, equal-mass bins.", "reward_model_ece", "", _ece_note(figures)),
        _one(figures, "Brier score", "Squared error of the stated probability.", "reward_model_brier"),
    ]
    if "reward_model_gold_accuracy" in {**figures.named, **figures.refused}:
        gold = "Share of held-out pairs ordered as the program does."
        measures.append(_one(figures, "Reward model against gold", gold, "reward_model_gold_accuracy", "%"))
    return measures


def _both(
    figures: Figures, label: str, explanation: str, name: str, unit: str = "", better: bool | None = None
) -> Measure:
    """A row with a value before and after."""
    before, after, change = (figures.named.get(f"{name}_{part}") for part in ("before", "after", "change"))
    return Measure(label, explanation, before, after, change, unit, better)


def _one(figures: Figures, label: str, explanation: str, name: str, unit: str = "", note: str = "") -> Measure:
    """A row with one value, or with the reason why there is none."""
    if name not in figures.named:
        return Measure(label, explanation, note=f"Refused: {figures.refused.get(name, 'not measured')}")
    return Measure(label, explanation, after=figures.named[name], unit=unit, note=note)


def _ties(figures: Figures, name: str) -> str:
    won = figures.wins.get(name)
    if won is None:
        return ""
    text = f"{won.wins} won, {won.ties} tied, {won.losses} lost."
    return text if won.position_effect is None else text + _position(won.position_effect)


def _position(one: Estimate) -> str:
    return f" Shown first instead of second changes the rate by {one.value:+.1%} [{one.low:+.1%}, {one.high:+.1%}]."


def _ece_note(figures: Figures) -> str:
    if figures.reward is None:
        return ""
    return f"A perfectly calibrated judge would show {figures.reward.ece_if_calibrated:.3f} on so few items."
