"""Critics and process rewards that a 135M model learns here, on structures it has not seen: results/oversight.json.

`python bench/critics.py [--rows critic gdc process] [--cases 400]`

Cases of the train split teach it, cases of the test split measure it; they share no structure and no wording. The
raters that it helps are simulated, and every such row says so.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from oversight import RATERS, row
from rows import RESULTS, keep

from kilter.models import load
from kilter.oversight import effects, help_by_arm, latin_square, simulate
from kilter.oversight.assistance import Assistance
from kilter.oversight.conduct import rater_pool
from kilter.oversight.critics import (
    SurpriseCritic,
    critic_quality,
    fit_curve,
    gdc_gap,
    train_surprise_critic,
)
from kilter.oversight.study import SimulatedRatersSettings
from kilter.stats import rate
from kilter.testbeds import Case, generate
from kilter.training import LoraSettings, SFTSettings, case_prompt, step_labels, stepped, train_process_reward
from kilter.training.process_reward import ProcessRewardSettings

MODEL, WORDS, DIFFICULTY = "smollm2-135m", 200, 0.0
ARMS = ("none", "critiques", "placebo", "misleading")
PROCESS_TIMES = 30
"""A solution is short, and to tell a wrong step takes many: so many times as many as other cases."""
THRESHOLDS = (0.3, 0.5, 0.7, 0.9)


def stories(n: int, split: str, flawed: float) -> list[Case]:
    """Short stories, so that two cores train a critic in minutes."""
    return generate("stories", n, 0, split, difficulty=DIFFICULTY, flawed=flawed, words=WORDS)  # type: ignore[arg-type]


def critic(cases: int) -> list[Any]:
    """A critic before and after it learned, against chance, and what its help is worth at several thresholds."""
    held_out, found = stories(100, "test", 1.0), []
    learn = stories(cases, "train", 0.9)
    lm = load(MODEL)
    base = SurpriseCritic(lm, fit_curve(lm, learn[::5]))
    found += quality("not trained", base, held_out)
    with TemporaryDirectory() as folder:
        trained, result = train_surprise_critic(lm, learn, SFTSettings(), Path(folder), progress=shown)
    how = f"trained on {cases} cases in {result['seconds'] / 60:.0f} minutes"
    found += quality(how, trained, held_out)
    return found + help_of(trained, how, stories(60, "test", 0.8))


def quality(how: str, one: SurpriseCritic, cases: Sequence[Case]) -> list[Any]:
    """What the critic names, against a passage at random."""
    measured = critic_quality(one, cases)
    work = f"{MODEL} as critic of surprise, {how}; {len(cases)} flawed summaries of stories, structures not seen"
    name = f"135M critic, {how.split(' on ')[0]}"
    return [
        row(f"{name}: a flaw is what it is surest of", "share", measured.named, work),
        row(f"{name}: the same, over a passage at random", "share", measured.gain, work, 0.0),
        row(f"{name}: flawed passages before right ones", "share", measured.ranked, work, 0.5),
    ]


def help_of(critic: SurpriseCritic, how: str, cases: list[Case]) -> list[Any]:
    """Simulated raters with its claims at several thresholds."""
    critic.threshold = 0.0
    everything, found = critic.criticize_all(cases), []
    for threshold in THRESHOLDS:
        shown = help_by_arm(cases, [above(one, threshold) for one in everything], ARMS, 0)
        trials = latin_square(RATERS, len(cases), ARMS, seed=0)
        raters = rater_pool(SimulatedRatersSettings(count=RATERS), 0)
        work = f"simulated: {RATERS} raters, {len(cases)} stories, {MODEL} {how}, passages of P(wrong) >= {threshold:g}"
        for arm, worth in effects(simulate(cases, shown, trials, raters, 0)).items():
            for what, one, better in (
                ("flaws found", worth.ratio, "higher"), ("right passages marked", worth.false_ratio, "lower"),
            ):  # fmt: skip
                repeated = arm == "misleading" and threshold != 0.5  # it does not depend on the critic
                if one is not None and one.estimate is not None and not repeated:
                    name = f"135M critic at {threshold:g}, {arm}: {what}, against no help"
                    target = 1.5 if arm == "critiques" and what == "flaws found" else None
                    found.append(row(name, "ratio", one.estimate, work, target, better))
    return found


def above(one: Assistance, threshold: float) -> Assistance:
    """The claims that are sure enough."""
    return replace(one, claims=tuple(claim for claim in one.claims if (claim.probability or 0) >= threshold))


def gdc(cases: int) -> list[Any]:
    """Generator, discriminator and critic of the model, on the same pairs."""
    held_out = stories(50, "test", 1.0)
    lm = load(MODEL)
    found = []
    for how, surprised in (
        ("asked", None),
        ("by surprise", SurpriseCritic(lm, fit_curve(lm, stories(60, "train", 0.9)))),
    ):
        measured = gdc_gap(lm, held_out, surprised)
        work = f"{MODEL}, not trained, {how}; {len(held_out)} pairs of summaries of stories"
        for name, one in vars(measured).items():
            found.append(row(f"GDC, {how}: {name}", "share", one, work, None if name in ("gd", "dc") else 0.5))
    return found


def process(cases: int) -> list[Any]:
    """A process reward model from step labels: it picks the right one of two solutions."""
    lm, cases = load(MODEL), PROCESS_TIMES * cases
    learn = [stepped(lm, one.prompt, one.steps, one.labels) for one in step_labels(reasoning(cases, "train", 0))]
    settings = ProcessRewardSettings(lr=5e-4, lora=LoraSettings(first_layer=10))
    found = []
    with TemporaryDirectory() as folder:
        model, _ = train_process_reward(lm, learn, settings, Path(folder), progress=shown)
        for where, some in (
            ("new problems", reasoning(200, "train", 1)),
            ("new structures", reasoning(200, "test", 0)),
        ):
            pairs = [case for case in some if case.flaws]
            asked = [case_prompt(case) for case in pairs]
            right, wrong = (
                model(asked, [case.correct for case in pairs]),
                model(asked, [case.response for case in pairs]),
            )
            picked = rate([0.5 if a == b else float(a > b) for a, b in zip(right, wrong, strict=True)])
            work = f"{MODEL} learned step labels of {cases} solutions; pairs of a right and a flawed solution, {where}"
            found.append(row(f"process reward, {where}: picks the right solution", "share", picked, work, 0.5))
    return found


def reasoning(n: int, split: str, seed: int) -> list[Case]:
    """Problems with steps, most of them with a wrong one."""
    return generate("reasoning", n, seed, split, difficulty=0.0, flawed=0.8)  # type: ignore[arg-type]


def shown(what: str, step: int, total: int, metrics: dict[str, float]) -> None:
    """A line now and then."""
    if step % 5 == 0:
        print(f"\r{what} {step} of {total}, loss {metrics.get('loss', float('nan')):.3f}", end="", flush=True)


ROWS: dict[str, Callable[[int], list[Any]]] = {"critic": critic, "gdc": gdc, "process": process}


def main() -> None:
    """Measure the rows that are asked for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", nargs="*", default=list(ROWS), choices=list(ROWS))
    parser.add_argument("--cases", type=int, default=200, help="to learn from")
    options = parser.parse_args()
    for name in options.rows:
        new = ROWS[name](options.cases)
        keep(RESULTS / "oversight.json", new)
        print()
        for one in new:
            ours = one["ours"]
            print(f"{one['row']:75} {ours['value']:.3f} [{ours['low']:.3f}, {ours['high']:.3f}] {one['unit']}")


if __name__ == "__main__":
    main()
