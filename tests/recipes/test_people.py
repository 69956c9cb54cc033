"""Waiting for people: what ends it, and what is said meanwhile."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError, SettingsError
from kilter.feedback.tasks import Overlap, Task, TaskItem
from kilter.feedback.tasks.questions import ComparisonQuestion
from kilter.feedback.work import Desk, Rater, Submission
from kilter.recipes import people
from kilter.recipes.people import ask_people, guidelines, task_name
from kilter.recipes.step import Context
from kilter.record import DetachedRecord, Record, Workspace

STARTED = "2026-11-23T10:00:00Z"


@pytest.fixture
def workspace(tmp_path: Path) -> Iterator[Workspace]:
    with Workspace.open(tmp_path) as opened:
        yield opened


@pytest.fixture
def context(workspace: Workspace) -> Context:
    folder = workspace.root / "steps" / "Check_it-0123456789abcdef"
    return Context(folder, {}, workspace.record, 1, "run", lambda *news: None, {"name": "demo"}, {})


def rater(name: str) -> Rater:
    return Rater(f"{name:0>32}", f"people/{name}")


def make_task(context: Context, **overlap: Any) -> Task:
    return Task(
        name=task_name(context), title="T", questions=(ComparisonQuestion(name="better"),), overlap=Overlap(**overlap)
    )


def make_items(count: int) -> list[TaskItem]:
    return [TaskItem(({"role": "user", "content": f"p{n}"},), (f"a{n}", f"b{n}")) for n in range(count)]


class Between:
    """Things that happen one by one while the step looks whether it may go on."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *acts: Callable[[], object]) -> None:
        self.left = list(acts)
        monkeypatch.setattr(people.time, "sleep", lambda seconds: self.left.pop(0)())


def judge(desk: Desk, task: Task, who: str, most: int = 100, answer: Any = 0) -> None:
    for one in desk.next(task, rater(who), most):
        desk.submit(task, rater(who), one.id, Submission(f"key-{one.id}", {"better": answer}, STARTED, {}))


def skip(desk: Desk, task: Task, who: str, most: int) -> None:
    for one in desk.next(task, rater(who), most):
        desk.set_aside(task, rater(who), one.id, "skipped", "unclear", f"key-{one.id}", STARTED)


