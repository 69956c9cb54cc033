from __future__ import annotations

import json

import numpy as np
import pytest
from crowd import SimulatedRater, comparisons, on_paper, with_use

from kilter.errors import DataError
from kilter.feedback.quality import OwnQuality, own_quality, task_raters
from kilter.feedback.tasks import Task
from kilter.feedback.work import Aside, Result
from kilter.record import Judgment

TASK = Task(name="t", title="T", questions=[{"type": "comparison", "name": "better", "tie": False}])  # type: ignore[list-item]
CROWD = [SimulatedRater("me", 0.9), SimulatedRater("you", 0.8), SimulatedRater("them", 0.7)]


def judged(work: int, gold: int) -> list[Result]:
    items = [*comparisons(work), *with_use(comparisons(gold, 1), "gold")]
    order = np.random.default_rng(0).permutation(len(items))
    return on_paper(TASK, [items[n] for n in order], CROWD)


def mine(results: list[Result], asides: list[Aside] | None = None) -> OwnQuality:
    return own_quality(TASK, results, asides or [], "simulated/me", replicates=50)


def test_the_numbers_are_those_that_researchers_see_with_checks_as_work() -> None:
    results = judged(150, 50)
    own = mine(results)
    found = task_raters(TASK, results, only="simulated/me", replicates=50).raters[0]
    assert (own.items, found.items, found.gold_items) == (200, 150, 50)
    assert own.gold == found.gold  # 200 items are whole blocks
    shown = json.loads(json.dumps(own.as_dict()))
    assert shown.keys().isdisjoint({"gold_items", "gold_change", "confusion", "ability", "notes"})
    assert shown["pace"].keys() == {"seconds", "quartiles", "per_hour"}
    assert shown["others"]["value"] == pytest.approx(found.others.estimate.value, abs=0.08)  # type: ignore[union-attr]


def test_no_count_on_the_page_tells_a_check_from_work() -> None:
    """Whatever the next item is, the same counts grow, and accuracy does not change before a block is full."""
    results = judged(120, 40)
    items = list(dict.fromkeys(one.artifact for one in results if one.judge == "simulated/me"))
    uses, before = set(), None
    for seen in range(101, 125):
        known = set(items[:seen])
        now = mine([one for one in results if one.judge != "simulated/me" or one.artifact in known])
        counts = (now.items, now.judgments, now.pace.quick.estimate.n, now.position.estimate.n, now.skipped.n)  # type: ignore[union-attr]
        if before is not None:
            assert [one - other for one, other in zip(counts, before[0], strict=True)] == [1] * 5
            assert now.gold == before[1]
            uses.add(next(one.item.use for one in results if one.artifact == items[seen - 1]))
        before = counts, now.gold
    assert uses == {"work", "gold"}
    assert before is not None
    assert before[1].estimate is not None


def test_little_is_not_shown() -> None:
    few = mine([one for one in judged(6, 3) if one.judge == "simulated/me" or one.item.use == "work"])
    assert "20 of your items" in (few.others.reason or "")
    assert "after every 50 items" in (few.gold.reason or "")
    with pytest.raises(DataError, match="judged nothing in this task yet"):
        mine([one for one in judged(6, 3) if one.judge != "simulated/me"])


def test_a_skipped_check_counts_as_a_skip() -> None:
    results = judged(20, 5)
    note = Judgment("x", "Can this be judged?", "simulated/me", "simulated", {"skipped": "?"})
    gold = next(one.item for one in results if one.item.use == "gold")
    own = mine(results, [Aside("1", gold, note, "skipped", "?", 0.0)])
    assert (own.skipped.n, own.skipped.value) == (26, pytest.approx(1 / 26))
