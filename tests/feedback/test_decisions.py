from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from people import STARTED, make_items, make_task, rater, send

from kilter.errors import DataError
from kilter.feedback.exchange import export, read_source
from kilter.feedback.quality import task_aggregate, task_agreement, task_disagreements
from kilter.feedback.rows import read_rows
from kilter.feedback.tasks import Task
from kilter.feedback.work import Desk, Rater, Submission, deal
from kilter.record import Workspace

BOSS = rater("boss")


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    on_server = request.param == "postgresql"
    address = request.getfixturevalue("postgresql_server").schema() if on_server else None
    with Workspace.open(tmp_path / "ws", address) as opened:
        yield Desk(opened.record)


@pytest.fixture
def task(desk: Desk) -> Task:
    """Three items by three raters: the first good 2 to 1, the second good by all, the third three ways."""
    task = make_task(order="given", overlap={"judges": 3})
    desk.add_task(task)
    desk.add_items(task, make_items(3))
    said: list[list[Any]] = [[0, 0, 1], [0, 0, 0], [0, 1, "tie"]]
    for number in range(3):
        for one in desk.next(task, rater(number), 3):
            answer = said[int(one.content.responses[0][-1])][number]
            send(desk, task, rater(number), one, one.sides.index(answer) if answer != "tie" else answer)
    return task


def artifact(desk: Desk, number: int) -> str:
    found = {one.item.responses[0]: one.artifact for one in desk.results("t")}
    return found[f"good {number}"]


def decide(desk: Desk, task: Task, number: int, value: int | str, who: Rater = BOSS, key: str = "key-of-boss") -> None:
    """Decide for a response, by where it stands on this person's page."""
    name = artifact(desk, number)
    item = next(one.item for one in desk.results("t") if one.artifact == name)
    place = value if isinstance(value, str) else deal(task, name, item, who.id).sides.index(value)
    desk.adjudicate(task, who, name, Submission(key, {"better": place}, STARTED, {"better": 900}))


def test_a_decision_is_a_judgment_that_says_what_its_judge_had_seen(desk: Desk, task: Task) -> None:
    decide(desk, task, 0, 1)
    [found] = desk.adjudications("t")
    assert (found.value, found.judge, found.adjudicated) == (1, BOSS.judge, True)
    judgment = found.judgment
    assert (judgment.question, judgment.principal, judgment.blinded) == ("Which response is better?", "human", False)
    assert judgment.active_ms == 900
    [exposure] = desk.record.exposures(judgment=found.id)
    shown = desk.record.json(exposure.assistance)
    assert desk.record.artifact(exposure.assistance).kind == "adjudication"
    assert shown["judgments"] == sorted(one.id for one in desk.results("t") if one.artifact == found.artifact)
    assert desk.record.verify().ok


def test_raters_stay_what_they_are_and_what_counts_changes(desk: Desk, task: Task) -> None:
    before = desk.results("t")
    decide(desk, task, 0, 1)
    assert desk.results("t") == before
    assert task_agreement(task, desk.results("t"), replicates=20) == task_agreement(task, before, replicates=20)
    answers = [(one.item.responses[0], one.value) for one in desk.answers("t")]
    assert answers.count(("good 0", 1)) == 1
    assert ("good 0", 0) not in answers
    assert len(answers) == 7
    assert desk.progress("t").judgments == 9


def test_the_same_decision_twice_is_one_and_another_supersedes_it(desk: Desk, task: Task) -> None:
    decide(desk, task, 2, 0)
    decide(desk, task, 2, 0)
    [first] = desk.adjudications("t")
    assert len(desk.record.judgments(judge=BOSS.judge)) == 1
    decide(desk, task, 2, "tie", rater("other"), "key-of-other")
    [found] = desk.adjudications("t")
    assert (found.value, found.judgment.supersedes, found.judge) == ("tie", first.id, "people/other")


def test_what_cannot_be_decided_is_told(desk: Desk, task: Task) -> None:
    name = artifact(desk, 0)
    for answers, told in (({}, "has no answer yet"), ({"worse": 0}, "no question 'worse'"), ({"better": 9}, "place 9")):
        with pytest.raises(DataError, match=told):
            desk.adjudicate(task, BOSS, name, Submission("key-of-boss", answers, STARTED, {}))
    with pytest.raises(DataError, match="Nobody has judged"):
        desk.adjudicate(task, BOSS, "a" * 64, Submission("key-of-boss", {"better": 0}, STARTED, {}))
    assert desk.adjudications("t") == []


