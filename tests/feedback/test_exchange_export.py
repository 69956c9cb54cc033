from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from kilter.errors import DataError, SettingsError, StorageError
from kilter.feedback import read_demonstrations, read_marks, read_preferences, read_step_labels
from kilter.feedback.exchange import Choices, Exported, export, read_source, take_in
from kilter.feedback.exchange.verdicts import AGGREGATORS
from kilter.feedback.rows import read_rows
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Desk, Rater, Submission
from kilter.record import Workspace


@pytest.fixture(params=["sqlite", "postgresql"])
def desk(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Desk]:
    on_server = request.param == "postgresql"
    address = request.getfixturevalue("postgresql_server").schema() if on_server else None
    with Workspace.open(tmp_path / "workspace", address) as opened:
        yield Desk(opened.record, now=lambda: 1e9)


def opened(desk: Desk, *questions: dict[str, Any], items: list[TaskItem], judges: int = 3) -> Task:
    task = Task.model_validate(
        {"name": "t", "title": "T", "questions": list(questions), "overlap": {"judges": judges}, "blind": False}
    )
    desk.add_task(task)
    desk.add_items(task, items)
    return task


def item(prompt: str = "p", *responses: str, **more: Any) -> TaskItem:
    return TaskItem(({"role": "user", "content": prompt},), responses, **more)


def say(desk: Desk, task: Task, rater: str, answers: Mapping[str, Any], question: str = "q") -> None:
    """A rater's answers by the items' prompts; others stay in hand."""
    who = Rater(rater, f"people/{rater}")
    for one in desk.next(task, who, 50):
        prompt = one.content.prompt[-1]["content"] if one.content.prompt else ""
        if prompt in answers:
            sent = Submission(one.id, {question: answers[prompt]}, "2026-01-01T00:00:00Z", {question: 700})
            desk.submit(task, who, one.id, sent)


COMPARISON = {"type": "comparison", "name": "q", "both_bad": True}


@pytest.fixture
def compared(desk: Desk) -> Task:
    """Five items: agreed, two to one, undecided, a tie, both bad."""
    prompts = ["agreed", "most", "even", "tied", "bad"]
    task = opened(desk, COMPARISON, items=[item(one, "A", "B", meta={"n": 1}) for one in prompts])
    say(desk, task, "a", {"agreed": 0, "most": 1, "even": 0, "tied": "tie", "bad": "both bad"})
    say(desk, task, "b", {"agreed": 0, "most": 1, "even": 1, "tied": "tie", "bad": "both bad"})
    say(desk, task, "c", {"agreed": 0, "most": 0, "even": "tie", "tied": 0, "bad": 0})
    return task


def rows_of(target: Path) -> list[dict[str, Any]]:
    return read_rows(target).rows


def by_prompt(target: Path) -> dict[str, dict[str, Any]]:
    return {row["prompt"][-1]["content"]: row for row in rows_of(target)}


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out"])
def test_preferences_by_majority(name: str, desk: Desk, compared: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / name, "preference")
    assert (done.rows, done.items, done.judgments, done.judges, done.aggregate) == (2, 2, 6, 3, "majority")
    assert done.left_out.counts == {
        "items on which as many judges said one thing as another": 1, "ties": 1, "found both bad": 1,
    }  # fmt: skip
    rows = by_prompt(tmp_path / name)
    assert rows["most"]["chosen"] == [{"role": "assistant", "content": "B"}]
    assert rows["most"]["rejected"] == [{"role": "assistant", "content": "A"}]
    assert "margin" not in rows["most"]
    assert rows["most"]["kilter_share"] == pytest.approx(2 / 3)
    assert rows["agreed"]["kilter_share"] == 1
    data = read_preferences(tmp_path / name)
    assert {one.best for one in data} == {"A", "B"}
    assert not data.skipped.total


