"""Planted rows of a finished run, and what the report makes of them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from kilter.recipes import rows
from kilter.recipes.content import build_content
from kilter.recipes.figures import TIE, Figures, _win, _won, collect_figures
from kilter.recipes.outcome import outcome
from kilter.recipes.step import Context, Output
from kilter.recipes.verdicts import judges_of
from kilter.testbeds.instructions import generate

STAGES = ("start", "sft", "final")


def response(gold: float | None, reward: float, tokens: int, finished: bool = True) -> dict[str, Any]:
    known = {} if gold is None else {"gold": gold, "parts": {"content": gold}}
    return {"text": "word " * tokens, "finished": finished, "tokens": tokens, "reward": reward, **known}


def row_of_test(number: int, **stages: dict[str, Any]) -> dict[str, Any]:
    rater = {"rater": {"name": "simulated/one", "won": number % 2, "side": number // 2 % 2}}
    given = {"kl": 2.0 + number % 3, "prompt": rows.user(f"prompt {number}"), "text": f"prompt {number}"}
    return {**given, **stages, **(rater if "gold" in stages["start"] else {})}


def planted(count: int = 12, gold: bool = True) -> list[dict[str, Any]]:
    """Gold of the start 0.5; the final policy is better in 1/2, tied in 1/4 and worse in 1/4 of the prompts."""
    after = [0.9, 0.8, 0.5 + TIE / 2, 0.1]
    return [
        row_of_test(
            number,
            start=response(0.5 if gold else None, 0.0, 10 + number % 5, finished=number % 2 == 0),
            sft=response(0.5 if gold else None, 0.5, 11),
            final=response(after[number % 4] if gold else None, [1.0, 0.0, -1.0][number % 3], 8 + number % 7),
        )
        for number in range(count)
    ]


def abilities() -> list[dict[str, Any]]:
    """On every text the final model loses 0.1 nats per token more than the start."""
    tokens = [10, 20, 30, 40, 50]
    lines = []
    for stage, extra, right in (
        ("start", 0.0, [1, 1, 0, 0]),
        ("sft", 0.05, [1, 1, 0, 0]),
        ("final", 0.1, [1, 0, 0, 0]),
    ):
        nll = [count * (2.0 + 0.3 * (index % 2) + extra) for index, count in enumerate(tokens)]
        lines.append({"stage": stage, "nll": nll, "nll_tokens": tokens, "questions": right})
    return lines


def compared(number: int, better: str, worse: str, instruction: dict[str, Any] | None = None) -> rows.ComparisonRow:
    return rows.ComparisonRow(
        rows.user(f"held out {number}"), [rows.Written(better), rows.Written(worse)], [(0, 1)], str(number), instruction
    )


Make = Callable[..., Context]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    """make(tested, heldout rows, logits, triples) -> the context of a report step over such files."""

    def build(
        tested: list[dict[str, Any]] | None = None, aside: list[rows.ComparisonRow] | None = None,
        logits: list[float] | None = None, triples: list[Any] | None = None,
    ) -> Context:  # fmt: skip
        aside = aside if aside is not None else [compared(n, "short", "much longer") for n in range(40)]
        logits = logits if logits is not None else [1.0] * len(aside)
        for name in ("model", "data", "sft", "comparisons", "reward", "ppo", "evaluate"):
            (tmp_path / name).mkdir(exist_ok=True)
        rows.write_rows(tmp_path / "evaluate" / "responses.jsonl", tested if tested is not None else planted())
        rows.write_rows(tmp_path / "evaluate" / "abilities.jsonl", abilities())
        rows.write_rows(tmp_path / "comparisons" / rows.HELDOUT, aside)
        margins = ({"prompt": n, "better": 0, "worse": 1, "logit": logit} for n, logit in enumerate(logits))
        rows.write_rows(tmp_path / "reward" / "heldout_margins.jsonl", margins)
        if triples is None and (tested is None or "rater" in tested[0]):
            triples = [["simulated/one", f"{n}:0:1", 1] for n in range(4)]
        if triples is not None:
            rows.write_rows(tmp_path / "comparisons" / "labels.jsonl", ({"triple": one} for one in triples))
        principals = {name: name.partition("/")[0].replace("people", "human") for name, _, _ in triples or ()}
        judges = judges_of((name, principals[name]) for name, _, _ in triples or ())
        metrics = [{"step": n, "reward": 0.1 * n, "kl": 1.0 * n, "gold": 0.4, "agreement": 1.0} for n in range(3)]
        (tmp_path / "ppo" / "metrics.jsonl").write_text("".join(json.dumps(row) + "\n" for row in metrics))
        results: dict[str, dict[str, Any]] = {
            "model": {"model": "tiny"},
            "comparisons": {"rows": 5} | ({"judges": judges} if judges else {"judge": "ann", "source": "file.jsonl"}),
            "ppo": {"metrics": str(tmp_path / "ppo" / "metrics.jsonl"), "wall_seconds": 2.0, "flops": 4.0},
        }  # fmt: skip
        outputs = {
            name: Output(name, tmp_path / name, results.get(name, {}), "k" * 64, "run")
            for name in ("model", "comparisons", "reward", "ppo", "evaluate")
        }
        about = {"name": "demo", "description": "A demo.", "seed": 0, "source": "demo.yaml", "overrides": ["a.b=1"]}
        inputs = {**outputs, "policy": outputs["ppo"]}
        context = SimpleNamespace(seed=3, recipe=about, outputs=outputs, inputs=inputs, input=inputs.__getitem__)
        return cast(Context, context)

    return build


@pytest.mark.parametrize(
    ("after", "before", "won"),
    [(0.5, 0.5, 0.5), (0.5 + TIE * 0.99, 0.5, 0.5), (0.53, 0.5, 1.0), (0.5, 0.53, 0.0), (1.0, 0.0, 1.0)],
)
def test_scores_within_the_tie_are_a_tie(after: float, before: float, won: float) -> None:
    assert _won(after, before, TIE) == won


def test_without_a_tie_any_difference_counts() -> None:
    assert (_won(1e-9, 0, 0.0), _won(0, 0, 0.0), _won(-1e-9, 0, 0.0)) == (1.0, 0.5, 0.0)


def test_gold_figures_are_those_planted(make: Make) -> None:
    figures = collect_figures(make())
    named, won = figures.named, figures.wins["gold_win_rate"]
    assert (won.wins, won.ties, won.losses) == (6, 3, 3)
    assert named["gold_win_rate"].value == pytest.approx((6 + 1.5) / 12)
    assert named["gold_score_before"].value == pytest.approx(0.5)
    assert named["gold_score_after"].value == pytest.approx((0.9 + 0.8 + 0.51 + 0.1) / 4)
    assert named["gold_score_change"].value == pytest.approx(named["gold_score_after"].value - 0.5)
    assert named["kl"].value == pytest.approx(3.0)
    assert named["kl"].n == 12
    assert named["finished_before"].value == pytest.approx(0.5)
    assert named["finished_after"].value == 1.0
    assert named["length_sft"].value == 11
    assert named["simulated_win_rate"].value == pytest.approx(0.5)
    assert not any(name.startswith("proxy") for name in named)


def test_without_a_testbed_the_proxy_judges_and_gold_is_not_named(make: Make) -> None:
    figures = collect_figures(make(planted(gold=False)))
    assert figures.named["proxy_win_rate"].value == pytest.approx(0.5)
    assert figures.wins["proxy_win_rate"].ties == 4
    assert not any("gold" in name or "simulated" in name for name in figures.named)


def test_what_cannot_be_had_is_refused_with_its_reason() -> None:
    rows_of_one_length = [
        row_of_test(n, start=response(0.2, 0, 5), sft=response(0.2, 0, 5), final=response(0.9, 0, 5)) for n in range(9)
    ]
    figures = Figures(tested=rows_of_one_length)
    _win(figures, "gold_win_rate", [1.0] * 9, "start")
    assert figures.named["gold_win_rate"].value == 1.0
    assert figures.named["gold_win_rate"].low < 1.0
    assert "length_controlled_gold_win_rate" not in figures.named
    assert "refused" in figures.refused["length_controlled_gold_win_rate"]


def test_the_reward_models_accuracy_is_that_of_the_planted_margins(make: Make) -> None:
    logits = [2.0] * 27 + [-2.0] * 9 + [0.0] * 4
    figures = collect_figures(make(logits=logits))
    assert figures.named["reward_model_accuracy"].value == pytest.approx((27 + 2) / 40)
    assert figures.named["reward_model_accuracy"].n == 40
    chance = 1 / (1 + math.exp(-2.0))
    brier = (27 * (1 - chance) ** 2 + 9 * chance**2 + 4 * 0.25) / 40
    assert figures.named["reward_model_brier"].value == pytest.approx(brier)


def test_an_extreme_margin_does_not_overflow(make: Make) -> None:
    figures = collect_figures(make(logits=[1e6] * 20 + [-1e6] * 20))
    assert figures.named["reward_model_brier"].value == pytest.approx(0.5)


def test_the_length_baseline_prefers_the_shorter(make: Make) -> None:
    aside = [compared(n, "ab", "abcd") for n in range(20)]
    aside += [compared(n, "abcd", "ab") for n in range(20, 30)]
    aside += [compared(n, "abcd", "dcba") for n in range(30, 40)]
    figures = collect_figures(make(aside=aside))
    assert figures.named["shorter_is_better_accuracy"].value == pytest.approx((20 + 5) / 40)


def test_too_few_comparisons_refuse_the_calibration_and_nothing_else(make: Make) -> None:
    figures = collect_figures(make(aside=[compared(n, "a", "bb") for n in range(4)]))
    assert figures.named["reward_model_accuracy"].n == 4
    assert "reward_model_ece" not in figures.named
    assert "too few" in figures.refused["reward_model_calibration"]
    assert figures.reward is None


def test_accuracy_against_gold_counts_pairs_that_gold_orders(make: Make) -> None:
    good = generate(30, 5)
    # The raters called the empty answer better: a reward model that disagrees with them agrees with gold.
    aside = [compared(n, "", one.demonstration, one.as_dict()) for n, one in enumerate(good)]
    aside += [compared(30 + n, "", "", one.as_dict()) for n, one in enumerate(good[:10])]
    figures = collect_figures(make(aside=aside, logits=[-1.0] * 20 + [1.0] * 20))
    assert figures.named["reward_model_gold_accuracy"].n == 30
    assert figures.named["reward_model_gold_accuracy"].value == pytest.approx(20 / 30)


def test_gold_that_ties_everywhere_is_refused_not_a_crash(make: Make) -> None:
    aside = [compared(n, "", "", one.as_dict()) for n, one in enumerate(generate(20, 5))]
    context = make(aside=aside)
    figures = collect_figures(context)
    assert "reward_model_gold_accuracy" not in figures.named
    assert "tie" in figures.refused["reward_model_gold_accuracy"]
    measures = {one.label: one for one in build_content(figures, context, 2, 1e9).measures}
    assert measures["Reward model against gold"].note.startswith("Refused: the gold score")


def test_perplexity_is_compared_text_by_text(make: Make) -> None:
    named = collect_figures(make()).named
    before, after, change = (named[f"perplexity_{part}"] for part in ("before", "after", "change"))
    mean = (2.0 * (10 + 30 + 50) + 2.3 * (20 + 40)) / 150
    assert before.value == pytest.approx(math.exp(mean))
    assert after.value == pytest.approx(math.exp(mean + 0.1))
    assert change.value == pytest.approx(after.value - before.value)
    # Paired: every text moved alike, so the change is known far better than either perplexity.
    assert change.high - change.low < 0.3 * (before.high - before.low)
    assert change.low > 0
    assert named["multiple_choice_change"].value == pytest.approx(-0.25)


def test_raters_are_compared_with_the_others_on_the_same_pair(make: Make) -> None:
    triples = []
    for number in range(12):
        pair = f"{number}:0:1"
        triples += [["simulated/a", pair, 1], ["simulated/b", pair, 1], ["simulated/odd", pair, 0 if number % 2 else 1]]
    triples.append(["simulated/alone", "99:0:1", 1])
    figures = collect_figures(make(triples=triples))
    agrees = figures.raters.agrees
    assert agrees["simulated/odd"].value == pytest.approx(0.5)
    assert agrees["simulated/a"].value == pytest.approx(0.75)
    assert "simulated/alone" not in agrees
    content = build_content(figures, make(triples=triples), 3, 1e9)
    assert any("simulated" in notice for notice in content.notices)
    assert [(one.name, one.kind, one.judgments) for one in content.raters] == [
        ("simulated/a", "simulated", 12), ("simulated/alone", "simulated", 1), ("simulated/b", "simulated", 12),
        ("simulated/odd", "simulated", 12),
    ]  # fmt: skip


def test_refused_figures_are_refused_on_the_page(make: Make) -> None:
    tested = [
        row_of_test(n, start=response(0.2, 0, 5), sft=response(0.2, 0, 5), final=response(0.9, 0, 5)) for n in range(9)
    ]
    triples = [["simulated/a", f"{n}:0:1", 1] for n in range(9)]
    context = make(tested=tested, triples=triples)
    content = build_content(collect_figures(context), context, 2, 1e9)
    measures = {one.label: one for one in content.measures}
    controlled = measures["Length-controlled, against the start"]
    assert controlled.after is None
    assert controlled.note.startswith("Refused: ")
    assert measures["Win rate against the start"].note.startswith("9 won, 0 tied, 0 lost.")


def test_the_page_of_human_comparisons_says_that_there_is_no_gold_judge(make: Make) -> None:
    context = make(planted(gold=False))
    content = build_content(collect_figures(context), context, 2, 1e9)
    assert "no gold judge" in content.notices[0]
    assert "ann (file.jsonl)" in content.notices[0]
    assert [one.label for one in content.headlines] == ["Reward model accuracy", "KL", "Proxy win rate"]
    assert content.reproduction.commands[0] == "kilter run demo.yaml a.b=1"
    assert not content.raters


def test_pairs_are_drawn_by_the_seed_and_never_twice(make: Make) -> None:
    context = make()
    figures = collect_figures(context)
    notes = [one.note for one in build_content(figures, context, 10, 1e9).pairs]
    assert len(set(notes)) == 10
    assert notes == [one.note for one in build_content(figures, context, 10, 1e9).pairs]
    assert len(build_content(figures, context, 100, 1e9).pairs) == 12
    assert build_content(figures, context, 0, 1e9).pairs == ()


def test_curves_show_what_was_measured_and_nothing_else(make: Make) -> None:
    context = make()
    curves = {one.title: one for one in build_content(collect_figures(context), context, 1, 1e9).curves}
    assert {"Proxy reward", "Gold score", "Proxy reward against KL", "Sampler against trainer"} <= curves.keys()
    assert not {"Entropy", "Losses"} & curves.keys()


def checked(tmp: Path, *said: tuple[float, int], simulated: bool = False) -> Output:
    """A blind check with one judgment (won, side) per prompt."""
    principal = "simulated" if simulated else "human"
    lines = [
        {
            "text": f"prompt {number}", "asked": True, "before": response(None, 0, 3), "after": response(None, 0, 4),
            "said": [{"judge": "people/ab12", "principal": principal, "won": won, "side": side}],
        }
        for number, (won, side) in enumerate(said)
    ]  # fmt: skip
    (tmp / "check").mkdir(exist_ok=True)
    rows.write_rows(tmp / "check" / "check.jsonl", lines)
    judges = judges_of(("people/ab12", principal) for _ in said)
    return Output("check", tmp / "check", {"before": "sft", "judges": judges, **outcome(lines)}, "k" * 64, "run")


def with_people(make: Make, tmp: Path, check: Output, names: tuple[str, ...] = ("people/ab12",)) -> Context:
    """A recipe of comparisons by people, training and a blind check: no evaluation, no reward model."""
    triples = [[name, f"{n}:0:1", [1, 0, 0.5][n % 3]] for n in range(24) for name in names]
    context = make(planted(gold=False), triples=triples)
    for inputs in (context.inputs, context.outputs):
        for name in ("evaluate", "reward"):
            del cast(dict[str, Output], inputs)[name]
        cast(dict[str, Output], inputs)["check"] = check
    return context


def test_people_are_shown_with_interval_and_n_and_never_called_simulated(make: Make, tmp_path: Path) -> None:
    said = [([1, 1, 0.5, 0][number % 4], number // 4 % 2) for number in range(20)]
    context = with_people(make, tmp_path, checked(tmp_path, *said))
    figures = collect_figures(context)
    content = build_content(figures, context, 5, 1e9)
    (headline,) = content.headlines
    assert (headline.label, headline.estimate.n, headline.estimate.value) == ("Preferred by people", 20, 0.625)
    assert headline.explanation == "blind, against sft, ties count half"
    (row,) = content.measures
    assert row.note.startswith("10 won, 5 tied, 5 lost. Shown first instead of second changes the rate by")
    assert "made by one person on 20 prompts. That is few: read the interval" in content.notices[0]
    assert "in 62.5% [" in content.summary
    assert "of 20 cases" in content.summary
    (rater,) = content.raters
    assert (rater.name, rater.kind, rater.judgments) == ("people/ab12", "human", 44)
    assert rater.note == "24 to learn from, 20 in the blind check"
    assert content.agreement_statement == ""
    assert any("one person prefers" in limit for limit in content.limits)
    assert [pair.note.partition(": ")[2] for pair in content.pairs if pair.note.startswith("test prompt 3:")] in (
        [], ["1 equally good"]
    )  # fmt: skip
    assert "simulated" not in repr(content)


def test_raters_who_shared_items_have_an_agreement_with_ties_half_way(make: Make, tmp_path: Path) -> None:
    context = with_people(make, tmp_path, checked(tmp_path, *[(1, n % 2) for n in range(12)]), ("people/a", "people/b"))
    figures = collect_figures(context)
    assert figures.named["rater_alpha"].value == pytest.approx(1)
    assert "interval alpha" in figures.named["rater_alpha"].method
    content = build_content(figures, context, 1, 1e9)
    assert "Agreement of the raters" in {one.label for one in content.measures}
    assert content.agreement_statement
    assert "made by 2 people" in content.notices[0]


def test_a_check_of_too_few_is_refused_on_the_page(make: Make, tmp_path: Path) -> None:
    context = with_people(make, tmp_path, checked(tmp_path, (1, 0), (1, 1)))
    content = build_content(collect_figures(context), context, 1, 1e9)
    assert not content.headlines
    assert content.measures[0].note.startswith("Refused: the responses to 2 prompts were judged")
    assert "says nothing" in content.summary


def test_simulated_raters_in_a_check_are_called_so(make: Make, tmp_path: Path) -> None:
    check = checked(tmp_path, *[(1, n % 2) for n in range(12)], simulated=True)
    content = build_content(
        collect_figures(with_people(make, tmp_path, check)), with_people(make, tmp_path, check), 1, 1e9
    )
    assert content.headlines[0].label == "Preferred by simulated raters"
    assert content.raters[0].kind == "human"  # of the comparisons
    assert "made by one person on" not in content.notices[0]