def test_some_questions_of_an_item_may_be_decided_without_the_others(desk: Desk) -> None:
    kind = {"type": "label", "name": "kind", "ask": "?", "labels": ["x", "y"]}
    task = make_task(name="two", questions=[{"type": "comparison", "name": "better"}, kind], overlap={"judges": 2})
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    for number in range(2):
        [one] = desk.next(task, rater(number))
        sent = Submission(f"key-{number}-x", {"better": 0, "kind": "xy"[number]}, STARTED, {})
        desk.submit(task, rater(number), one.id, sent)
    name = desk.results("two")[0].artifact
    desk.adjudicate(task, BOSS, name, Submission("key-of-boss", {"kind": "y"}, STARTED, {}))
    assert [(one.question, one.value) for one in desk.adjudications("two")] == [("kind", "y")]
    assert sorted(one.question for one in desk.answers("two")) == ["better", "better", "kind"]
    desk.adjudicate(task, BOSS, name, Submission("key-of-boss-2", {"better": "tie"}, STARTED, {}))
    assert sorted(one.question for one in desk.adjudications("two")) == ["better", "kind"], "the first decision holds"


def test_aggregates_take_the_decision_over_the_majority(desk: Desk, task: Task) -> None:
    decide(desk, task, 0, 1)
    decide(desk, task, 2, 0, key="key-of-boss-2")
    found = task_aggregate(task, desk.results("t"), desk.adjudications("t"), replicates=20)
    verdicts = {one.artifact: one for one in found.aspects[0].verdicts}
    one, level, agreed = (verdicts[artifact(desk, number)] for number in (0, 2, 1))
    assert (one.majority, one.adjudicated, one.answer, one.raters) == (0, 1, 1, 3)
    assert (level.majority, level.answer) == (None, 0)
    assert (agreed.adjudicated, agreed.answer) == (None, 0)
    assert one.as_dict()["adjudicated"] == 1
    listed = task_disagreements(task, desk.results("t"), desk.adjudications("t")).found
    assert [entry.decided.value for entry in listed if entry.decided] == [0, 1]


@pytest.mark.parametrize(("aggregate", "rows"), [("majority", 3), ("dawid-skene", 3), ("none", 5)])
def test_exports_take_the_decision_and_say_so(
    desk: Desk, task: Task, tmp_path: Path, aggregate: str, rows: int
) -> None:
    decide(desk, task, 0, 1)
    decide(desk, task, 2, 0, key="key-of-boss-2")
    done = export(desk, "t", tmp_path / "out.jsonl", "preference", aggregate=aggregate)
    found = read_rows(tmp_path / "out.jsonl").rows
    assert (done.rows, done.adjudicated, len(found)) == (rows, 2, rows)
    assert done.left_out.total == 0, "an item that was level is decided now"
    by_prompt = {row["prompt"][-1]["content"]: row for row in found}
    for prompt, chosen, share in (("prompt 0", "bad 0", 1 / 3), ("prompt 2", "good 2", 1 / 3)):
        row = by_prompt[prompt]
        assert row["chosen"][-1]["content"] == chosen
        assert (row["kilter_aggregate"], row["kilter_judges"]) == ("adjudicated", [BOSS.judge])
        assert row["kilter_share"] == pytest.approx(1.0 if aggregate == "none" else share)
    assert by_prompt["prompt 1"]["kilter_aggregate"] == aggregate


def test_the_raw_export_holds_both_and_is_not_taken_for_one_rater_more(desk: Desk, task: Task, tmp_path: Path) -> None:
    decide(desk, task, 0, 1)
    export(desk, "t", tmp_path / "raw.jsonl", "raw")
    rows = read_rows(tmp_path / "raw.jsonl").rows
    assert sorted(row["kilter_aggregate"] for row in rows) == ["adjudicated", *["none"] * 9]
    assert json.loads(next(row["value"] for row in rows if row["kilter_aggregate"] == "adjudicated")) == 1
    again = read_source(tmp_path / "raw.jsonl")
    assert sum(len(one.answers) for one in again) == 9
    assert "decisions of researchers" in again.unused.words()


def test_the_stamp_changes_with_all_that_numbers_rest_on(desk: Desk, task: Task) -> None:
    first = desk.stamp("t")
    assert first.judgments == 9
    assert desk.stamp("t") == first
    done = desk.last_done(task, rater(0))
    assert done is not None
    send(desk, task, rater(0), done, 1, "another-key")  # a correction
    second = desk.stamp("t")
    assert (second.judgments, second != first) == (9, True)
    decide(desk, task, 0, 1)
    assert desk.stamp("t") != second