def test_every_row_says_where_it_comes_from(desk: Desk, compared: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / "out.jsonl", "preference")
    row = by_prompt(tmp_path / "out.jsonl")["most"]
    results = [one for one in desk.results("t") if one.artifact == row["kilter_item"]]
    assert sorted(row["kilter_judgments"]) == sorted(one.id for one in results)
    assert sorted(row["kilter_judges"]) == ["people/a", "people/b", "people/c"]
    assert row["kilter_principals"] == ["human"] * 3
    assert row["kilter_active_ms"] == [700] * 3
    assert row["kilter_sides_shown"] == [[0, 1]] * 3
    assert row["kilter_arms"] == [None] * 3
    assert (row["kilter_task"], row["kilter_question"], row["kilter_n"]) == ("t", "q", 3)
    assert row["kilter_asked"] == "Which response is better?"
    assert json.loads(row["kilter_meta"]) == {"n": 1}
    assert (row["kilter_record_root"], row["kilter_record_size"]) == (desk.record.root(), desk.record.size())
    assert desk.record.verify((done.size, done.root)).ok
    lineage = desk.record.lineage(row["kilter_dataset"])
    assert len(lineage.judgments) == done.judgments == 6
    assert "task" in {one.kind for one in lineage.artifacts.values()}
    model = desk.record.add_artifact("model", {"name": "m"}, parents=[done.dataset])
    assert len(desk.record.judgments_that_shaped(model)) == 6


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out"])
def test_exporting_again_gives_the_same_bytes(name: str, desk: Desk, compared: Task, tmp_path: Path) -> None:
    def digest() -> str:
        target = tmp_path / name
        files = sorted(target.rglob("*")) if target.is_dir() else [target]
        return hashlib.sha256(b"".join(one.read_bytes() for one in files if one.is_file())).hexdigest()

    first = export(desk, "t", tmp_path / name, "raw")
    before = digest()
    second = export(desk, "t", tmp_path / name, "raw", overwrite=True)
    assert (second.dataset, second.root) == (first.dataset, first.root)
    assert digest() == before
    assert {path.name for path in tmp_path.iterdir()} == {"workspace", name}


def test_without_aggregation_there_is_a_row_for_each_judgment(desk: Desk, compared: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / "out.jsonl", "preference", aggregate="none")
    assert (done.rows, done.judgments) == (10, 10)
    assert done.left_out.counts == {"ties": 3, "found both bad": 2}
    assert {row["kilter_n"] for row in rows_of(tmp_path / "out.jsonl")} == {1}


def test_raw_keeps_everything_and_another_workspace_reads_it_back(desk: Desk, compared: Task, tmp_path: Path) -> None:
    export(desk, "t", tmp_path / "raw", "raw")
    rows = rows_of(tmp_path / "raw")
    assert len(rows) == 15
    assert {row["value"] for row in rows} == {"0", "1", '"tie"', '"both bad"'}
    data = read_source(tmp_path / "raw")
    assert data.form == "kilter"
    with Workspace.open(tmp_path / "other") as other:
        there = Desk(other.record, now=lambda: 1e9)
        there.add_task(compared)
        assert take_in(there, compared, data, use="count").counted == 15

        def said(at: Desk) -> list[tuple[str, str, str]]:
            return sorted((one.artifact, one.judge, json.dumps(one.value)) for one in at.results("t"))

        assert said(there) == said(desk)


def test_aggregates_are_not_read_back_as_judgments(desk: Desk, compared: Task, tmp_path: Path) -> None:
    export(desk, "t", tmp_path / "raw.jsonl", "raw", aggregate="majority")
    data = read_source(tmp_path / "raw.jsonl")
    assert len(data) == 4
    assert data.unused.counts == {"aggregates of several raters": 4}


def test_training_data_read_back_is_no_new_judgment_of_humans(desk: Desk, compared: Task, tmp_path: Path) -> None:
    export(desk, "t", tmp_path / "most.jsonl", "preference")
    assert {(one.judge, one.principal) for found in read_source(tmp_path / "most.jsonl") for one in found.answers} == {
        ("kilter/majority", "aggregate")
    }
    export(desk, "t", tmp_path / "each.jsonl", "kto", aggregate="none")
    each = read_source(tmp_path / "each.jsonl")
    assert {(one.judge, one.principal) for found in each for one in found.answers} == {
        (f"people/{name}", "human") for name in "abc"
    }
    assert {str(found.item.meta) for found in each} == {"{'n': 1}"}


def test_dawid_skene_gives_posteriors(desk: Desk, compared: Task, tmp_path: Path) -> None:
    export(desk, "t", tmp_path / "out.jsonl", "preference", aggregate="dawid-skene")
    row = by_prompt(tmp_path / "out.jsonl")["agreed"]
    assert row["kilter_aggregate"] == "dawid-skene"
    assert 0.5 < row["kilter_posterior"] <= 1
    assert row["kilter_share"] == 1


