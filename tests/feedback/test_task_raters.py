from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from crowd import SimulatedRater, comparisons, on_paper, with_use

from kilter.errors import DataError
from kilter.feedback.quality import RaterQuality, TaskRaters, task_raters
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Aside, Result
from kilter.record import Judgment
from kilter.stats import Estimate, Finding

COMPARISON = {"type": "comparison", "name": "better", "tie": False}
CROWD = [
    SimulatedRater("careful", 0.95), SimulatedRater("usual-1", 0.85), SimulatedRater("usual-2", 0.8),
    SimulatedRater("first", 0.9, first=0.5), SimulatedRater("tired", 0.98, fatigue=0.4, hurry=0.3),
    SimulatedRater("rushed", 0.5, seconds=2), SimulatedRater("contrary", 0.1),
]  # fmt: skip


def task_of(*questions: dict[str, Any], **settings: Any) -> Task:
    return Task(name="t", title="T", questions=questions, **settings)  # type: ignore[arg-type]


def value(found: Finding) -> Estimate:
    assert found.estimate is not None, found.reason
    return found.estimate


def named(found: TaskRaters, name: str) -> RaterQuality:
    rater = found.rater(f"simulated/{name}")
    assert rater is not None
    return rater


@pytest.fixture(scope="module")
def results() -> list[Result]:
    items = [*comparisons(400), *with_use(comparisons(80, 1), "gold")]
    order = np.random.default_rng(0).permutation(len(items))
    return on_paper(task_of(COMPARISON), [items[n] for n in order], CROWD, per_item=5)


@pytest.fixture(scope="module")
def found(results: list[Result]) -> TaskRaters:
    return task_raters(task_of(COMPARISON), results, replicates=200, refits=40)


@pytest.mark.parametrize(
    ("name", "accuracy"), [("careful", 0.95), ("usual-1", 0.85), ("usual-2", 0.8), ("rushed", 0.5), ("contrary", 0.1)]
)
def test_recovers_planted_accuracy_three_ways(found: TaskRaters, name: str, accuracy: float) -> None:
    rater = named(found, name)
    gold = value(rater.gold)
    assert gold.low <= accuracy <= gold.high
    assert (gold.n, gold.method) == (80, "Wilson")
    (confusion,) = rater.confusion
    assert confusion.accuracy.value == pytest.approx(accuracy, abs=0.05)
    assert confusion.values == (0, 1)
    assert np.diag(confusion.matrix) == pytest.approx([accuracy] * 2, abs=0.08)
    assert sum(confusion.seen) == pytest.approx(confusion.accuracy.n)
    # items are equally hard here, so an ability is the log odds of being right, but for its prior's pull
    assert rater.ability["better"].value == pytest.approx(np.log(accuracy / (1 - accuracy)), abs=0.9)


def test_recovers_habits_and_changes(found: TaskRaters) -> None:
    place = value(named(found, "first").position)
    assert place.low <= 0.5 + 0.5 * 0.5 <= place.high
    assert place.method == "share of first places, Wilson"
    straight = [value(named(found, f"{name}").position) for name in ("careful", "usual-1", "usual-2", "rushed")]
    assert sum(one.low <= 0.5 <= one.high for one in straight) >= 3
    tired = named(found, "tired")
    assert tired.gold_change.drift is not None
    assert tired.gold_change.drift.change.low <= -0.2 <= tired.gold_change.drift.change.high
    assert tired.others_change.drift is not None
    # each of the others is right with some q and echoes the loss by 2 q - 1: 0.9, 0.7, 0.6, 0.35, 0 and -0.8
    assert tired.others_change.drift.change.low <= -0.2 * 0.29 <= tired.others_change.drift.change.high
    assert tired.time_change.drift is not None
    assert tired.time_change.drift.change.low <= 0.3**0.5 <= tired.time_change.drift.change.high


