"""Whatever people say, what was exported reads back as the same: over Unicode, ties, strengths, nested rankings."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kilter.feedback import read_demonstrations, read_marks, read_preferences, read_step_labels
from kilter.feedback.exchange.fields import Columns
from kilter.feedback.exchange.files import write_rows
from kilter.feedback.exchange.layouts import LAYOUTS, Choices, LeftOut, needs_chats
from kilter.feedback.exchange.provenance import COLUMNS, Stamp, provenance
from kilter.feedback.exchange.raw import is_raw, read_raw
from kilter.feedback.exchange.verdicts import verdicts
from kilter.feedback.rows import read_rows
from kilter.feedback.tasks import Task, TaskItem
from kilter.feedback.work import Result
from kilter.record import Judgment

TEXT = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\x00"), max_size=12)
WORDS = TEXT.filter(lambda text: bool(text.strip()))
TURN = WORDS.map(str.strip)
CHATS = st.lists(TURN, min_size=1, max_size=3).map(
    lambda turns: tuple(
        {"role": "user" if (len(turns) - n) % 2 else "assistant", "content": turn} for n, turn in enumerate(turns)
    )
)
STAMP = Stamp("d" * 64, "t", "q", "?", "r" * 64, 7)
ENDINGS = (".jsonl", ".parquet", "")


def asked(**question: Any) -> Any:
    return Task.model_validate({"name": "t", "title": "T", "questions": [{"name": "q", "ask": "?"} | question]})


def orders(count: int) -> st.SearchStrategy[list[Any]]:
    """Rankings with ties, in the form of a judgment."""

    def grouped(ranks: list[int]) -> list[Any]:
        groups = [[i for i in range(count) if ranks[i] == rank] for rank in sorted(set(ranks))]
        return [group[0] if len(group) == 1 else group for group in groups]

    return st.lists(st.integers(0, count - 1), min_size=count, max_size=count).map(grouped)


def written(
    folder: str, ending: str, layout: str, task: Task, items: list[TaskItem], values: list[Any], aggregate: str
) -> tuple[Path, list[dict[str, Any]]]:
    """The file that an export would be, and its rows; the path alone where there are none."""
    question = task.questions[0]
    results = [
        Result(f"{n:064x}", "q", item, Judgment(f"{n:064x}", "?", f"people/{n}", "human", value, active_ms=n), float(n))
        for n, (item, value) in enumerate(zip(items, values, strict=True))
    ]
    settled, _ = verdicts(question, results, aggregate)
    choices = Choices(chats=needs_chats(settled))
    rows = [row | provenance(one, STAMP) for one in settled
            for row in LAYOUTS[layout].rows(question, one, choices) if not isinstance(row, LeftOut)]  # fmt: skip
    target = Path(folder) / f"out{ending}"
    if rows:
        write_rows(rows, {**LAYOUTS[layout].columns(question, choices), **COLUMNS}, target)
    return target, rows


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25, deadline=None)
@given(
    st.lists(st.tuples(CHATS, WORDS, WORDS, st.sampled_from([0, 1, "tie", "both bad"]), st.integers(1, 4)), min_size=1,
             max_size=3)
)  # fmt: skip
def test_preferences_with_strengths(ending: str, said: list[Any]) -> None:
    task = asked(type="comparison", both_bad=True, strength=4)
    items = [TaskItem(chat, (a, b)) for chat, a, b, _, _ in said]
    values = [{"better": v, "strength": s} if isinstance(v, int) else v for *_, v, s in said]
    wanted = [
        (list(chat), (a, b)[v].strip(), (a, b)[1 - v].strip(), float(s))
        for chat, a, b, v, s in said if isinstance(v, int) and a.strip() != b.strip()
    ]  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        target, rows = written(folder, ending, "preference", task, items, values, "majority")
        assert len(rows) == len(wanted)
        if rows:
            data = read_preferences(target)
            assert [(one.prompt, one.best, one.worst, one.margin) for one in data] == wanted
            assert data.skipped.total == 0


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=25, deadline=None)
@given(st.data())
def test_rankings_with_ties(ending: str, data: st.DataObject) -> None:
    count = data.draw(st.integers(2, 5))
    chat = data.draw(CHATS)
    responses = data.draw(st.lists(TURN, min_size=count, max_size=count, unique=True))
    value = data.draw(orders(count))
    aggregate = data.draw(st.sampled_from(["none", "majority"]))
    with tempfile.TemporaryDirectory() as folder:
        item = TaskItem(chat, tuple(responses))
        target, _ = written(folder, ending, "ranking", asked(type="ranking"), [item], [value], aggregate)
        [one] = read_preferences(target, ties=True)
        assert (one.prompt, one.responses) == (list(chat), tuple(responses))
        same = {"tie": [[0, 1]], 0: [0, 1], 1: [1, 0]}.get(one.value, one.value) if count == 2 else one.value  # type: ignore[arg-type]
        assert same == value


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(CHATS, TURN, TURN, st.sampled_from([0, 1, "both bad"])), min_size=1, max_size=3))
def test_marks(ending: str, said: list[Any]) -> None:
    items = [TaskItem(chat, (a, b)) for chat, a, b, _ in said if a != b]
    values = [value for _, a, b, value in said if a != b]
    with tempfile.TemporaryDirectory() as folder:
        task = asked(type="comparison", both_bad=True)
        target, rows = written(folder, ending, "kto", task, items, values, "none")
        if rows:
            good = {(json.dumps(one.prompt), one.response): one.desirable for one in read_marks(target)}
            for item, value in zip(items, values, strict=True):
                if len(items) == 1:
                    chat = json.dumps([dict(one) for one in item.prompt])
                    assert [good[chat, one] for one in item.responses] == [value == 0, value == 1]
            assert len(rows) == 2 * len(items)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20, deadline=None)
@given(CHATS, st.lists(st.tuples(TURN, st.sampled_from([1, 0, -1])), min_size=1, max_size=5))
def test_steps(ending: str, chat: Any, said: list[tuple[str, int]]) -> None:
    item = TaskItem(chat, steps=tuple(step for step, _ in said))
    with tempfile.TemporaryDirectory() as folder:
        target, _ = written(folder, ending, "prm", asked(type="steps"), [item], [[label for _, label in said]], "none")
        [one] = read_step_labels(target)
        assert one.prompt == list(chat)
        assert one.steps == item.steps
        assert one.labels == tuple(float(label >= 0) for _, label in said)


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20, deadline=None)
@given(st.lists(st.tuples(CHATS, TURN), min_size=1, max_size=3))
def test_demonstrations(ending: str, said: list[Any]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = [TaskItem(chat) for chat, _ in said]
        target, _ = written(folder, ending, "sft", asked(type="text"), items, [text for _, text in said], "none")
        assert [(one.prompt, one.response) for one in read_demonstrations(target)] == [
            (list(chat), text) for chat, text in said
        ]


@pytest.mark.parametrize("ending", ENDINGS)
@settings(max_examples=20, deadline=None)
@given(CHATS, st.lists(WORDS, min_size=2, max_size=4), st.data(), st.dictionaries(TEXT, st.integers() | TEXT))
def test_raw(ending: str, chat: Any, responses: list[str], data: st.DataObject, meta: dict[str, Any]) -> None:
    value = data.draw(orders(len(responses)))
    item = TaskItem(chat, tuple(responses), meta=meta)
    with tempfile.TemporaryDirectory() as folder:
        target, _ = written(folder, ending, "raw", asked(type="ranking"), [item], [value], "none")
        rows = read_rows(target)
        assert is_raw(rows)
        [found] = read_raw(rows, Columns())
        assert found.item == item
        [answer] = found.answers
        assert (answer.value, answer.judge, answer.principal) == (value, "people/0", "human")