def test_another_aggregator_can_be_put_in(
    desk: Desk, compared: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import numpy as np

    def trusting(ratings: Any) -> Any:
        """Rater c is always right."""
        said = ratings.codes[ratings.raters.index("people/c")]
        return np.eye(len(ratings.categories))[said]

    monkeypatch.setitem(AGGREGATORS, "trusting", trusting)
    export(desk, "t", tmp_path / "out.jsonl", "preference", aggregate="trusting")
    rows = by_prompt(tmp_path / "out.jsonl")
    assert rows["most"]["chosen"][0]["content"] == "A"
    assert rows["most"]["kilter_posterior"] == 1
    assert rows["most"]["kilter_share"] == pytest.approx(1 / 3)


def test_marks_of_comparisons(desk: Desk, compared: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / "kto", "kto")
    assert done.rows == 6
    bad = [row["label"] for row in rows_of(tmp_path / "kto") if row["prompt"][0]["content"] == "bad"]
    assert bad == [False, False]
    data = read_marks(tmp_path / "kto")
    assert sorted(one.desirable for one in data) == [False] * 4 + [True] * 2


def test_a_ranking_of_comparisons_keeps_ties(desk: Desk, compared: Task, tmp_path: Path) -> None:
    export(desk, "t", tmp_path / "out.parquet", "ranking")
    data = read_preferences(tmp_path / "out.parquet", ties=True)
    assert sorted(str(one.value) for one in data) == ["0", "1", "tie"]


def test_what_was_flagged_withdrawn_or_known_is_left_out(desk: Desk, tmp_path: Path) -> None:
    items = [item("flagged", "A", "B"), item("kept", "A", "B"), item("withdrawn", "A", "B"),
             item("gold", "A", "B", use="gold", answers={"q": 0})]  # fmt: skip
    task = opened(desk, COMPARISON, items=items, judges=2)
    task = Task.model_validate(task.model_dump() | {"checks": {"gold": 0.5}})
    say(desk, task, "a", dict.fromkeys(["flagged", "kept", "withdrawn", "gold"], 0))
    for one in desk.next(task, Rater("b", "people/b"), 9):
        if one.content.prompt[0]["content"] == "flagged":
            desk.set_aside(task, Rater("b", "people/b"), one.id, "flagged", "private", "k", "2026")
    last = desk.last_done(task, Rater("a", "people/a"))
    while last is not None and last.content.prompt[0]["content"] != "withdrawn":
        last = desk.last_done(task, Rater("a", "people/a"), last.id)
    assert last is not None
    desk.set_aside(task, Rater("a", "people/a"), last.id, "skipped", "no idea", "k2", "2026")
    done = export(desk, "t", tmp_path / "out.jsonl", "preference")
    assert list(by_prompt(tmp_path / "out.jsonl")) == ["kept"]
    assert done.left_out.counts["judgments of items that were flagged"] == 1


def test_strengths_are_margins(desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, {**COMPARISON, "strength": 3}, items=[item("p", "A", "B")])
    for rater, grade in (("a", 3), ("b", 2)):
        say(desk, task, rater, {"p": {"choice": 0, "strength": grade}})
    say(desk, task, "c", {"p": {"choice": 1, "strength": 1}})
    export(desk, "t", tmp_path / "out.jsonl", "preference")
    [row] = rows_of(tmp_path / "out.jsonl")
    assert row["margin"] == 2.5
    [one] = read_preferences(tmp_path / "out.jsonl")
    assert (one.best, one.margin) == ("A", 2.5)


RANKING = {"type": "ranking", "name": "q"}


def test_rankings_are_put_together_by_mean_rank(desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, RANKING, items=[item("p", "A", "B", "C")])
    for rater, order in (("a", [0, 1, 2]), ("b", [0, 2, 1]), ("c", [[0, 1], 2])):
        say(desk, task, rater, {"p": order})
    export(desk, "t", tmp_path / "out.parquet", "ranking")
    [row] = rows_of(tmp_path / "out.parquet")
    assert row["ranking"] == [[0], [1], [2]]  # mean ranks 1/6, 7/6 and 5/3
    assert row["kilter_share"] == pytest.approx(7 / 9)
    assert row["kilter_aggregate"] == "mean rank"
    [one] = read_preferences(tmp_path / "out.parquet")
    assert one.value == [0, 1, 2]


def test_a_ranking_becomes_all_its_pairs_but_the_tied_ones(desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, RANKING, items=[item("p", "A", "B", "C", " A ")])
    say(desk, task, "a", {"p": [[2, 1], [0, 3]]})
    done = export(desk, "t", tmp_path / "out.jsonl", "preference", aggregate="none")
    pairs = [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in rows_of(tmp_path / "out.jsonl")]
    assert pairs == [("B", "A"), ("B", " A "), ("C", "A"), ("C", " A ")]
    assert done.left_out.counts == {"ties": 2}


RATING = {"type": "rating", "name": "q", "ask": "How?", "dimensions": ["clear", "Ünïcode ok"]}


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out"])
def test_ratings_are_means(name: str, desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, RATING, items=[item("p", "A")])
    for rater, grades in (("a", (1, 5)), ("b", (2, 6))):
        say(desk, task, rater, {"p": dict(zip(RATING["dimensions"], grades, strict=True))})
    export(desk, "t", tmp_path / name, "rating")
    [row] = rows_of(tmp_path / name)
    assert row["ratings"] == {"clear": 1.5, "Ünïcode ok": 5.5}
    assert (row["kilter_n"], row["kilter_share"], row["kilter_aggregate"]) == (2, None, "mean")
    done = export(desk, "t", tmp_path / f"kto-{name}", "kto", choices=Choices(("3.5",)))
    assert [row["label"] for row in rows_of(done.target)] == [True]


def test_ratings_of_responses_are_preferences_too(desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, {**RATING, "dimensions": ["overall"], "of": "responses"}, items=[item("p", "A", "B")])
    say(desk, task, "a", {"p": [{"overall": 2}, {"overall": 6}]})
    export(desk, "t", tmp_path / "out.jsonl", "preference")
    [one] = read_preferences(tmp_path / "out.jsonl")
    assert (one.best, one.margin) == ("B", 4.0)
    export(desk, "t", tmp_path / "out", "rating")
    assert rows_of(tmp_path / "out")[0]["ratings"] == [{"overall": 2.0}, {"overall": 6.0}]


def test_labels_make_marks_where_the_user_says_which_are_good(desk: Desk, tmp_path: Path) -> None:
    label = {"type": "label", "name": "q", "ask": "Which?", "labels": ["fine", "odd", "harmful"]}
    task = opened(desk, label, items=[item("one", "A"), item("two", "B", "C")])
    say(desk, task, "a", {"one": "fine", "two": "odd"})
    done = export(desk, "t", tmp_path / "out.jsonl", "kto", choices=Choices(("fine",)))
    assert [row["label"] for row in rows_of(done.target)] == [True]
    assert done.left_out.counts == {"labels of items that have not one response": 1}
    for choices, words in ((Choices(), "which labels are good"), (Choices(("nice",)), "'nice' is no label of 'q'")):
        with pytest.raises(SettingsError, match=words):
            export(desk, "t", tmp_path / "no.jsonl", "kto", choices=choices)


def test_several_labels_hold_where_more_than_half_say_so(desk: Desk, tmp_path: Path) -> None:
    label = {"type": "label", "name": "q", "ask": "Which?", "labels": ["x", "y", "z"], "several": True}
    task = opened(desk, label, items=[item("one", "A"), item("two", "B")], judges=2)
    say(desk, task, "a", {"one": ["x", "z"], "two": ["x"]})
    say(desk, task, "b", {"one": ["z", "x"], "two": []})
    done = export(desk, "t", tmp_path / "out.jsonl", "raw", aggregate="majority")
    assert [json.loads(row["value"]) for row in rows_of(done.target)] == [["x", "z"]]
    assert done.left_out.total == 1
    with pytest.raises(SettingsError, match="majority or none"):
        export(desk, "t", tmp_path / "no.jsonl", "raw", aggregate="dawid-skene")


STEPS = {"type": "steps", "name": "q"}


@pytest.fixture
def stepped(desk: Desk) -> Task:
    prompts = {"same": "abcd", "parted": "ab"}
    task = opened(desk, STEPS, items=[item(prompt, steps=tuple(steps)) for prompt, steps in prompts.items()])
    say(desk, task, "a", {"same": [1, 0, -1], "parted": [1, 1]})
    say(desk, task, "b", {"same": [1, 0, 1, 1], "parted": [-1]})
    say(desk, task, "c", {"same": [1, -1]})
    return task


@pytest.mark.parametrize("name", ["out.jsonl", "out.parquet", "out"])
def test_steps_go_as_far_as_there_is_a_majority(name: str, desk: Desk, stepped: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / name, "prm")
    [row] = rows_of(tmp_path / name)
    assert row["prompt"] == "same"
    assert (row["completions"], row["labels"]) == (["a", "b"], [True, True])  # on the third they part
    assert row["kilter_share"] == pytest.approx(2 / 3)
    assert done.left_out.total == 1
    [one] = read_step_labels(tmp_path / name)
    assert one.labels == (1.0, 1.0)


def test_neutral_steps_may_count_as_bad(desk: Desk, stepped: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / "o.jsonl", "prm", aggregate="none", choices=Choices(neutral="bad"))
    assert sorted(row["labels"] for row in rows_of(done.target)) == [
        [False], [True, False], [True, False, False], [True, False, True, True], [True, True],
    ]  # fmt: skip


def test_steps_under_a_chat_keep_the_chat(desk: Desk, tmp_path: Path) -> None:
    chat = ({"role": "system", "content": "s"}, {"role": "user", "content": "u"})
    tricky = item("Human: u\n\nAssistant:", steps=("a",))
    task = opened(desk, STEPS, items=[TaskItem(chat, steps=("a",)), item("plain", steps=("b",)), tricky])
    say(desk, task, "a", {"u": [1], "plain": [-1], "Human: u\n\nAssistant:": [1]})
    done = export(desk, "t", tmp_path / "out.parquet", "prm")
    assert [one.prompt for one in read_step_labels(done.target)].count([dict(one) for one in chat]) == 1
    assert [{"role": "user", "content": "Human: u\n\nAssistant:"}] in [one["prompt"] for one in rows_of(done.target)]


def test_texts_become_demonstrations(desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, {"type": "text", "name": "q", "ask": "Write."}, items=[item("p"), item("q")])
    say(desk, task, "a", {"p": "مرحبا 🪐", "q": "two\u2028lines"})
    say(desk, task, "b", {"p": "hello"})
    done = export(desk, "t", tmp_path / "out.jsonl", "sft")
    assert (done.rows, done.aggregate) == (3, "none")
    assert {one.response for one in read_demonstrations(done.target)} == {"مرحبا 🪐", "two\u2028lines", "hello"}
    with pytest.raises(SettingsError, match="cannot be aggregated by 'majority': none"):
        export(desk, "t", tmp_path / "no.jsonl", "sft", aggregate="majority")


def test_flaws_go_out_raw_with_their_spans(desk: Desk, tmp_path: Path) -> None:
    task = opened(desk, {"type": "flaws", "name": "q"}, items=[item("p", "some response")])
    flaw = {"place": 0, "start": 0, "end": 4, "type": "wrong", "severity": "minor"}
    say(desk, task, "a", {"p": [flaw]})
    done = export(desk, "t", tmp_path / "out.parquet", "raw")
    [row] = rows_of(done.target)
    assert json.loads(row["spans"]) == [{"response": 0, "start": 0, "end": 4, "type": "wrong", "severity": "minor"}]
    with Workspace.open(tmp_path / "other") as other:
        there = Desk(other.record)
        there.add_task(task)
        assert take_in(there, task, read_source(done.target), use="count").counted == 1
        assert there.results("t")[0].judgment.spans == desk.results("t")[0].judgment.spans


def test_what_no_trainer_takes_as_a_prompt_is_left_out(desk: Desk, tmp_path: Path) -> None:
    chat = ({"role": "user", "content": "u"}, {"role": "assistant", "content": "last"})
    task = opened(desk, COMPARISON, items=[TaskItem((), ("A", "B")), TaskItem(chat, ("A", "B")), item("p", "x", "x ")])
    say(desk, task, "a", {"": 0, "last": 0, "p": 0})
    with pytest.raises(DataError, match="becomes a row of the layout 'preference': ") as caught:
        export(desk, "t", tmp_path / "out.jsonl", "preference")
    for reason in ("1 items without a prompt", "1 prompts that do not end with", "1 pairs of identical responses"):
        assert reason in str(caught.value)
    assert export(desk, "t", tmp_path / "raw.parquet", "raw").rows == 3
    assert not (tmp_path / "out.jsonl").exists()


@pytest.mark.parametrize(
    ("layout", "options", "words"),
    [
        ("prm", {}, "no question for the layout 'prm'. What fits: for q .comparison.: preference, kto, ranking, raw; "
                    "for why .text.: sft, raw"),
        ("sft", {"question": "q"}, "Answers to 'q' .comparison. have no layout 'sft'. What fits: for q"),
        ("dpo", {}, "There is no layout 'dpo'"),
        ("raw", {}, "Several questions of 't' fit the layout 'raw': q, why. Choose one with --question"),
        ("raw", {"question": "wy"}, "no question 'wy': did you mean 'why'"),
        ("preference", {"aggregate": "mean"}, "cannot be aggregated by 'mean': majority or none or dawid-skene"),
        ("preference", {"choices": Choices(("x",))}, "--desirable is for the layout kto"),
        ("kto", {"choices": Choices(("x",))}, "--desirable says nothing of 'q'"),
    ],
)  # fmt: skip
def test_what_does_not_go_together_is_said_with_what_does(
    layout: str, options: dict[str, Any], words: str, desk: Desk, tmp_path: Path
) -> None:
    task = opened(desk, COMPARISON, {"type": "text", "name": "why", "ask": "Why?", "required": False},
                  items=[item("p", "A", "B")])  # fmt: skip
    say(desk, task, "a", {"p": 0})
    size = desk.record.size()
    with pytest.raises(SettingsError, match=words):
        export(desk, "t", tmp_path / "out.jsonl", layout, **options)
    assert desk.record.size() == size


def test_targets_that_cannot_be_written(desk: Desk, compared: Task, tmp_path: Path) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "thesis.txt").write_text("do not lose me")
    (tmp_path / "there.jsonl").write_text("{}")
    for name, error, words in (
        ("out.csv", SettingsError, "end it in .jsonl or .parquet"),
        ("no/out.jsonl", DataError, "There is no folder"),
        ("there.jsonl", DataError, "--overwrite"),
    ):
        with pytest.raises(error, match=words):
            export(desk, "t", tmp_path / name, "raw")
    with pytest.raises(DataError, match="no data set of this kind"):
        export(desk, "t", folder, "raw", overwrite=True)
    with pytest.raises(DataError, match="There is no task 'tt': did you mean 't'"):
        export(desk, "tt", tmp_path / "out.jsonl", "raw")
    assert (folder / "thesis.txt").exists()


