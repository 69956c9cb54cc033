from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from crowd import SimulatedRater, comparisons, on_paper, with_use

from kilter.errors import DataError
from kilter.feedback.quality import task_agreement
from kilter.feedback.tasks import Task, TaskItem
from kilter.stats import Estimate, Finding

RATERS = [SimulatedRater(f"r{n}") for n in range(4)]


def task_of(*questions: dict[str, Any]) -> Task:
    return Task(name="t", title="T", questions=questions)  # type: ignore[arg-type]


def items(count: int, truth: Any, responses: int = 1, steps: int = 0) -> list[TaskItem]:
    """Items whose truth is `truth(number, random)` by question."""
    rng = np.random.default_rng(0)
    texts = [f"Reply {k} " + "word " * 30 for k in range(responses)]
    return [
        TaskItem(
            ({"role": "user", "content": f"Q{n}"},), tuple(texts), tuple(f"step {k}" for k in range(steps)),
            meta={"truth": truth(rng)},
        )
        for n in range(count)
    ]  # fmt: skip


def value(found: Finding) -> Estimate:
    assert found.estimate is not None, found.reason
    return found.estimate


def test_labels_recover_the_planted_alpha():
    # Right with a, else one of two others: two raters agree with a^2 + (1 - a)^2 / 2; labels are equally frequent.
    task = task_of({"type": "label", "name": "kind", "ask": "?", "labels": ["x", "y", "z"]})
    work = items(600, lambda rng: {"kind": str(rng.choice(["x", "y", "z"]))})
    result = task_agreement(task, on_paper(task, work, RATERS))
    agree = 0.85**2 + 0.15**2 / 2
    (kind,) = result.aspects
    found = value(kind.coefficients.alpha)
    assert found.value == pytest.approx(1 - (1 - agree) / (2 / 3), abs=0.03)
    assert found.low < 1 - (1 - agree) / (2 / 3) < found.high
    assert value(kind.coefficients.raw).value == pytest.approx(agree, abs=0.02)
    assert (result.basis.raters, result.basis.simulated, result.basis.items) == (4, 4, 600)
    assert result.basis.who == "4 SIMULATED raters"


def test_several_labels_are_told_one_by_one():
    task = task_of({"type": "label", "name": "flags", "ask": "?", "labels": ["rude", "long"], "several": True})

    class Flagger(SimulatedRater):
        def _label(self, question, truth, one, right, random):
            return [
                label
                for label in question.labels
                if (label in truth) == (random.random() < (0.95, 0.6)[label == "long"])
            ]

    work = items(150, lambda rng: {"flags": [one for one in ("rude", "long") if rng.random() < 0.5]})
    rude, long = task_agreement(task, on_paper(task, work, [Flagger(f"r{n}") for n in range(3)])).aspects
    assert (rude.title, long.title) == ("flags: rude", "flags: long")
    assert value(rude.coefficients.alpha).low > 0.6 > 0.3 > value(long.coefficients.alpha).value


def test_grades_are_ordinal_or_whatever_is_asked_for():
    task = task_of({"type": "rating", "name": "good", "ask": "?", "dimensions": ["clear", "true"], "of": "responses"})
    work = items(60, lambda rng: {"good": [{"clear": g, "true": 8 - g} for g in rng.integers(1, 8, 2)]}, responses=2)
    results = on_paper(task, work, [SimulatedRater(f"r{n}", noise=1.0) for n in range(3)])
    result = task_agreement(task, results)
    assert [one.title for one in result.aspects] == ["good: clear", "good: true"]
    assert {one.coefficients.level for one in result.aspects} == {"ordinal"}
    assert {one.unit for one in result.aspects} == {"response"}
    assert result.aspects[0].coefficients.items == 120
    assert "of 60 clusters" in value(result.aspects[0].coefficients.alpha).method
    interval = task_agreement(task, results, level="interval").aspects[0].coefficients
    assert interval.level == "interval"
    # grades are a true one plus noise: interval alpha is the share of the variance that is true
    assert value(interval.alpha).value == pytest.approx(4 / (4 + 1), abs=0.06)
    nominal = task_agreement(task, results, level="nominal").aspects[0].coefficients
    assert value(nominal.alpha).value < value(interval.alpha).value


def test_strength_counts_near_answers_as_nearer():
    task = task_of({"type": "comparison", "name": "better", "strength": 3, "tie": False})
    side, strength = task_agreement(task, on_paper(task, comparisons(150), RATERS)).aspects
    assert (side.title, side.coefficients.level) == ("better", "nominal")
    assert (strength.title, strength.coefficients.level) == ("better: strength", "ordinal")
    assert set(strength.coefficients.prevalence) == {-3, -2, -1, 1, 2, 3}
    assert value(side.coefficients.alpha).value == pytest.approx(4 * 0.35**2, abs=0.07)


