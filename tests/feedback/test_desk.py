"""Handing out and handing in: exactly as many judgments as wanted, nothing lost, nothing doubled."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any, Literal

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from people import STARTED, make_items, make_task, place_of, rater, send
from sqlalchemy import func, select

from kilter.errors import DataError
from kilter.feedback.tasks import Task
from kilter.feedback.work import Desk, Rater, Submission
from kilter.feedback.work.tables import assignments
from kilter.record import Record, Workspace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(params=["sqlite", "postgresql"])
def record(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Record]:
    on_server = request.param == "postgresql"
    address = request.getfixturevalue("postgresql_server").schema() if on_server else None
    with Workspace.open(tmp_path / "ws", address) as opened:
        yield opened.record


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(record: Record, clock: Clock) -> Desk:
    return Desk(record, clock)


def test_a_judgment_is_on_the_record_in_the_items_own_order(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(20))
    sides = set()
    for _ in range(20):
        [one] = desk.next(task, rater(1))
        assert send(desk, task, rater(1), one, place_of(one, 0)) == "submitted"
        sides.add(one.sides)
    judgments = desk.record.judgments()
    assert [one.value for one in judgments] == [0] * 20, "the good one, wherever it stood"
    assert sides == {(0, 1), (1, 0)}
    assert {tuple(one.side_shown or ()) for one in judgments} == sides
    assert {(one.principal, one.judge, one.blinded) for one in judgments} == {("human", "people/1", True)}
    assert desk.next(task, rater(1)) == []
    assert desk.record.verify().ok


def test_the_same_submission_twice_is_one_judgment(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    for _ in range(3):
        assert send(desk, task, rater(1), one) == "submitted"
    assert len(desk.record.judgments()) == 1
    assert desk.progress("t").judgments == 1


def test_a_correction_supersedes_and_counts_once(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    send(desk, task, rater(1), one, place_of(one, 0))
    back = desk.last_done(task, rater(1))
    assert back is not None
    assert (back.id, back.answers) == (one.id, {"better": place_of(one, 0)})
    send(desk, task, rater(1), back, place_of(one, 1), key="another-key")
    first, second = desk.record.judgments()
    assert (first.value, second.value, second.supersedes) == (0, 1, first.id)
    assert [one.value for one in desk.results("t")] == [1]
    assert desk.progress("t").judgments == 1
    assert desk.standing(task, rater(1)).judged == 1


def test_a_skip_after_an_answer_withdraws_it(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    send(desk, task, rater(1), one)
    desk.set_aside(task, rater(1), one.id, "skipped", "I know the author", "skip-key", STARTED)
    assert desk.results("t") == []
    assert [row.value for row in desk.record.judgments()] == [
        0 if one.sides[0] == 0 else 1,
        {"skipped": "I know the author"},
        None,
    ]
    assert len(desk.next(task, rater(2))) == 1, "somebody else may have it"
    assert desk.next(task, rater(1)) == []


def test_a_flagged_item_is_handed_to_nobody(desk: Desk) -> None:
    task = make_task(overlap={"judges": 3})
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    with pytest.raises(DataError, match="why"):
        desk.set_aside(task, rater(1), one.id, "flagged", " ", "flag-key", STARTED)
    desk.set_aside(task, rater(1), one.id, "flagged", "not English", "flag-key", STARTED)
    assert desk.next(task, rater(2)) == []
    assert (desk.progress("t").flagged, desk.progress("t").items) == (1, 0)


def test_an_item_left_alone_comes_back_and_late_work_counts_if_there_is_room(desk: Desk, clock: Clock) -> None:
    task = make_task(hold_minutes=1)
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [slow] = desk.next(task, rater(1))
    assert desk.next(task, rater(2)) == []
    clock.now += 61
    [quick] = desk.next(task, rater(2))
    assert send(desk, task, rater(1), slow) == "submitted", "the slow one was first to submit"
    assert send(desk, task, rater(2), quick) == "surplus"
    assert len(desk.record.judgments()) == 1
    assert (desk.progress("t").judgments, desk.progress("t").surplus) == (1, 1)


def test_a_draft_survives_being_freed(desk: Desk, clock: Clock) -> None:
    task = make_task(hold_minutes=1)
    desk.add_task(task)
    desk.add_items(task, make_items(1))
    [one] = desk.next(task, rater(1))
    desk.save_draft(task, rater(1), one.id, {"better": 1})
    clock.now += 120
    desk.next(task, rater(2))
    clock.now += 120
    [again] = desk.next(task, rater(1))
    assert (again.id, again.answers, again.sides) == (one.id, {"better": 1}, one.sides)


def test_what_is_not_in_hand_cannot_be_submitted(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(2))
    [one] = desk.next(task, rater(1))
    with pytest.raises(DataError, match="not in your hands"):
        send(desk, task, rater(2), one)
    with pytest.raises(DataError, match="no response at place 7"):
        send(desk, task, rater(1), one, 7)
    assert desk.record.judgments() == []


def test_gold_items_come_unmarked_in_about_their_share(desk: Desk) -> None:
    task = make_task(checks={"gold": 0.2}, quota=200)
    desk.add_task(task)
    desk.add_items(task, make_items(400))
    gold = make_items(60, start=400, use="gold", answers={"better": 0})
    desk.add_items(task, gold)
    seen = Counter[str]()
    while got := desk.next(task, rater(1), 4):
        for one in got:
            seen[one.content.use] += 1
            send(desk, task, rater(1), one)
    assert seen.total() == 200, "the quota"
    assert 20 <= seen["gold"] <= 60
    assert desk.progress("t").judgments == seen["work"], "gold is no work"


@pytest.mark.parametrize("quota", [None, 9])
def test_several_at_once_are_those_that_would_come_one_by_one(desk: Desk, tmp_path: Path, quota: int | None) -> None:
    items = [*make_items(20), *make_items(2, 20, use="gold", answers={"better": 0})]
    task = make_task(order="given", quota=quota, checks={"gold": 0.4})
    desk.add_task(task)
    desk.add_items(task, items)
    at_once = [one.content for one in desk.next(task, rater(1), 12)]
    with Workspace.open(tmp_path / "again") as other:
        again = Desk(other.record)
        again.add_task(task)
        again.add_items(task, items)
        for count in range(1, 13):
            one_by_one = [one.content for one in again.next(task, rater(1), count)]
    assert [one.prompt for one in at_once] == [one.prompt for one in one_by_one]
    assert len(at_once) == (quota or 12)
    assert {one.use for one in at_once} == {"work", "gold"}


def test_training_then_qualification_then_work(desk: Desk) -> None:
    task = make_task(checks={"qualification": 0.75})
    desk.add_task(task)
    known = {"answers": {"better": 0}, "explanation": "because"}
    desk.add_items(task, make_items(2, use="training", **known))
    desk.add_items(task, make_items(4, start=2, use="qualification", **known))
    desk.add_items(task, make_items(6, start=6))
    for who, good in ((1, True), (2, False)):
        uses = []
        while got := desk.next(task, rater(who)):
            uses.append(got[0].content.use)
            outcome = desk.submit(
                task, rater(who), got[0].id,
                Submission(f"key-{got[0].id}", {"better": place_of(got[0], 0 if good else 1)}, STARTED, {}),
            )  # fmt: skip
            if uses[-1] == "training":
                assert (outcome.right, outcome.explanation) == ({"better": good}, "because")
            else:
                assert (outcome.right, outcome.explanation) == (None, ""), "what is a check stays unsaid"
        assert uses == ["training"] * 2 + ["qualification"] * 4 + (["work"] * 6 if good else [])
        assert desk.standing(task, rater(who)).stage == ("working" if good else "refused")


def qualifying(desk: Desk, count: int = 4, **settings: Any) -> Task:
    """A task with as many qualification items, half of which are to be met, and work after them."""
    task = make_task(order="given", checks={"qualification": 0.5}, **settings)
    desk.add_task(task)
    desk.add_items(task, make_items(count, use="qualification", answers={"better": 0}))
    desk.add_items(task, make_items(3, start=count))
    return task


def skip(desk: Desk, task: Task, who: Rater, assignment: str, key: str = "") -> None:
    desk.set_aside(task, who, assignment, "skipped", "no idea", key or f"key-skip-{assignment}", STARTED)


@pytest.mark.parametrize(("skipped", "stage"), [(4, "refused"), (3, "refused"), (2, "working")])
def test_who_skips_a_known_answer_has_not_met_it(desk: Desk, skipped: int, stage: str) -> None:
    task, who = qualifying(desk), rater(1)
    for number, one in enumerate(desk.next(task, who, 4)):
        if number < skipped:
            skip(desk, task, who, one.id)
        else:
            send(desk, task, who, one, place_of(one, 0))
    found = desk.standing(task, who)
    assert (found.stage, found.right, found.asked) == (stage, 4 - skipped, 4)


def test_a_known_answer_that_was_changed_counts_as_it_is_in_the_end(desk: Desk) -> None:
    task, who = qualifying(desk), rater(1)
    [first, *others] = desk.next(task, who, 4)
    for turn in range(5):  # submitted, taken back, submitted: however often, it is one item
        send(desk, task, who, first, place_of(first, 0), key=f"key-right-{turn}")
        skip(desk, task, who, first.id, f"key-back-{turn}")
    send(desk, task, who, first, place_of(first, 1), key="key-wrong-in-the-end")
    for number, one in enumerate(others):
        send(desk, task, who, one, place_of(one, min(number, 1)))
    found = desk.standing(task, who)
    assert (found.stage, found.right, found.asked) == ("refused", 1, 4)


def test_a_known_side_is_met_whatever_the_strength(desk: Desk) -> None:
    task, who = qualifying(desk, questions=[{"type": "comparison", "name": "better", "strength": 3}]), rater(1)
    for one in desk.next(task, who, 4):
        send(desk, task, who, one, {"choice": place_of(one, 0), "strength": 2})
    assert desk.standing(task, who).stage == "working"


def test_a_flagged_check_holds_nobody_up(desk: Desk) -> None:
    task = qualifying(desk)
    [bad, *_] = desk.next(task, rater(1), 4)
    desk.set_aside(task, rater(1), bad.id, "flagged", "both are the same", "key-of-the-flag", STARTED)
    for one in desk.next(task, rater(2), 4):
        send(desk, task, rater(2), one, place_of(one, 0))
    found = desk.standing(task, rater(2))
    assert (found.stage, found.asked) == ("working", 3)


def test_what_is_taken_back_does_not_eat_the_quota(desk: Desk) -> None:
    task, who = make_task(quota=3), rater(1)
    desk.add_task(task)
    desk.add_items(task, make_items(6))
    [one] = desk.next(task, who)
    for turn in range(4):
        send(desk, task, who, one, key=f"key-there-{turn}")
        skip(desk, task, who, one.id, f"key-back-{turn}")
    assert desk.standing(task, who).judged == 0
    assert len(desk.next(task, who, 6)) == 3


def test_the_overlap_sample_holds_the_same_share_of_each_stratum(desk: Desk) -> None:
    task = make_task(overlap={"judges": 1, "sample": 0.25, "sample_judges": 3})
    desk.add_task(task)
    for start, stratum in ((0, "a"), (40, "b")):
        desk.add_items(task, make_items(40, start=start, stratum=stratum))
    assert desk.progress("t").wanted == 2 * (30 + 10 * 3)


def test_what_raters_differ_on_comes_first(desk: Desk) -> None:
    task = make_task(overlap={"judges": 3}, order="disputed")
    desk.add_task(task)
    desk.add_items(task, make_items(5))
    for who, answer in ((1, 0), (2, 1)):
        for one in desk.next(task, rater(who), 5):
            is_third = one.content.prompt[0]["content"] == "prompt 3"
            send(desk, task, rater(who), one, place_of(one, answer if is_third else 0))
    [first] = desk.next(task, rater(3))
    assert first.content.prompt[0]["content"] == "prompt 3"


def test_higher_priority_comes_first(desk: Desk) -> None:
    task = make_task(order="random")
    desk.add_task(task)
    items = make_items(10)
    desk.add_items(task, items)
    wanted = desk.record.artifacts("comparison")[7]
    desk.prioritize("t", {wanted.id: 2.5})
    assert desk.next(task, rater(1))[0].artifact == wanted.id


def test_a_changed_task_needs_another_name(desk: Desk) -> None:
    desk.add_task(make_task())
    desk.add_task(make_task())
    with pytest.raises(DataError, match="name of its own"):
        desk.add_task(make_task(title="Another"))
    assert desk.task("t").title == "T"
    with pytest.raises(DataError, match="did you mean 't'"):
        desk.task("tt")


def test_many_raters_at_once_give_exactly_what_is_wanted(desk: Desk) -> None:
    task = make_task(overlap={"judges": 2, "sample": 0.2, "sample_judges": 5})
    desk.add_task(task)
    desk.add_items(task, make_items(60))

    def work(number: int) -> None:
        while got := desk.next(task, rater(number), 3):
            for one in got:
                send(desk, task, rater(number), one)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(12)]
    for one in threads:
        one.start()
    for one in threads:
        one.join()
    found = desk.progress("t")
    assert (found.complete, found.judgments, found.wanted) == (60, 48 * 2 + 12 * 5, 48 * 2 + 12 * 5)
    per_item = Counter(one.target for one in desk.record.judgments())
    assert sorted(per_item.values()) == [2] * 48 + [5] * 12
    assert len({(one.target, one.judge) for one in desk.record.judgments()}) == per_item.total()


class Office(RuleBasedStateMachine):
    """Raters do what they like in any order: gold among the work, flags, a quota; the counts hold all the time."""

    raters = st.integers(0, 3)

    def __init__(self) -> None:
        super().__init__()
        import tempfile

        self.folder = tempfile.TemporaryDirectory()
        self.workspace = Workspace.open(Path(self.folder.name))
        self.clock = Clock()
        self.desk = Desk(self.workspace.record, self.clock)
        self.task = make_task(overlap={"judges": 2}, hold_minutes=1, quota=5, checks={"gold": 0.4})
        self.desk.add_task(self.task)
        self.desk.add_items(self.task, [*make_items(4), *make_items(2, 4, use="gold", answers={"better": 0})])
        self.seen: dict[tuple[int, str], object] = {}
        self.number = 0

    @rule(who=raters, count=st.integers(1, 3))
    def ask(self, who: int, count: int) -> None:
        for one in self.desk.next(self.task, rater(who), count):
            self.seen[who, one.id] = one

    @rule(data=st.data(), answer=st.sampled_from([0, 1, "tie"]))
    def submit(self, data: st.DataObject, answer: object) -> None:
        if self.seen:
            (who, _), one = data.draw(st.sampled_from(list(self.seen.items())))
            self.number += 1
            with suppress(DataError):  # somebody else has flagged it, too
                send(self.desk, self.task, rater(who), one, answer, key=f"key-{self.number:08}")

    @rule(data=st.data(), state=st.sampled_from(["skipped", "skipped", "flagged"]))
    def set_aside(self, data: st.DataObject, state: Literal["skipped", "flagged"]) -> None:
        if self.seen:
            who, key = data.draw(st.sampled_from(list(self.seen)))
            self.number += 1
            with suppress(DataError):
                self.desk.set_aside(self.task, rater(who), key, state, "why not", f"key-{self.number:08}", STARTED)

    @rule(data=st.data(), answer=st.sampled_from([0, 1]))
    def draft(self, data: st.DataObject, answer: int) -> None:
        if self.seen:
            who, key = data.draw(st.sampled_from(list(self.seen)))
            self.desk.save_draft(self.task, rater(who), key, {"better": answer})

    @rule(seconds=st.sampled_from([1, 70]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @invariant()
    def never_more_than_wanted(self) -> None:
        results, flagged = self.desk.results("t"), self.desk.flagged("t")
        counted = Counter(one.artifact for one in results if one.item.use == "work" and one.artifact not in flagged)
        assert all(count <= 2 for count in counted.values())
        assert len({(one.artifact, one.judge) for one in results}) == len(results)
        found = self.desk.progress("t")
        assert (found.judgments, found.complete) == (counted.total(), sum(one == 2 for one in counted.values()))

    @invariant()
    def each_is_credited_with_what_they_did(self) -> None:
        with self.workspace.record.reading() as connection:
            done = select(assignments.c.rater, func.count()).where(assignments.c.state == "submitted")
            count: dict[str, int] = dict(connection.execute(done.group_by(assignments.c.rater)).all())
        for who in range(4):
            assert self.desk.standing(self.task, rater(who)).judged == count.get(rater(who).id, 0)

    @invariant()
    def what_is_flagged_can_be_decided(self) -> None:
        assert {one.artifact for one in self.desk.flags("t")} == self.desk.flagged("t")

    def teardown(self) -> None:
        assert self.workspace.record.verify().ok
        self.workspace.close()
        self.folder.cleanup()


TestOffice = Office.TestCase
TestOffice.settings = settings(
    max_examples=25, stateful_step_count=25, deadline=None, suppress_health_check=list(HealthCheck)
)


def test_an_item_of_one_task_is_not_taken_under_another(desk: Desk) -> None:
    task = make_task()
    desk.add_task(task)
    desk.add_items(task, make_items(2))
    other = task.model_copy(update={"name": "other"})
    desk.add_task(other)
    [one] = desk.next(task, rater(1))
    with pytest.raises(DataError, match="not in your hands"):
        send(desk, other, rater(1), one)
    assert desk.progress(task.name).judgments == 0
    assert send(desk, task, rater(1), one) == "submitted"
