"""Experiments on help: alone first, then help, then again; both answers kept, whatever happens between."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from helped import ARMS, TEXT, claim, helped_items, helped_task, mark
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from people import STARTED, make_items, make_task, rater
from pydantic import ValidationError

from kilter.errors import DataError, RecordError
from kilter.feedback.exchange import export
from kilter.feedback.rows import read_rows
from kilter.feedback.tasks import HelpClaim, Task, TaskItem, read_item
from kilter.feedback.work import Assignment, Desk, Outcome, Rater, Submission
from kilter.record import Judgment, Workspace


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def desk(tmp_path: Path, clock: Clock) -> Iterator[Desk]:
    with Workspace.open(tmp_path / "ws") as opened:
        yield Desk(opened.record, clock)


def opened_study(desk: Desk, items: int = 1, **settings: Any) -> Task:
    task = helped_task(**settings)
    desk.add_task(task)
    desk.add_items(task, helped_items(items))
    return task


def say(
    desk: Desk, task: Task, who: Rater, one: Assignment, marks: list[Any],
    followed: Mapping[str, bool | None] | None = None, key: str = "", opened: tuple[int, ...] = (), ms: int = 1000,
) -> Outcome:  # fmt: skip
    key = key or f"{'aided' if followed is not None else 'alone'}-{one.id}"
    sent = Submission(key, {"flaws": marks}, STARTED, {"flaws": ms}, followed, opened)
    return desk.submit(task, who, one.id, sent)


def in_arm(desk: Desk, task: Task, arm: str) -> tuple[Rater, Assignment, tuple[HelpClaim, ...]]:
    """A rater who has answered the first item alone, and was dealt this arm."""
    for number in range(len(ARMS)):
        who = rater(number)
        [one] = desk.next(task, who)
        help_ = say(desk, task, who, one, [mark("Boro")]).help
        [held] = desk.next(task, who)
        assert held.look is not None
        if held.look.arm == arm:
            assert help_ is not None
            return who, held, help_
    raise AssertionError(arm)


def test_both_answers_and_what_was_shown_are_on_the_record(desk: Desk) -> None:
    task = opened_study(desk)
    who, one, shown = in_arm(desk, task, "critiques")
    assert [(each.quote, each.verdict) for each in shown][:2] == [("Boro is blue", "fine"), ("Alba is red", "wrong")]
    assert all(one.id == each.id for each in desk.next(task, who)), "the item stays in hand"
    assert desk.results("study") == [], "an unaided answer alone is no result"
    outcome = say(desk, task, who, one, [mark("Alba is red")], {"0": True, "1": True}, opened=(0, 1))
    assert (outcome.state, outcome.help) == ("submitted", None)
    [result] = desk.results("study")
    aided = result.judgment
    alone = next(each for each in desk.record.judgments() if each.id == aided.supersedes)
    assert [(each.judge, [TEXT[s["start"] : s["end"]] for s in each.spans or []]) for each in (alone, aided)] == [
        (who.judge, ["Boro"]), (who.judge, ["Alba is red"]),
    ]  # fmt: skip
    exposures = desk.record.exposures(judgment=result.id)
    assert [(each.assistance, each.opened, each.accepted) for each in exposures] == [
        (shown[0].artifact, True, True), (shown[1].artifact, True, True), (shown[2].artifact, False, None),
    ]  # fmt: skip
    assert {each.shown_at for each in exposures} == {"1970-01-01T00:16:40+00:00"}
    body = json.loads(desk.record.body(str(shown[1].artifact)))
    assert (body["quote"], body["probability"], desk.record.artifact(str(shown[1].artifact)).parents) == (
        "Alba is red", 0.5, (one.artifact,),
    )  # fmt: skip
    assert desk.record.exposures(judgment=alone.id) == []
    assert desk.record.verify().ok


def test_arms_go_round_with_items_and_raters_and_the_trials_say_all(desk: Desk, clock: Clock) -> None:
    task = opened_study(desk, 6)
    for number in (7, 3, 5):
        clock.now += 1
        for one in desk.next(task, rater(number), 6):
            say(desk, task, rater(number), one, [], ms=3000)
            if number != 5:
                say(desk, task, rater(number), one, [mark("green")], {}, ms=500)
    trials = desk.trials("study")
    assert Counter((one.rater, one.arm) for one in trials) == {(who, arm): 2 for who in range(3) for arm in ARMS}
    assert Counter((one.artifact, one.arm) for one in trials) == {
        (one.artifact, arm): 1 for one in trials for arm in ARMS
    }
    assert [one.place for one in trials] == [*range(6)] * 3
    assert [one.finished for one in trials] == [True] * 12 + [False] * 6
    assert {(one.judge, one.rater) for one in trials} == {("people/7", 0), ("people/3", 1), ("people/5", 2)}
    first, last = trials[0], trials[-1]
    assert first.aided is not None
    assert (first.alone["flaws"].value, first.aided["flaws"].value, first.alone_ms, first.aided_ms) == (0, 1, 3000, 500)
    assert (last.aided, last.state, set(last.followed) | {None}) == (None, "held", {None})
    told = json.loads(json.dumps([one.as_json() for one in trials]))
    assert (told[0]["arm"], told[0]["item"], told[-1]["aided"]) == (first.arm, first.artifact, None)
    for one in told[:12]:
        assert desk.record.find(one["aided"]["flaws"]).supersedes == one["alone"]["flaws"]  # type: ignore[attr-defined]
        assert all(desk.record.artifact(key).kind == "claim" for key in one["claims"])


def test_exported_judgments_say_in_which_arm_they_were_given(desk: Desk, tmp_path: Path) -> None:
    task = opened_study(desk, 3)
    for number in range(3):
        for one in desk.next(task, rater(number), 3):
            say(desk, task, rater(number), one, [])
            say(desk, task, rater(number), one, [mark("green")], {})
    export(desk, "study", tmp_path / "out.jsonl", "raw")
    arms = {trial.aided["flaws"].id: trial.arm for trial in desk.trials("study") if trial.aided}
    rows = read_rows(tmp_path / "out.jsonl").rows
    assert {row["kilter_judgments"][0]: row["kilter_arms"][0] for row in rows} == arms
    assert set(arms.values()) == set(ARMS)


KILLED = """
import os, signal, sys
from helped import mark
from people import rater
from test_second_look import Clock, say
from kilter.feedback.work import Desk, second_look
from kilter.record import Workspace
folder, where = sys.argv[1:]
kill = lambda *_, **__: os.kill(os.getpid(), signal.SIGKILL)
with Workspace.open(folder) as opened:
    desk = Desk(opened.record, Clock())
    task = desk.task("study")
    [one] = desk.next(task, rater(1))
    if where == "within":
        begin = second_look.begin
        second_look.begin = lambda *a, **b: (begin(*a, **b), kill())
    say(desk, task, rater(1), one, [mark("Boro")])
    kill()