def test_rankings_have_tau_and_pairs():
    task = task_of({"type": "ranking", "name": "order"})
    work = items(80, lambda rng: {"order": list(rng.permutation([0.0, 1.5, 3.0, 4.5]))}, responses=4)
    result = task_agreement(task, on_paper(task, work, RATERS))
    worth = np.exp([4.5, 3.0, 1.5, 0.0])
    share = worth[:, None] / (worth[:, None] + worth)
    true = float(np.mean(((2 * share - 1) ** 2)[np.triu_indices(4, 1)]))
    tau = result.rankings["order"]
    assert value(tau.tau).value == pytest.approx(true, abs=0.05)
    (pairs,) = result.aspects
    assert (pairs.unit, pairs.coefficients.items) == ("pair", 80 * 6)
    # without ties, tau is 1 - 2 * the share of pairs in another order
    assert value(pairs.coefficients.raw).value == pytest.approx((1 + value(tau.tau).value) / 2, abs=1e-9)


def test_steps_are_compared_as_far_as_both_went():
    task = task_of({"type": "steps", "name": "right"})
    work = items(80, lambda rng: {"right": [int(k) for k in rng.choice([1, 0, -1], 5, p=[0.7, 0.2, 0.1])]}, steps=5)
    (steps,) = task_agreement(task, on_paper(task, work, RATERS)).aspects
    assert steps.unit == "step"
    assert steps.coefficients.items < 80 * 5
    assert value(steps.coefficients.alpha).low > 0.4


def test_flaws_have_spans_and_whether_there_is_any():
    task = task_of({"type": "flaws", "name": "flaws", "types": ["wrong", "vague"], "notes": "none"})

    def planted(rng) -> dict[str, Any]:
        starts = rng.choice(9, rng.integers(0, 4), replace=False) * 15
        return {"flaws": [
            {"response": 0, "start": int(at), "end": int(at) + 10, "type": ("wrong", "vague")[at % 2]} for at in starts
        ]}  # fmt: skip

    raters = [SimulatedRater(f"r{n}", 0.7) for n in range(3)]
    result = task_agreement(task, on_paper(task, items(200, planted), raters))
    spans = result.passages["flaws"]
    assert value(spans.f1).value == pytest.approx(0.7, abs=0.04)  # each finds a flaw with 0.7, none are invented
    assert value(spans.typed_f1).value == value(spans.f1).value
    assert value(spans.alpha).low > 0.5
    assert spans.empty > 0
    assert [one.title for one in result.aspects] == ["flaws: any"]


def test_only_work_counts():
    task = task_of({"type": "comparison", "name": "better", "tie": False})
    work = comparisons(40)
    others = [one for use in ("gold", "training", "qualification") for one in with_use(comparisons(30, 1), use)]
    perfect = [SimulatedRater(f"r{n}", 1.0) for n in range(3)]
    noisy = on_paper(task, work, [SimulatedRater(f"r{n}", 0.5) for n in range(3)])
    mixed = task_agreement(task, [*noisy, *on_paper(task, others, perfect)])
    assert mixed.as_dict() == task_agreement(task, noisy).as_dict()
    with pytest.raises(DataError, match=r"Nobody has judged an item of the task 't' yet \(270 judgments are of gold"):
        task_agreement(task, on_paper(task, others, perfect))


def test_what_cannot_be_had_is_refused_with_the_reason():
    task = task_of(
        {"type": "comparison", "name": "better", "tie": False},
        {"type": "text", "name": "why", "ask": "Why?"},
        {"type": "label", "name": "kind", "ask": "?", "labels": ["x", "y"], "required": False},
    )

    class Writer(SimulatedRater):
        def _text(self, *_):
            return "Because."

    work = [
        TaskItem(one.prompt, one.responses, meta={"truth": {**one.meta["truth"], "why": ""}}) for one in comparisons(20)
    ]
    alone = task_agreement(task, on_paper(task, work, [Writer("r0")]))
    assert alone.basis.who == "1 SIMULATED rater"
    assert "no two good ones are the same" in alone.refused["why"]
    assert alone.refused["kind"] == "nobody has answered it yet"
    found = alone.as_dict()["aspects"][0]
    for name in ("alpha", "ac1", "raw"):
        assert found[name] == {"refused": "no item was judged by two raters"}
    assert json.dumps(task_agreement(task, on_paper(task, work[:5], [Writer("a"), Writer("b")])).as_dict())