def test_it_waits_until_all_is_judged_and_closes_the_task(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk = make_task(context), Desk(context.record)
    Between(monkeypatch, lambda: judge(desk, task, "ann", 2), lambda: None, lambda: judge(desk, task, "ann"))
    said: list[Any] = []
    context = replaced(context, progress=lambda *news: said.append(news))
    found = ask_people(context, task, make_items(3), "judging")
    assert [one.judge for one in found] == ["people/ann"] * 3
    assert [news[1:3] for news in said] == [(0, 3), (2, 3), (3, 3)]  # nothing is said where nothing happened
    assert not desk.is_open(task.name)
    opened: list[str] = []
    again = ask_people(replaced(context, pages=recorder(opened)), task, make_items(3), "judging")
    assert ([one.id for one in again], opened) == ([one.id for one in found], [])


def replaced(context: Context, **values: Any) -> Context:
    return Context(**{**vars(context), **values})


def recorder(opened: list[str]) -> Callable[[Record, str], Any]:
    @contextmanager
    def pages(record: Record, task: str) -> Iterator[None]:
        opened.append(f"open {task}")
        yield
        opened.append("closed")

    return pages


def test_the_pages_are_open_as_long_as_it_waits(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk, opened = make_task(context), Desk(context.record), list[str]()
    Between(monkeypatch, lambda: judge(desk, task, "ann"))
    ask_people(replaced(context, pages=recorder(opened)), task, make_items(2), "judging")
    assert opened == [f"open {task.name}", "closed"]


def test_without_pages_it_says_once_how_to_open_them(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk, told = make_task(context), Desk(context.record), list[str]()
    Between(monkeypatch, lambda: None, lambda: None, lambda: judge(desk, task, "ann"))
    ask_people(replaced(context, tell=told.append), task, make_items(2), "judging")
    assert len(told) == 1
    assert f"kilter feedback serve --workspace {context.folder.parent.parent}" in told[0]


def test_it_says_how_many_people_are_needed(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk, told = make_task(context, judges=2), Desk(context.record), list[str]()
    Between(monkeypatch, lambda: judge(desk, task, "ann"), lambda: judge(desk, task, "bob"))
    found = ask_people(replaced(context, tell=told.append, pages=recorder([])), task, make_items(2), "judging")
    assert len(found) == 4
    assert told == ["Some of it is for 2 people: invite the others on the page People."]


def test_what_its_only_rater_skipped_is_not_waited_for(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk = make_task(context), Desk(context.record)
    Between(monkeypatch, lambda: skip(desk, task, "ann", 1), lambda: judge(desk, task, "ann"))
    assert len(ask_people(context, task, make_items(3), "judging")) == 2


def test_a_skip_counts_against_the_judgments_that_are_missing(
    context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    task, desk = make_task(context, judges=2), Desk(context.record)
    between = Between(monkeypatch, lambda: skip(desk, task, "ann", 1), lambda: judge(desk, task, "bob"))
    assert [one.judge for one in ask_people(context, task, make_items(1), "judging")] == ["people/bob"]
    assert not between.left  # after the skip alone it waited on


@pytest.mark.parametrize("count", [1, 2])
def test_a_task_closed_by_hand_is_enough(context: Context, monkeypatch: pytest.MonkeyPatch, count: int) -> None:
    task, desk = make_task(context), Desk(context.record)
    Between(monkeypatch, lambda: judge(desk, task, "ann", count), lambda: desk.set_open(task.name, False))
    assert len(ask_people(context, task, make_items(3), "judging")) == count


def test_nothing_judged_is_refused_with_the_way_out(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk = make_task(context), Desk(context.record)
    Between(monkeypatch, lambda: desk.set_open(task.name, False))
    with pytest.raises(DataError, match=r"was judged.*Open it again on its page"):
        ask_people(context, task, make_items(3), "judging")


def test_enough_ends_the_wait_early(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk, asked = make_task(context), Desk(context.record), list[int]()

    def enough(results: Any) -> bool:
        asked.append(len(results))
        return len(results) >= 2

    Between(monkeypatch, lambda: judge(desk, task, "ann", 1), lambda: None, lambda: judge(desk, task, "ann", 1))
    assert len(ask_people(context, task, make_items(5), "judging", enough)) == 2
    assert asked == [0, 1, 2]  # only when something was judged
    assert not desk.is_open(task.name)
    assert len(ask_people(context, task, make_items(5), "judging", lambda results: False)) == 2


def test_items_with_known_answers_are_no_results(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk = make_task(context), Desk(context.record)
    items = make_items(2)
    known = TaskItem(items[0].prompt, ("x", "y"), use="gold", answers={"better": 0})
    desk.add_task(task)
    desk.add_items(task, [known])
    Between(monkeypatch, lambda: judge(desk, task, "ann"))
    assert {one.item.use for one in ask_people(context, task, items, "judging")} == {"work"}


def test_a_task_that_is_there_keeps_its_words(context: Context, monkeypatch: pytest.MonkeyPatch) -> None:
    task, desk = make_task(context), Desk(context.record)
    desk.add_task(task)
    Between(monkeypatch, lambda: judge(desk, task, "ann"))
    ask_people(context, task.model_copy(update={"title": "Other words of a newer Kilter"}), make_items(1), "judging")
    assert desk.task(task.name).title == "T"


def test_the_name_is_the_steps_and_fits_an_address(context: Context) -> None:
    assert task_name(context) == "check-it-0123456789abcdef"
    long = replaced(context, folder=Path(f"/w/steps/{'Ä' * 80}-0123456789abcdef"))
    assert Task.model_validate({**make_task(long).model_dump(), "name": task_name(long)}).name.endswith(
        "0123456789abcdef"
    )


def test_a_step_of_a_sweep_on_a_cluster_cannot_ask(context: Context, tmp_path: Path) -> None:
    far = replaced(context, record=DetachedRecord(tmp_path / "blobs"))
    with pytest.raises(SettingsError, match="kilter run"):
        ask_people(far, make_task(context), make_items(1), "judging")


@pytest.mark.parametrize("name", ["compare", "check"])
def test_the_guidelines_are_there(name: str) -> None:
    assert "1. **Does it do what was asked?**" in guidelines(name)
