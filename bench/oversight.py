"""What help is worth to simulated raters, and whether the statistics can be trusted: into results/oversight.json.

`python bench/oversight.py [--rows curve arms null planted speed rrm] [--testbeds stories]`

The raters are simulated and every row says so; critics are programs of known quality here, and models that are
trained here in bench/critics.py.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Sequence
from itertools import islice, product
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
from rows import RESULTS, commit, describe_machine, keep

from kilter.oversight import Outcome, ProgramCritic, effects, help_by_arm, latin_square, reliance, simulate
from kilter.oversight.conduct import rater_pool
from kilter.oversight.study import SimulatedRatersSettings
from kilter.stats import Estimate, Trials, mixed_poisson, permutation_tests, rate, two_way_ratios
from kilter.testbeds import Case, generate

RATERS, CASES, EXPERIMENTS = 20, 60, 1000
LABELS, TRAININGS = (40, 160, 640), 3
FINDS = (0.2, 0.4, 0.6, 0.8, 1.0)
INVENTS = (0.05, 0.2, 0.5)
CRITIC = ProgramCritic(0.7, 0.05)
ARMS = ("none", "critiques", "placebo", "misleading", "oracle")


def row(name: str, unit: str, ours: Estimate, work: str, target: float | None = None, better: str = "higher") -> Any:
    """A row of the results; there is no peer that measures this."""
    return {
        "row": name, "unit": unit, "better": better,
        "ours": {"value": ours.value, "low": ours.low, "high": ours.high, "n": ours.n}, "peer": None, "ratio": None,
        "target": target, "work": work, "method": ours.method, "machine": describe_machine(), "commit": commit(),
    }  # fmt: skip


def experiment(
    cases: Sequence[Case], critic: ProgramCritic, arms: Sequence[str], seed: int, raters: int = RATERS
) -> list[Outcome]:
    """One experiment with raters around the usual one."""
    critiques = [critic.criticize(case, seed) for case in cases]
    shown = help_by_arm(cases, critiques, arms, seed)  # type: ignore[arg-type]
    trials = latin_square(raters, len(cases), arms, seed=seed)  # type: ignore[arg-type]
    return simulate(cases, shown, trials, rater_pool(SimulatedRatersSettings(count=raters), seed), seed)


def curve(testbed: str, cases: list[Case]) -> list[Any]:
    """Flaws found, and right passages marked, against the quality of the critic."""
    found = []
    for finds, invents in product(FINDS, INVENTS):
        worth = effects(experiment(cases, ProgramCritic(finds, invents), ("none", "critiques"), 0))["critiques"]
        critic = f"a critic that finds {finds:g} and invents {invents:g}"
        work = f"simulated: {RATERS} raters, {len(cases)} cases of {testbed}, {critic} per case"
        for what, one, better in (
            ("flaws found", worth.ratio, "higher"), ("right passages marked", worth.false_ratio, "lower"),
        ):  # fmt: skip
            assert one is not None
            if one.estimate is not None:
                name = f"{testbed}, {critic}: {what}, against no help"
                found.append(row(name, "ratio", one.estimate, work, better=better))
    return found


def arms(testbed: str, cases: list[Case]) -> list[Any]:
    """Every arm: bugs included after help, and spurious claims that were accepted, per case."""
    outcomes = experiment(cases, CRITIC, ARMS, 0)
    work = f"simulated: {RATERS} raters, {len(cases)} cases of {testbed}, {CRITIC.name}"
    found = []
    for arm, worth in effects(outcomes).items():
        found.append(row(f"{testbed}, {arm}: flaws found", "per case", worth.found, work))
        found.append(row(f"{testbed}, {arm}: right passages marked", "per case", worth.false, work, better="lower"))
        if worth.ratio is not None and worth.ratio.estimate is not None:
            found.append(row(f"{testbed}, {arm}: flaws found, against no help", "ratio", worth.ratio.estimate, work))
        said = reliance(outcomes, arm)
        for what, one in (("wrong claims accepted", said.over), ("right claims refused", said.under)):
            if one.estimate is not None:
                found.append(row(f"{testbed}, {arm}: {what}", "share", one.estimate, work, better="lower"))
    return found


def null(testbed: str, cases: list[Case]) -> list[Any]:
    """How often an experiment without an effect shows one: the placebo is about other cases, so nothing helps."""
    shown = {"model": 0, "resampled": 0, "shuffled": 0}
    rng = np.random.default_rng(0)
    for seed in range(EXPERIMENTS):
        some = [cases[index] for index in rng.choice(len(cases), 24, replace=False)]
        outcomes = experiment(some, CRITIC, ("none", "placebo"), seed, raters=12)
        trials = Trials.from_rows(
            ((one.trial.rater, one.trial.item, one.trial.arm, one.found.found) for one in outcomes), "none"
        )
        model, resampled = (
            mixed_poisson(trials).ratios["placebo"],
            two_way_ratios(trials, seed=seed, replicates=500)["placebo"],
        )
        shown["model"] += not model.low <= 1 <= model.high
        shown["resampled"] += not resampled.low <= 1 <= resampled.high
        shown["shuffled"] += permutation_tests(trials, seed=seed, deals=999)["placebo"] <= 0.05
        if seed % 50 == 49:
            print(f"\rA/A {seed + 1} of {EXPERIMENTS}: {shown}", end="", flush=True)
    print()
    work = f"simulated: {EXPERIMENTS:,} experiments of 12 raters and 24 cases of {testbed}, placebo against none"
    return [
        row(f"A/A: an effect is shown, {how}", "share", rate([1.0] * count + [0.0] * (EXPERIMENTS - count)), work,
            0.05, "lower")
        for how, count in shown.items()
    ]  # fmt: skip


def planted(*_: Any) -> list[Any]:
    """How often the interval holds a ratio that was planted, and how far the estimates are from it on average."""
    times, ratio = 300, 1.5
    held = {"model": 0, "resampled": 0}
    values = []
    for seed in range(times):
        rng = np.random.default_rng(seed)
        raters, items = rng.normal(0, 0.3, 12), rng.normal(0, 0.4, 40)
        rows = []
        for trial in latin_square(12, 40, ("none", "critiques"), seed=seed):
            mean = 0.8 * np.exp(raters[trial.rater] + items[trial.item]) * (ratio if trial.arm == "critiques" else 1)
            rows.append((trial.rater, trial.item, trial.arm, float(rng.poisson(mean))))
        trials = Trials.from_rows(rows, "none")
        model, resampled = (
            mixed_poisson(trials).ratios["critiques"],
            two_way_ratios(trials, seed=seed, replicates=500)["critiques"],
        )
        held["model"] += model.low <= ratio <= model.high
        held["resampled"] += resampled.low <= ratio <= resampled.high
        values.append(model.value)
    work = f"{times} experiments of 12 raters and 40 items with a planted ratio of {ratio}"
    logs = np.log(values)
    spread = 1.96 * logs.std(ddof=1) / np.sqrt(times)
    mean = Estimate(
        float(np.exp(logs.mean())), float(np.exp(logs.mean() - spread)), float(np.exp(logs.mean() + spread)), times,
        "geometric mean of the estimates, normal interval",
    )  # fmt: skip
    return [
        row("planted ratio of 1.5, estimated", "ratio", mean, work, ratio),
        *(row(f"planted ratio held by the 95 % interval, {how}", "share",
              rate([1.0] * count + [0.0] * (times - count)), work, 0.95) for how, count in held.items()),
    ]  # fmt: skip


def speed(testbed: str, cases: list[Case]) -> list[Any]:
    """Simulated judgments a second, an answer alone and one with help each."""
    values = []
    critiques = [CRITIC.criticize(case, 0) for case in cases]
    shown = help_by_arm(cases, critiques, ARMS, 0)  # type: ignore[arg-type]
    trials = latin_square(200, len(cases), ARMS, seed=0)  # type: ignore[arg-type]
    pool = rater_pool(SimulatedRatersSettings(count=200), 0)
    for round_ in range(5):
        began = time.perf_counter()
        values.append(2 * len(simulate(cases, shown, trials, pool, round_)) / (time.perf_counter() - began))
    ours = Estimate(float(np.median(values)), min(values), max(values), len(values), "median and range of rounds")
    work = (
        f"{len(trials):,} trials of two answers, 200 simulated raters on {len(cases)} cases of {testbed}, one process"
    )
    return [row(f"simulated judgments, {testbed}", "per second", ours, work, 10_000)]


def rrm(*_: Any) -> list[Any]:
    """Accuracy of the reward model on hard pairs, for depth and labels: the 135M model learns from a judge."""
    from kilter.models import load
    from kilter.oversight.recursion.evaluation import BareJudge, accuracy, pairs_of, recursive_reward_model
    from kilter.oversight.recursion.learner import RewardLearner
    from kilter.training.reward import RewardSettings

    hard, found = list(islice(pairs_of(1, "test", hard=True), 400)), []

    def once(labels: int, depth: int, seed: int) -> float:
        with TemporaryDirectory() as folder:
            learner = RewardLearner(lambda: load("smollm2-135m"), RewardSettings(seed=seed), Path(folder))
            predict = recursive_reward_model(learner, BareJudge(), pairs_of(2 * seed, "train"), depth, labels, seed)
            value = accuracy(predict, hard).value
        print(f"RRM, seed {seed}, depth {depth}, {labels} labels: {value:.4f}", flush=True)
        return value

    for labels, depth in product(LABELS, (0, 1, 2)):
        values = [once(labels, depth, seed) for seed in range(TRAININGS)]
        one = Estimate(float(np.mean(values)), min(values), max(values), TRAININGS, "mean and range of trainings")
        work = f"smollm2-135m learns from {labels} labels of a simulated judge; 400 hard pairs of the test split"
        found.append(row(f"recursive reward modeling, depth {depth}, {labels} labels: accuracy", "share", one, work))
    return found


ROWS = {"curve": curve, "arms": arms, "null": null, "planted": planted, "speed": speed, "rrm": rrm}


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--testbeds", nargs="*", default=["stories"])
    options = parser.parse_args()
    for testbed in options.testbeds:
        words = {"words": 400} if testbed == "stories" else {}
        cases = generate(testbed, 400, 0, "test", difficulty=0.3, flawed=0.8, **words)
        for name in options.rows:
            if name in ("null", "planted", "rrm") and testbed != options.testbeds[0]:
                continue  # of the statistics, not of a testbed
            new = ROWS[name](testbed, cases if name == "null" else cases[:CASES])
            keep(RESULTS / "oversight.json", new)
            for one in new:
                ours = one["ours"]
                print(f"{one['row']:75} {ours['value']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}] {one['unit']}")


if __name__ == "__main__":
    main()