def test_recovers_pace(found: TaskRaters) -> None:
    usual = named(found, "usual-1").pace
    assert value(usual.seconds).low <= 12 <= value(usual.seconds).high
    assert usual.quartiles is not None
    assert np.log(usual.quartiles[1] / usual.quartiles[0]) == pytest.approx(2 * 0.6745 * 0.5, abs=0.15)
    assert value(usual.per_hour).value == pytest.approx(3600 / (12 * np.exp(0.5**2 / 2)), rel=0.1)
    assert usual.quick_below == pytest.approx(4, rel=0.15)
    assert value(usual.quick).value < 0.05
    assert value(named(found, "rushed").pace.quick).low > 0.7


def test_notes_name_those_and_nobody_else(found: TaskRaters) -> None:
    said = {one.judge.removeprefix("simulated/"): " ".join(one.notes) for one in found.raters}
    assert "prefers the first place" in said["first"]
    assert "right about fewer gold items than at first" in said["tired"]
    assert "became much faster" in said["tired"]
    assert "answers quickly" in said["rushed"]
    assert "no better than a guess" in said["rushed"]
    assert "says the opposite of the others on better" in said["contrary"]
    assert [said[name] for name in ("careful", "usual-1", "usual-2")] == ["", "", ""]


def test_agreement_with_the_others_follows_from_accuracy() -> None:
    task = task_of(COMPARISON)
    crowd = [SimulatedRater(f"r{n}", p) for n, p in enumerate([0.9, 0.8, 0.7])]
    found = task_raters(task, on_paper(task, comparisons(1500), crowd), replicates=100, refits=0)
    for one, p, others in (("r0", 0.9, (0.8, 0.7)), ("r2", 0.7, (0.9, 0.8))):
        expected = np.mean([p * q + (1 - p) * (1 - q) for q in others])
        assert value(named(found, one).others).value == pytest.approx(expected, abs=0.03)
    assert named(found, "r0").confusion == ()


def test_recovers_confusion_of_labels_and_leniency_of_grades() -> None:
    sloppy = {"x": {"x": 0.9, "y": 0.05, "z": 0.05}, "y": {"x": 0.4, "y": 0.6, "z": 0.0}, "z": {"x": 0.1, "z": 0.9}}
    good = {a: {b: 0.9 if a == b else 0.05 for b in "xyz"} for a in "xyz"}
    crowd = [
        SimulatedRater("good-1", confusion=good), SimulatedRater("good-2", confusion=good, severity=0),
        SimulatedRater("good-3", confusion=good), SimulatedRater("sloppy", confusion=sloppy, severity=-1),
    ]  # fmt: skip
    task = task_of(
        {"type": "label", "name": "kind", "ask": "?", "labels": ["x", "y", "z"]},
        {"type": "rating", "name": "clear", "ask": "?", "high": 9},
    )
    rng = np.random.default_rng(1)
    items = [
        TaskItem((), (f"text {n}",), meta={"truth": {"kind": str(rng.choice(list("xyz"))), "clear": {"overall": 5.0}}})
        for n in range(600)
    ]
    found = task_raters(task, on_paper(task, items, crowd), replicates=100, refits=40)
    confusion = named(found, "sloppy").confusion[0]
    assert (confusion.question, confusion.values) == ("kind", ("x", "y", "z"))
    planted = np.array([[sloppy[a].get(b, 0) for b in "xyz"] for a in "xyz"])
    assert np.abs(np.array(confusion.matrix) - planted).max() < 0.09
    assert np.mean((np.array(confusion.low) - 0.01 <= planted) & (planted <= np.array(confusion.high) + 0.01)) > 0.85
    lenient = value(named(found, "sloppy").leniency["clear"])
    assert lenient.low <= -1 <= lenient.high
    assert any("grades lower than the others on clear" in note for note in named(found, "sloppy").notes)
    assert value(named(found, "good-1").leniency["clear"]).value == pytest.approx(1 / 3, abs=0.1)
    assert "averaged" in found.models_refused["GLAD of clear"]