def test_a_full_disk_leaves_what_was_there(
    desk: Desk, compared: Task, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "out.jsonl"
    export(desk, "t", target, "raw")
    before = target.read_bytes()

    def full(file: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("kilter.feedback.exchange.files._flush", full)
    with pytest.raises(StorageError, match="No space left on device"):
        export(desk, "t", target, "raw", aggregate="majority", overwrite=True)
    assert target.read_bytes() == before
    assert {path.name for path in tmp_path.iterdir()} == {"workspace", "out.jsonl"}


def test_simulated_judgments_are_called_simulated(desk: Desk, tmp_path: Path) -> None:
    from kilter.feedback.exchange.verdicts import verdicts
    from kilter.feedback.work import Result
    from kilter.record import Judgment

    task = opened(desk, COMPARISON, items=[item("p", "A", "B")])
    result = Result("0" * 64, "q", item("p", "A", "B"), Judgment("1" * 64, "?", "simulated/x", "simulated", 0), 0.0)
    [verdict], _ = verdicts(task.questions[0], [result], "majority")
    from kilter.feedback.exchange.provenance import Stamp, provenance

    row = provenance(verdict, Stamp("d", "t", "q", "?", "r", 1))
    assert row["kilter_principals"] == ["simulated"]


def test_the_exported_type_says_what_was_chosen(desk: Desk, compared: Task, tmp_path: Path) -> None:
    done = export(desk, "t", tmp_path / "out.jsonl", "ranking", question="q", aggregate="none")
    assert isinstance(done, Exported)
    assert (done.layout, done.question, done.aggregate, done.simulated) == ("ranking", "q", "none", 0)
