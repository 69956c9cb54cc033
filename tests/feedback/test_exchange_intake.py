from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError, SettingsError
from kilter.feedback.exchange import Intake, read_source, take_in
from kilter.feedback.exchange.found import Found, FoundData, OldAnswer
from kilter.feedback.exchange.matching import fitted, match_questions
from kilter.feedback.exchange.raters import Pseudonyms
from kilter.feedback.readings import Skip
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Desk, Rater, Submission
from kilter.record import Workspace

EXPORTS = Path(__file__).parent / "exports"


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    on_server = request.param == "postgresql"
    address = request.getfixturevalue("postgresql_server").schema() if on_server else None
    with Workspace.open(tmp_path / "workspace", address) as opened:
        yield Desk(opened.record, now=lambda: 1e9)


def task(*questions: dict[str, Any], judges: int = 1) -> Task:
    asked = list(questions) or [{"type": "comparison", "name": "comparison"}]
    return Task.model_validate({"name": "t", "title": "T", "questions": asked, "overlap": {"judges": judges}})


PLANETS = task(
    {"type": "comparison", "name": "comparison"},
    {"type": "label", "name": "safety", "ask": "Safe?", "labels": ["Safe", "Odd", "Unsafe"], "required": False},
    {"type": "flaws", "name": "flaws", "severities": ["some"], "types": ["wrong", "other"], "required": False},
    {"type": "rating", "name": "quality", "ask": "How good?", "high": 5, "required": False},
    judges=2,
)


def take(desk: Desk, into: Task = PLANETS, **options: Any) -> Intake:
    desk.add_task(into)
    return take_in(desk, into, read_source(EXPORTS / "label_studio.json"), **options)


def judges(desk: Desk) -> set[str]:
    return {one.judge for one in desk.record.judgments()}


def test_old_answers_are_on_the_record_and_count_toward_nothing(desk: Desk) -> None:
    done = take(desk)
    assert (done.items, done.new, done.judgments, done.raters) == (3, 3, 12, 2)
    assert done.skipped.counts == {
        "items that the question 'comparison' cannot be asked of: it needs two responses to compare (it has 1)": 1
    }
    assert done.questions["comparison"] == "comparison"
    assert done.questions["why"] is None
    rows = desk.record.judgments()
    assert {one.principal for one in rows} == {"human"}
    assert judges(desk) == {"label-studio/7", "label-studio/9"}
    asked = {one.question: one.value for one in rows if one.judge == "label-studio/7"}
    assert asked["Safe?"] == "Safe"
    assert asked["How good?"] == {"overall": 4}
    assert asked["why"] == "The first one answers."
    [flaws] = [one for one in rows if one.question == "Mark every flaw you find."]
    assert [one["severity"] for one in flaws.spans or []] == ["some", "some"]
    assert desk.results("t") == []
    assert desk.progress("t").judgments == 0
    assert len(desk.next(PLANETS, Rater("r", "people/r"), 5)) == 3


def test_answers_that_a_question_does_not_take_are_recorded_as_they_are(desk: Desk) -> None:
    done = take(desk)
    assert done.unused.counts == {
        "answers to 'safety' that 'safety' does not take; on the record as they are": 1,
    }
    assert ["safe", "odd"] in [one.value for one in desk.record.judgments() if one.question == "safety"]


def test_it_is_a_data_set_whose_lineage_leads_to_the_judges(desk: Desk) -> None:
    done = take(desk)
    lineage = desk.record.lineage(done.dataset)
    assert len(lineage.judgments) == done.judgments
    assert "label_studio.json, as it was imported" in lineage.titles.values()
    assert "source" in {one.kind for one in lineage.artifacts.values()}


def test_repeating_it_adds_nothing(desk: Desk) -> None:
    first, size = take(desk, use="count"), desk.record.size()
    second = take(desk, use="count")
    assert desk.record.size() == size
    assert (second.new, second.dataset, second.counted, second.over) == (0, first.dataset, 0, 0)


def test_counted_work_fills_the_items_and_no_more(desk: Desk) -> None:
    done = take(desk, use="count")
    assert (done.counted, done.over) == (4, 0)
    progress = desk.progress("t")
    assert (progress.complete, progress.judgments, progress.raters) == (2, 4, 2)
    results = desk.results("t")
    assert {(one.judge, one.question, json.dumps(one.value)) for one in results if one.question == "comparison"} == {
        ("label-studio/7", "comparison", "0"), ("label-studio/9", "comparison", "1"),
        ("label-studio/7", "comparison", "1"),
    }  # fmt: skip
    [left] = desk.next(PLANETS, Rater("r", "people/r"), 5)
    assert left.content.prompt[0]["content"] == "Nothing said."
    desk.submit(
        PLANETS, Rater("r", "people/r"), left.id, Submission("k", {"comparison": 0}, "2026-01-01T00:00:00Z", {})
    )
    assert len(desk.results("t")) == len(results) + 1