def test_gold_is_for_accuracy_alone_and_training_for_nothing(found: TaskRaters, results: list[Result]) -> None:
    careless = [SimulatedRater(one.name, 0.5, seconds=90) for one in CROWD]
    more = on_paper(task_of(COMPARISON), with_use(comparisons(50, 9), "training"), careless)
    again = task_raters(task_of(COMPARISON), [*results, *more], replicates=200, refits=40)
    assert again.as_dict() == found.as_dict()
    work = [one for one in results if one.item.use == "work"]
    without = task_raters(task_of(COMPARISON), work, replicates=200, refits=40)
    for one, other in zip(without.raters, found.raters, strict=True):
        assert (one.others, one.position, one.pace, one.items) == (
            other.others,
            other.position,
            other.pace,
            other.items,
        )
        assert one.gold.reason == "no gold item was judged"
        assert one.gold_change.drift is None


def test_one_rater_alone_gets_reasons_instead_of_numbers() -> None:
    task = task_of(COMPARISON)
    found = task_raters(task, on_paper(task, comparisons(5), CROWD[:1]))
    (rater,) = found.raters
    assert found.basis.who == "1 SIMULATED rater"
    assert rater.others.reason == "nobody else judged the same items"
    assert "with one rater nothing tells" in found.models_refused["Dawid-Skene of better"]
    assert "5 values are too few" in (rater.pace.seconds.reason or "")
    assert "5 times are too few" in (rater.time_change.reason or "")
    assert json.loads(json.dumps(found.as_dict()))["raters"][0]["confusion"] == []
    with pytest.raises(DataError, match="Nobody has judged"):
        task_raters(task, [])


def test_sides_that_were_not_dealt_say_nothing_of_places() -> None:
    fixed = task_of(COMPARISON, blind=False)
    rater = task_raters(fixed, on_paper(fixed, comparisons(20), CROWD[:1])).raters[0]
    assert "not dealt at random" in (rater.position.reason or "")
    labels = task_of({"type": "label", "name": "kind", "ask": "?", "labels": ["x", "y"]})
    items = [TaskItem((), (f"t{n}",), meta={"truth": {"kind": "x"}}) for n in range(9)]
    assert "side by side" in (task_raters(labels, on_paper(labels, items, CROWD[:1])).raters[0].position.reason or "")


def test_position_of_rankings_counts_pairs_by_item() -> None:
    class Eager(SimulatedRater):
        def _ranking(self, question, truth, one, right, random):
            return list(range(len(truth)))  # as they stand on screen

    task = task_of({"type": "ranking", "name": "order"})
    items = [TaskItem((), tuple("abcd"), meta={"truth": {"order": [3, 2, 1, 0]}}, stratum=str(n)) for n in range(40)]
    found = task_raters(task, on_paper(task, items, [Eager("eager"), SimulatedRater("even"), SimulatedRater("third")]))
    eager, even = (value(named(found, name).position) for name in ("eager", "even"))
    assert (eager.value, eager.n) == (1.0, 240)
    assert eager.low < 0.95  # forty items, not 240 choices
    assert even.low <= 0.5 <= even.high


def test_skips_and_flags_are_shares_of_what_was_seen() -> None:
    task = task_of(COMPARISON)
    results = on_paper(task, comparisons(30), CROWD[:2])
    judge = results[0].judge
    note = Judgment("x", "Can this be judged?", judge, "simulated", {"skipped": "?"})
    aside = [Aside(str(n), results[0].item, note, "skipped", "?", 0.0) for n in range(15)]
    aside += [Aside("f", results[0].item, note, "flagged", "?", 0.0)]
    rater = task_raters(task, results, aside, only=judge).raters
    assert len(rater) == 1
    assert (rater[0].skipped.value, rater[0].skipped.n) == (pytest.approx(15 / 46), 46)
    assert rater[0].flagged.value == pytest.approx(1 / 46)
    assert any("skips much" in one for one in rater[0].notes)