"""


@pytest.mark.parametrize("where", ["within", "between"])
def test_a_kill_leaves_the_first_answer_whole_or_undone(tmp_path: Path, where: str) -> None:
    with Workspace.open(tmp_path) as opened:
        desk = Desk(opened.record, Clock())
        task = helped_task(help={"arms": ["critiques"]})
        desk.add_task(task)
        desk.add_items(task, [_only_critiques(one) for one in helped_items(1)])
    here = str(Path(__file__).parent)
    done = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path), where],
        env={**os.environ, "PYTHONPATH": os.pathsep.join([here, *sys.path])}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    with Workspace.open(tmp_path) as opened:
        desk = Desk(opened.record, Clock())
        [one] = desk.next(task, rater(1))
        assert len(desk.record.judgments()) == (where == "between")
        assert (one.look is not None) == (where == "between")
        help_ = say(desk, task, rater(1), one, [mark("Boro")]).help
        assert help_ is not None
        assert [each.quote for each in help_] == ["Boro is blue", "Alba is red", "green"]
        assert say(desk, task, rater(1), one, [], {"0": True}).state == "submitted"
        first, second = desk.record.judgments()
        assert (first.value, second.value, second.supersedes) == (1, 0, first.id)
        assert opened.record.verify().ok


def _only_critiques(item: TaskItem) -> TaskItem:
    return TaskItem(item.prompt, item.responses, help={"critiques": item.help["critiques"]})


def test_the_same_submission_twice_changes_nothing_in_either_look(desk: Desk) -> None:
    task = opened_study(desk)
    who, one, shown = in_arm(desk, task, "placebo")
    before = len(desk.record.judgments())
    for _ in range(2):
        assert say(desk, task, who, one, [mark("Boro")]).help == shown, "as if it came for the first time"
    assert len(desk.record.judgments()) == before
    for _ in range(2):
        assert say(desk, task, who, one, [], {"0": False}, opened=(0,)).state == "submitted"
    assert say(desk, task, who, one, [mark("Boro")]).help is None, "the second look is over"
    assert len(desk.record.judgments()) == before + 1
    assert [each.accepted for each in desk.record.exposures()] == [False]
    assert desk.standing(task, who).judged == 1
    assert desk.progress("study").judgments == 1


def test_an_answer_to_the_other_look_is_refused(desk: Desk) -> None:
    task = opened_study(desk)
    who, one, _ = in_arm(desk, task, "critiques")
    with pytest.raises(DataError, match="stays as it was"):
        say(desk, task, who, one, [], key="from-another-tab")
    with pytest.raises(DataError, match="no claim 3"):
        say(desk, task, who, one, [], {"3": True})
    with pytest.raises(DataError, match="no claim 9"):
        say(desk, task, who, one, [], {}, opened=(9,))
    [fresh] = desk.next(task, rater(9))
    with pytest.raises(DataError, match="before it was answered without"):
        say(desk, task, rater(9), fresh, [], {})
    assert all(each.look is None for each in desk.next(task, rater(9)))


def test_who_leaves_between_the_looks_finds_the_second_one_or_is_too_late(desk: Desk, clock: Clock) -> None:
    task = opened_study(desk, overlap={"judges": 1}, hold_minutes=1)
    [slow] = desk.next(task, rater(1))
    say(desk, task, rater(1), slow, [])
    assert desk.next(task, rater(2)) == [], "a second look keeps the item"
    clock.now += 100
    [quick] = desk.next(task, rater(2))
    say(desk, task, rater(2), quick, [mark("Alba")])
    say(desk, task, rater(2), quick, [mark("Alba")], {})
    assert desk.next(task, rater(1)) == []
    assert say(desk, task, rater(1), slow, [], {}).state == "surplus"
    assert [(one.rater, one.finished, one.state) for one in desk.trials("study")] == [
        (0, False, "surplus"), (1, True, "submitted"),
    ]  # fmt: skip
    assert [one.judge for one in desk.results("study")] == ["people/2"]
    assert len(desk.record.judgments()) == 3, "both of one, and the unaided one of the other"


def test_who_comes_back_in_time_has_the_same_help(desk: Desk, clock: Clock) -> None:
    task = opened_study(desk, hold_minutes=1)
    who, one, _ = in_arm(desk, task, "critiques")
    desk.save_draft(task, who, one.id, {"flaws": [mark("green")]}, {"2": True}, (2,))
    desk.save_draft(task, who, one.id, {"flaws": []})  # of the first look, late
    clock.now += 1000
    [again] = desk.next(task, who)
    assert again.look is not None
    assert one.look is not None
    assert (again.id, again.answers, again.look.arm) == (one.id, {"flaws": [mark("green")]}, "critiques")
    assert (again.look.followed, again.look.opened) == ({"2": True}, (2,))
    assert again.look.answers == {"flaws": [mark("Boro")]} == one.look.answers


def test_undo_reopens_the_second_answer_and_never_the_first(desk: Desk) -> None:
    task = opened_study(desk)
    who, one, _ = in_arm(desk, task, "critiques")
    say(desk, task, who, one, [], {"0": True}, ms=10)
    back = desk.last_done(task, who)
    assert back is not None
    assert back.look is not None
    assert (back.id, back.look.followed) == (one.id, {"0": True})
    with pytest.raises(DataError, match="stays as it was"):
        say(desk, task, who, back, [], key="as-if-first")
    say(desk, task, who, back, [mark("Boro")], {"0": False}, key="once-more", ms=5)
    trial = next(each for each in desk.trials("study") if each.judge == who.judge)
    assert trial.aided is not None
    assert (trial.followed, trial.aided["flaws"].value, trial.aided_ms) == ((False, None, None), 1, 15)
    [alone] = trial.alone["flaws"].spans or []
    assert TEXT[alone["start"] : alone["end"]] == "Boro"
    middle = next(each for each in desk.record.judgments() if each.id == trial.aided["flaws"].supersedes)
    assert middle.supersedes == trial.alone["flaws"].id
    assert desk.standing(task, who).judged == 1


def test_a_skip_on_the_second_look_withdraws_and_says_so(desk: Desk) -> None:
    task = opened_study(desk)
    who, one, _ = in_arm(desk, task, "critiques")
    desk.set_aside(task, who, one.id, "skipped", "I know the author", "skip-key", STARTED)
    trial = next(each for each in desk.trials("study") if each.judge == who.judge)
    assert (trial.finished, trial.state) == (False, "skipped")
    assert next(each for each in desk.record.judgments() if each.supersedes == trial.alone["flaws"].id).value is None
    back = desk.last_done(task, who)
    assert back is not None
    assert say(desk, task, who, back, [], {}).state == "submitted"
    assert next(each for each in desk.trials("study") if each.judge == who.judge).finished


def test_training_has_one_look_and_gold_is_refused(desk: Desk) -> None:
    task = opened_study(desk)
    known = {"answers": {"flaws": 0}, "explanation": "because", "help": {}}
    desk.add_items(task, helped_items(1, 5, use="training", **known))
    [one] = desk.next(task, rater(1))
    assert (one.content.use, say(desk, task, rater(1), one, []).help) == ("training", None)
    with pytest.raises(DataError, match="no gold items"):
        desk.add_items(task, helped_items(1, 6, use="gold", **known))


def test_a_claim_that_is_on_the_record_already_is_that_artifact(desk: Desk) -> None:
    task = helped_task(help={"arms": ["critiques"]})
    desk.add_task(task)
    known = desk.record.add_artifact("claim", {"text": "made elsewhere"})
    columns = {"prompt": "p", "responses": [TEXT]}
    desk.add_items(task, [read_item({**columns, "help": {"critiques": [claim("Alba", artifact=known)]}}, "x")])
    [one] = desk.next(task, rater(1))
    help_ = say(desk, task, rater(1), one, []).help
    assert help_ is not None
    assert [each.artifact for each in help_] == [known]
    lost = read_item({**columns, "prompt": "q", "help": {"critiques": [claim("Alba", artifact="0" * 64)]}}, "x")
    with pytest.raises(RecordError):
        desk.add_items(task, [lost])


@pytest.mark.parametrize(
    ("bad", "why"),
    [
        ([], r"help is an object"),
        ({"critiques": ["x"]}, r"needs quote, start, end"),
        ({"critiques": [{**claim("Alba"), "end": 9}]}, r"stands from 0 to 9"),
        ({"critiques": [claim("Alba", "bad")]}, r"the verdict is 'bad'"),
        ({"critiques": [claim("Alba", text=" ")]}, r"text that is not empty"),
        ({"critiques": [claim("Alba", probability=2)]}, r"between 0 and 1"),
        ({"critiques": [claim("Alba", artifact="12")]}, r"no id of the record"),
        ({"critiques": [claim("Alba", typ="fact")]}, r"did you mean 'type'"),
        ({"critiques": [claim("Alba")] * 101}, r"at most 100"),
    ],
)
def test_help_of_another_form_is_refused_with_its_place(bad: Any, why: str) -> None:
    with pytest.raises(DataError, match=why) as refused:
        read_item({"prompt": "p", "responses": [TEXT], "help": bad or [1]}, "line 7")
    assert "line 7" in str(refused.value)


def test_help_and_arms_belong_together() -> None:
    with pytest.raises(ValidationError, match="asks for flaws first"):
        make_task(help={"arms": ["none"]})
    with pytest.raises(ValidationError, match="two arms are the same"):
        helped_task(help={"arms": ["none", "none"]})
    [item] = helped_items(1)
    with pytest.raises(DataError, match="Give each its claims"):
        helped_task(help={"arms": ["none", "critiques", "oracle"]}).check_items([item], "file")
    with pytest.raises(DataError, match="only work items of a task with the setting 'help'"):
        helped_task(help=None).check_items([item], "file")
    with pytest.raises(DataError, match="needs one response"):
        helped_task().check_items([TaskItem(item.prompt, (TEXT, TEXT), help=item.help)], "file")


def test_what_was_kept_before_there_was_help_is_read_and_is_the_same() -> None:
    task, [item] = make_task(), make_items(1)
    assert "help" not in json.loads(task.definition())
    assert json.loads(helped_task().definition())["help"] == {"arms": list(ARMS)}
    kept = item.as_json()
    del kept["help"]
    assert TaskItem.from_json(kept) == item
    [helped] = helped_items(1)
    assert TaskItem.from_json(json.loads(json.dumps(helped.as_json()))) == helped
    assert "help" not in helped.body()


class Study(RuleBasedStateMachine):
    """Raters do what they like in any order, with answers that come twice, late, or to the other look."""

    def __init__(self) -> None:
        super().__init__()
        self.folder = tempfile.TemporaryDirectory()
        self.workspace = Workspace.open(Path(self.folder.name))
        self.clock = Clock()
        self.desk = Desk(self.workspace.record, self.clock)
        self.task = opened_study(self.desk, 3, overlap={"judges": 2}, hold_minutes=1)
        self.seen: dict[str, tuple[int, Assignment]] = {}
        self.sent: list[tuple[int, Assignment, list[Any], dict[str, bool | None] | None, str]] = []
        self.alone: dict[str, tuple[str, dict[str, Judgment]]] = {}

    @rule(who=st.integers(0, 3), count=st.integers(1, 3))
    def ask(self, who: int, count: int) -> None:
        for one in self.desk.next(self.task, rater(who), count):
            self.seen[one.id] = (who, one)

    @rule(
        data=st.data(), marks=st.sampled_from([[], [mark("Alba")], [mark("Alba"), mark("green")]]),
        followed=st.sampled_from([None, {}, {"0": True}, {"0": None, "1": False}]),
    )  # fmt: skip
    def submit(self, data: st.DataObject, marks: list[Any], followed: dict[str, bool | None] | None) -> None:
        if self.seen:
            who, one = data.draw(st.sampled_from(list(self.seen.values())))
            self._send((who, one, marks, followed, f"key-{len(self.sent):08}"))

    @rule(data=st.data())
    def submit_again(self, data: st.DataObject) -> None:
        if self.sent:
            self._send(data.draw(st.sampled_from(self.sent)))

    @rule(data=st.data(), state=st.sampled_from(["skipped", "draft"]))
    def leave(self, data: st.DataObject, state: str) -> None:
        if self.seen:
            who, one = data.draw(st.sampled_from(list(self.seen.values())))
            if state == "draft":
                self.desk.save_draft(self.task, rater(who), one.id, {"flaws": []}, {} if one.look else None)
            else:
                key = f"skip-{len(self.sent):08}"
                self.desk.set_aside(self.task, rater(who), one.id, "skipped", "why not", key, STARTED)

    @rule(seconds=st.sampled_from([1, 70]))
    def wait(self, seconds: int) -> None:
        self.clock.now += seconds

    @rule()
    def restart(self) -> None:
        self.workspace.close()
        self.workspace = Workspace.open(Path(self.folder.name))
        self.desk = Desk(self.workspace.record, self.clock)

    def _send(self, sent: tuple[int, Assignment, list[Any], dict[str, bool | None] | None, str]) -> None:
        who, one, marks, followed, key = sent
        try:
            outcome = say(self.desk, self.task, rater(who), one, marks, followed, key)
        except DataError:
            return  # of the other look, or about claims that the arm does not have
        now = self.desk.assignment(self.task, rater(who), one.id)
        if followed is None:
            assert outcome.state == "surplus" or now.look is not None
        self.sent.append(sent)

    @invariant()
    def never_more_than_wanted_and_never_without_both(self) -> None:
        counted = Counter(one.artifact for one in self.desk.results("study"))
        assert all(count <= 2 for count in counted.values())
        trials = self.desk.trials("study")
        assert sum(one.finished for one in trials) == counted.total()
        assert len({(one.artifact, one.judge) for one in trials}) == len(trials)

    @invariant()
    def the_arm_and_the_unaided_answer_never_change(self) -> None:
        for one in self.desk.trials("study"):
            place = [item.prompt[0]["content"] for item in helped_items(3)].index(one.item.prompt[0]["content"])
            assert one.arm == ARMS[(place + one.rater) % len(ARMS)]
            kept = self.alone.setdefault(f"{one.judge}/{one.artifact}", (one.arm, dict(one.alone)))
            assert kept == (one.arm, dict(one.alone))

    @invariant()
    def what_was_shown_is_on_the_record_of_aided_answers_only(self) -> None:
        shown = Counter(one.judgment for one in self.desk.record.exposures())
        for one in self.desk.trials("study"):
            assert shown[one.alone["flaws"].id] == 0
            if one.aided is not None:
                assert shown[one.aided["flaws"].id] == len(one.claims)
                assert one.aided["flaws"].id != one.alone["flaws"].id

    def teardown(self) -> None:
        assert self.workspace.record.verify().ok
        self.workspace.close()
        self.folder.cleanup()


TestStudy = Study.TestCase
TestStudy.settings = settings(
    max_examples=25, stateful_step_count=20, deadline=None, suppress_health_check=list(HealthCheck)
)