def test_more_old_work_than_the_task_asks_for_stays_beside_it(desk: Desk) -> None:
    done = take(desk, task(), use="count")
    assert (done.counted, done.over) == (2, 2)
    assert {one.judge for one in desk.results("t")} == {"label-studio/7"}  # the earlier one of each item
    assert len([one for one in desk.record.judgments() if one.question == "Which response is better?"]) == 4


def test_known_answers_only_where_the_old_raters_agree_or_one_is_marked_right(desk: Desk) -> None:
    done = take(desk, use="gold")
    assert done.gold == 2
    items = {one.content.prompt[0]["content"][:4]: one.content
             for one in desk.next(PLANETS, Rater("r", "people/r"), 5)}  # fmt: skip
    assert [one.use for one in items.values()] == ["work"]
    with desk.record.reading() as connection:
        kept = connection.exec_driver_sql("SELECT content FROM work_items WHERE \"use\" = 'gold'").scalars().all()
    answers = [json.loads(one)["answers"] for one in kept]
    assert {"safety": "Safe"} in answers  # the comparison of this item was one against one
    assert {"comparison": 1, "safety": "Unsafe"} in answers


def test_leave_means_leave(desk: Desk) -> None:
    done = take(desk, use="leave")
    assert (done.new, done.judgments, done.dataset) == (3, 0, "")
    assert desk.record.judgments() == []


def test_no_name_and_no_address_is_on_the_record(desk: Desk, tmp_path: Path) -> None:
    desk.add_task(PLANETS)
    take_in(desk, PLANETS, read_source(EXPORTS / "label_studio_min.json"))
    names = judges(desk)
    assert "label-studio/7" in names
    assert len([one for one in names if one.startswith("label-studio/h-")]) == 1
    kept = b"".join(path.read_bytes() for path in (tmp_path / "workspace").rglob("*") if path.is_file())
    assert b"ann@example.org" not in kept


def test_pseudonyms_are_stable_and_need_the_key() -> None:
    mine, other = Pseudonyms("s", b"key"), Pseudonyms("s", b"another")
    assert mine.judge("Ann Example") == mine.judge(" Ann Example ") != other.judge("Ann Example")
    assert "Ann" not in mine.judge("Ann Example")
    assert mine.judge("12") == "s/12"
    assert mine.judge("") == "s/annotators"
    assert mine.judge("", "people/ab12") == "people/ab12"
    assert mine.judge("", "ann@example.org").startswith("s/h-")
    assert mine.judge("004915112345678").startswith("s/h-")  # a telephone number
    with pytest.raises(SettingsError, match="--source"):
        Pseudonyms("a/b", b"key")


def test_nothing_that_fits_is_refused_with_the_reason(desk: Desk) -> None:
    steps = task({"type": "steps", "name": "steps"})
    desk.add_task(steps)
    with pytest.raises(DataError, match=r"None of the 4 items of label_studio\.json fits the task 't': 4 items"):
        take_in(desk, steps, read_source(EXPORTS / "label_studio.json"))


def test_questions_are_matched_by_the_user_by_name_or_because_nothing_else_is_left() -> None:
    two = task({"type": "comparison", "name": "better"}, {"type": "rating", "name": "quality", "ask": "?"})
    found = match_questions(two, {"Better": ["choice"], "stars": ["rating"], "why": ["text"]}, {})
    assert {their: our.name if our else None for their, our in found.items()} == {
        "Better": "better", "stars": "quality", "why": None,
    }  # fmt: skip
    rivals = match_questions(two, {"clear": ["rating"], "right": ["rating"]}, {})
    assert set(rivals.values()) == {None}
    named = match_questions(two, {"clear": ["rating"], "right": ["rating"]}, {"right": "quality"})
    assert {their: our.name if our else None for their, our in named.items()} == {"right": "quality", "clear": None}
    with pytest.raises(SettingsError, match="no answers to 'rigth': did you mean 'right'"):
        match_questions(two, {"right": ["rating"]}, {"rigth": "quality"})
    with pytest.raises(SettingsError, match="no question 'qualty': did you mean 'quality'"):
        match_questions(two, {"right": ["rating"]}, {"right": "qualty"})


PAIR = Found(TaskItem(({"role": "user", "content": "p"},), ("one", "two")), ("response-1", "response-2"))


