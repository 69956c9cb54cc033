"""Verdicts as rows in the layouts that trainers read: TRL's and Kilter's own.

TRL's types: preference, unpaired preference (KTO), stepwise supervision (PRM), prompt-completion (SFT); chats wherever
TRL takes chats. Everything here was checked against trl 1.16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa  # type: ignore[import-untyped]

from kilter.errors import SettingsError
from kilter.feedback.exchange.verdicts import Verdict, groups_by
from kilter.feedback.messages import Message, is_dialogue
from kilter.feedback.tasks import BOTH_BAD, TIE, Question, TaskItem
from kilter.settings import nearest

MESSAGES = pa.list_(pa.struct([("role", pa.string()), ("content", pa.string())]))
TEXTS = pa.list_(pa.string())


@dataclass(frozen=True)
class LeftOut:
    """A verdict, or a part of one, that cannot become a row, and why."""

    reason: str


Row = dict[str, Any]
Rows = Iterator[Row | LeftOut]


@dataclass(frozen=True)
class Choices:
    """What the user decides about rows.

    Attributes:
        desirable: labels, or the lowest grade, that make a response desirable in the layout kto.
        neutral: what a neutral step counts as in the layout prm.
        chats: whether prompts of the layout prm must be chats, because one of them is more than a text.
    """

    desirable: tuple[str, ...] = ()
    neutral: Literal["good", "bad"] = "good"
    chats: bool = False


@dataclass(frozen=True)
class Layout:
    """A layout: which types of questions fit it, its columns, and its rows."""

    types: tuple[str, ...]
    columns: Callable[[Question, Choices], Mapping[str, pa.DataType]]
    rows: Callable[[Question, Verdict, Choices], Rows]


def fits(layout: str, question: Question) -> bool:
    """Whether answers to a question can be laid out so."""
    if question.type == "rating" and question.of == "item" and layout in ("preference", "ranking"):
        return False
    return question.type in LAYOUTS[layout].types


def choose_question(layout: str, questions: Sequence[Question], named: str | None, task: str) -> Question:
    """The question that the user names, or else the only one that fits the layout.

    Raises:
        SettingsError: none fits, or several do, or the layout is not known; it says what fits.
    """
    if layout not in LAYOUTS:
        raise SettingsError(f"There is no layout '{layout}': {nearest(layout, LAYOUTS)}")
    offered = "; ".join(
        f"for {one.name} ({one.type}): {', '.join(name for name in LAYOUTS if fits(name, one))}" for one in questions
    )
    if named is not None:
        chosen = next((one for one in questions if one.name == named), None)
        if chosen is None:
            raise SettingsError(f"The task '{task}' has no question '{named}': "
                                f"{nearest(named, [one.name for one in questions])}")  # fmt: skip
        if not fits(layout, chosen):
            raise SettingsError(
                f"Answers to '{named}' ({chosen.type}) have no layout '{layout}'. What fits: {offered}."
            )
        return chosen
    fitting = [one for one in questions if fits(layout, one)]
    if not fitting:
        raise SettingsError(f"The task '{task}' has no question for the layout '{layout}'. What fits: {offered}.")
    if len(fitting) > 1:
        names = ", ".join(one.name for one in fitting)
        raise SettingsError(f"Several questions of '{task}' fit the layout '{layout}': {names}. Choose one with "
                            "--question NAME.")  # fmt: skip
    return fitting[0]


def needs_chats(verdicts: Iterable[Verdict]) -> bool:
    """Whether a prompt is more than one text of the user, or would be read as a dialogue."""
    return any(
        [one["role"] for one in verdict.item.prompt] != ["user"] or is_dialogue(verdict.item.prompt[0]["content"])
        for verdict in verdicts
        if verdict.item.prompt
    )


# Preferences


def _preference_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    graded = question.type == "rating" or (question.type == "comparison" and question.strength > 1)
    return {"prompt": MESSAGES, "chosen": MESSAGES, "rejected": MESSAGES} | ({"margin": pa.float64()} if graded else {})


def _preferences(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    """One row for each pair of which one is better."""
    if verdict.value == BOTH_BAD:
        yield LeftOut("found both bad")
        return
    groups, margin = _groups(question, verdict)
    responses, tied = verdict.item.responses, 0
    for place, group in enumerate(groups):
        tied += len(group) * (len(group) - 1) // 2
        for better in group:
            for worse in (one for later in groups[place + 1 :] for one in later):
                if responses[better].strip() == responses[worse].strip():
                    yield LeftOut("pairs of identical responses")
                    continue
                row: Row = {"prompt": _chat(verdict.item), "chosen": _reply(responses[better]),
                            "rejected": _reply(responses[worse])}  # fmt: skip
                yield row if margin is None else row | {"margin": margin(better, worse)}
    for _ in range(tied):
        yield LeftOut("ties")


def _groups(question: Question, verdict: Verdict) -> tuple[list[list[int]], Callable[[int, int], float] | None]:
    """The responses in groups, best first, and by how much one is better than another, where that is known."""
    value = verdict.value
    if question.type == "comparison":
        strength = verdict.strength
        margin = (lambda better, worse: float(strength or 1.0)) if question.strength > 1 else None
        return [[0, 1]] if value == TIE else [[value], [1 - value]], margin
    if question.type == "ranking":
        return [one if isinstance(one, list) else [one] for one in value], None
    grades = {number: sum(one.values()) / len(one) for number, one in enumerate(value)}
    groups = groups_by({number: -grade for number, grade in grades.items()})
    return groups, lambda better, worse: grades[better] - grades[worse]


# Marks


def _mark_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    return {"prompt": MESSAGES, "completion": MESSAGES, "label": pa.bool_()}


def _marks(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    """A row for each response that was found good or bad."""
    value, item = verdict.value, verdict.item
    marks: dict[int, bool] = {}
    if question.type in ("comparison", "ranking"):
        if len({one.strip() for one in item.responses}) < len(item.responses):
            yield LeftOut("identical responses")
            return
        marks = _compared(question, verdict)
        if not marks:
            yield LeftOut("ties")
    elif question.type == "label":
        if len(item.responses) != 1:
            yield LeftOut("labels of items that have not one response")
            return
        said = value if isinstance(value, list) else [value]
        marks = {0: any(one in choices.desirable for one in said)}
    elif question.type == "rating":
        if question.of == "item" and len(item.responses) != 1:
            yield LeftOut("ratings of items that have not one response")
            return
        least = float(choices.desirable[0])
        grades = value if isinstance(value, list) else [value]
        marks = {number: sum(one.values()) / len(one) >= least for number, one in enumerate(grades)}
    for number, good in marks.items():
        yield {"prompt": _chat(item), "completion": _reply(item.responses[number]), "label": good}


def _compared(question: Question, verdict: Verdict) -> dict[int, bool]:
    """The best and the worst, which are none where all are tied."""
    if verdict.value == BOTH_BAD:
        return {0: False, 1: False}
    groups, _ = _groups(question, verdict)
    if len(groups) == 1:
        return {}
    return dict.fromkeys(groups[0], True) | dict.fromkeys(groups[-1], False)


def check_desirable(question: Question, desirable: Sequence[str]) -> None:
    """Raise `SettingsError` where the layout kto needs to be told what is desirable, or is told what cannot be."""
    if question.type == "label":
        unknown = [one for one in desirable if one not in question.labels]
        if not desirable or unknown:
            labels = ", ".join(question.labels)
            wrong = f"'{unknown[0]}' is no label of '{question.name}'" if unknown else "which labels are good?"
            raise SettingsError(f"The layout 'kto' needs --desirable LABEL: {wrong}. Its labels: {labels}.")
    elif question.type == "rating":
        if len(desirable) != 1 or not desirable[0].replace(".", "", 1).isdigit():
            raise SettingsError(
                f"The layout 'kto' needs --desirable GRADE for '{question.name}': the lowest mean grade of "
                f"{question.low} to {question.high} that makes a response desirable."
            )
    elif desirable:
        raise SettingsError(f"--desirable says nothing of '{question.name}', which is a {question.type}; leave it out.")


# Steps, texts, rankings, ratings


def _step_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    prompt = MESSAGES if choices.chats else pa.string()
    return {"prompt": prompt, "completions": TEXTS, "labels": pa.list_(pa.bool_())}


def _steps(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    """The steps that were labeled; TRL takes one text as prompt here, and no chat."""
    item, count = verdict.item, len(verdict.value)
    prompt = _chat(item) if choices.chats else item.prompt[0]["content"]
    good = (1, 0) if choices.neutral == "good" else (1,)
    yield {"prompt": prompt, "completions": list(item.steps[:count]), "labels": [one in good for one in verdict.value]}


def _text_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    return {"prompt": MESSAGES, "completion": MESSAGES}


def _texts(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    if verdict.value.strip():
        yield {"prompt": _chat(verdict.item), "completion": _reply(verdict.value)}
    else:
        yield LeftOut("empty texts")


def _ranking_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    return {"prompt": MESSAGES, "responses": TEXTS, "ranking": pa.list_(pa.list_(pa.int64()))}


def _rankings(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    """Groups of equal rank, best first; one of a single response is a list too, as columns have one type."""
    if verdict.value == BOTH_BAD:
        yield LeftOut("found both bad")
        return
    if len({one.strip() for one in verdict.item.responses}) < len(verdict.item.responses):
        yield LeftOut("identical responses")
        return
    groups, _ = _groups(question, verdict)
    yield {"prompt": _chat(verdict.item), "responses": list(verdict.item.responses), "ranking": groups}


def _rating_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    assert question.type == "rating"
    grades = pa.struct([(name, pa.float64()) for name in question.dimensions])
    return {"prompt": MESSAGES, "responses": TEXTS, "steps": TEXTS,
            "ratings": grades if question.of == "item" else pa.list_(grades)}  # fmt: skip


def _ratings(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    several = verdict.value if isinstance(verdict.value, list) else [verdict.value]
    grades = [{name: float(grade) for name, grade in one.items()} for one in several]
    yield {"prompt": _chat(verdict.item), "responses": list(verdict.item.responses), "steps": list(verdict.item.steps),
           "ratings": grades if isinstance(verdict.value, list) else grades[0]}  # fmt: skip


def _raw_columns(question: Question, choices: Choices) -> Mapping[str, pa.DataType]:
    return {"prompt": MESSAGES, "responses": TEXTS, "steps": TEXTS, "question_type": pa.string(),
            "value": pa.string(), "spans": pa.string()}  # fmt: skip


def _raw(question: Question, verdict: Verdict, choices: Choices) -> Rows:
    """The value as JSON, as its form differs from question to question."""
    value, spans = verdict.value, verdict.results[0].judgment.spans if len(verdict.results) == 1 else None
    if verdict.method == "none":
        value = verdict.results[0].value
    yield {
        "prompt": _chat(verdict.item), "responses": list(verdict.item.responses), "steps": list(verdict.item.steps),
        "question_type": question.type, "value": json.dumps(value, ensure_ascii=False, sort_keys=True),
        "spans": None if spans is None else json.dumps(spans, ensure_ascii=False, sort_keys=True),
    }  # fmt: skip


def _chat(item: TaskItem) -> list[Message]:
    return [{"role": one["role"], "content": one["content"]} for one in item.prompt]


def _reply(text: str) -> list[Message]:
    return [{"role": "assistant", "content": text}]


_ORDERED = ("comparison", "ranking", "rating")
LAYOUTS: dict[str, Layout] = {
    "preference": Layout(_ORDERED, _preference_columns, _preferences),
    "kto": Layout((*_ORDERED, "label"), _mark_columns, _marks),
    "prm": Layout(("steps",), _step_columns, _steps),
    "sft": Layout(("text",), _text_columns, _texts),
    "ranking": Layout(_ORDERED, _ranking_columns, _rankings),
    "rating": Layout(("rating",), _rating_columns, _ratings),
    "raw": Layout(("comparison", "ranking", "rating", "label", "text", "flaws", "steps"), _raw_columns, _raw),
}
"""Every layout by its name."""
