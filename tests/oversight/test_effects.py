"""Whole simulated experiments: help that helps, a placebo, help that harms, and no help at all."""

from __future__ import annotations

import pytest
from made_cases import made_case

from kilter.errors import DataError
from kilter.oversight import ProgramCritic, RaterSettings
from kilter.oversight.assistance import ARMS, Arm
from kilter.oversight.effects import effects, found_by, reliance
from kilter.oversight.experiment import Outcome, help_by_arm, simulate
from kilter.oversight.plan import latin_square

CASES = [made_case(number, wrong=(1, 4) if number % 3 else ()) for number in range(60)]


def run(arms: tuple[Arm, ...] = ARMS, seed: int = 0, raters: int = 15) -> list[Outcome]:
    critic = ProgramCritic(0.7, 0.5)
    shown = help_by_arm(CASES, [critic.criticize(case, seed) for case in CASES], arms, seed)
    people = [RaterSettings(sees=0.4 + 0.02 * number) for number in range(raters)]
    return simulate(CASES, shown, latin_square(raters, len(CASES), arms, seed=seed), people, seed)


def test_arms_do_what_they_should() -> None:
    found = effects(run())
    assert list(found) == ["none", "critiques", "misleading", "oracle", "placebo"]
    for arm, low, high in (
        ("critiques", 1.1, 2.0),
        ("oracle", 1.3, 2.5),
        ("placebo", 0.8, 1.25),
        ("misleading", 0.3, 0.9),
    ):
        one = found[arm]  # type: ignore[index]
        assert one.ratio is not None
        assert one.ratio.estimate is not None
        assert one.resampled is not None
        assert one.resampled.estimate is not None
        assert low < one.ratio.estimate.value < high
        assert (one.ratio.estimate.low < 1 < one.ratio.estimate.high) == (arm == "placebo")
        assert one.resampled.estimate.value == pytest.approx(one.ratio.estimate.value, rel=0.1)
        assert one.p is not None
        assert (one.p < 0.05) == (arm != "placebo")
    assert found["none"].ratio is None
    assert found["misleading"].false.value > 1.5 * found["none"].false.value
    assert found["critiques"].effort.value <= found["none"].effort.value


def test_reliance_is_told_apart() -> None:
    outcomes = run()
    oracle = reliance(outcomes, "oracle")
    assert oracle.over.estimate is None
    assert "No wrong claim" in str(oracle.over.reason)
    assert oracle.under.estimate is not None
    misled = reliance(outcomes, "misleading")
    assert misled.over.estimate is not None
    assert 0.3 < misled.over.estimate.value < 0.6  # trust, and checks that come out wrong
    assert misled.under.estimate is None
    assert reliance(outcomes, "placebo").over.estimate is None


def test_flaws_by_type() -> None:
    by_type = found_by(run(), "oracle", "type")
    assert set(by_type) == {"odd", "even"}
    assert all(one.n == 15 * 40 // 5 for one in by_type.values())


def test_the_same_rater_says_the_same_alone_in_every_arm() -> None:
    cases, people = CASES[:5], [RaterSettings()] * 5
    shown = help_by_arm(cases, [ProgramCritic(1, 0).criticize(case, 0) for case in cases], ARMS, 0)
    alone = {}
    for seed in (1, 2):
        for one in simulate(cases, shown, latin_square(5, 5, ARMS, seed=seed), people, 7):
            alone.setdefault((one.trial.rater, one.trial.item), set()).add(tuple(one.review.alone))
    assert {len(said) for said in alone.values()} == {1}


def test_an_experiment_needs_a_baseline() -> None:
    with pytest.raises(DataError, match="baseline 'none'"):
        effects(run(("critiques", "oracle")))