@pytest.mark.parametrize(
    ("kind", "value", "question", "read"),
    [
        ("words", "response-2", {}, 1), ("words", "Response 2", {}, 1), ("words", "Answer B is better", {}, 1),
        ("words", "left", {}, 0), ("words", "two", {}, 1), ("words", "Equally good", {}, "tie"),
        ("words", "neither", {"both_bad": True}, "both bad"), ("words", "neither", {}, None),
        ("words", "Paris", {}, None), ("words", "Vitamin a", {}, None), ("words", "the second answer", {}, 1),
        ("ranking", [1, 0], {}, 1), ("ranking", [[0, 1]], {}, "tie"), ("choice", "tie", {"tie": False}, None),
        ("choice", {"better": 1, "strength": 2}, {"strength": 3}, {"better": 1, "strength": 2}),
        ("choice", {"better": 1, "strength": 4}, {"strength": 3}, None),
        ("choice", {"better": 1, "strength": 2}, {}, 1), ("choice", 1, {"strength": 3}, None),
        ("choice", "tie", {"strength": 3}, "tie"), ("rating", 3, {}, None),
    ],
)  # fmt: skip
def test_what_an_old_answer_says_of_two_responses(kind: Any, value: Any, question: dict[str, Any], read: Any) -> None:
    [asked] = task({"type": "comparison", "name": "better"} | question).questions
    try:
        assert fitted(OldAnswer("q", kind, value), asked, PAIR)[1].value == read
    except Skip:
        assert read is None


@pytest.mark.parametrize(
    ("kind", "value", "question", "read"),
    [
        ("choice", 1, {"type": "ranking"}, [1, 0]), ("choice", "tie", {"type": "ranking"}, [[0, 1]]),
        ("choice", "both bad", {"type": "ranking"}, None),
        ("rating", 3, {"type": "rating"}, {"overall": 3}), ("rating", 9, {"type": "rating"}, None),
        ("rating", 3, {"type": "rating", "dimensions": ["a", "b"]}, None),
        ("rating", {"a": 1, "b": 2}, {"type": "rating", "dimensions": ["a", "b"]}, {"a": 1, "b": 2}),
        ("words", "yes", {"type": "label", "labels": ["Yes", "No"]}, "Yes"),
        ("words", "👍", {"type": "label", "labels": ["👍", "👎"]}, "👍"),
        ("words", "好", {"type": "label", "labels": ["坏", "好"]}, "好"),
        ("labels", ["b", "a"], {"type": "label", "labels": ["a", "b"], "several": True}, ["a", "b"]),
        ("labels", ["b", "a"], {"type": "label", "labels": ["a", "b"]}, None),
        ("mark", True, {"type": "label", "labels": ["bad", "good"]}, "good"),
        ("mark", False, {"type": "label", "labels": ["x", "y"]}, None),
        ("text", " a ", {"type": "text"}, "a"), ("words", "a", {"type": "text"}, "a"),
        ("flaws", 1, {"type": "flaws"}, None),
    ],
)  # fmt: skip
def test_what_an_old_answer_says_in_the_terms_of_a_question(
    kind: Any, value: Any, question: dict[str, Any], read: Any
) -> None:
    [asked] = task({"name": "q", "ask": "?"} | question).questions
    spans = [{"response": 0, "start": 0, "end": 1, "type": "wrong"}] if kind == "flaws" else None
    try:
        assert fitted(OldAnswer("q", kind, value, spans), asked, PAIR)[1].value == read
    except Skip:
        assert read is None


def test_simulated_judgments_stay_simulated_and_never_count_as_peoples_work(desk: Desk) -> None:
    said = OldAnswer("comparison", "choice", 0, judge="simulated/noisy", principal="simulated")
    data = FoundData([Found(PAIR.item, answers=(said,))], "x", "0" * 64, form="kilter")
    desk.add_task(task())
    done = take_in(desk, task(), data, use="count")
    assert (done.judgments, done.counted) == (1, 0)
    [row] = desk.record.judgments()
    assert (row.judge, row.principal) == ("simulated/noisy", "simulated")


def test_of_two_answers_of_one_rater_the_later_one_counts(desk: Desk) -> None:
    said = tuple(OldAnswer("comparison", "choice", value, rater="7", started=f"2026-01-0{value + 1}T00:00:00")
                 for value in (1, 0))  # fmt: skip
    data = FoundData([Found(PAIR.item, answers=said)], "x", "0" * 64, form="label-studio")
    desk.add_task(task(judges=3))
    assert take_in(desk, task(judges=3), data, use="count").counted == 1
    assert [one.value for one in desk.results("t")] == [1]
