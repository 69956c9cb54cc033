"""A small experiment on help, for the tests of the people side."""

from __future__ import annotations

from typing import Any

from kilter.feedback.tasks import Task, TaskItem, read_item

TEXT = "Alba is red. Boro is blue. Cara is green."
SECRET = "SECRET claim"
ARMS = ("none", "critiques", "placebo")


def helped_task(**settings: Any) -> Task:
    """Flaws of one response, with help in three arms, unless told otherwise."""
    values = {
        "name": "study", "title": "Study", "order": "given", "help": {"arms": ARMS}, "overlap": {"judges": 3},
        "questions": [{"type": "flaws", "name": "flaws", "types": ["fact", "other"]}],
    }  # fmt: skip
    return Task.model_validate({**values, **settings})


def claim(quote: str, verdict: str = "wrong", text: str = SECRET, at: int | None = None, **more: Any) -> dict[str, Any]:
    """A claim about a passage of the text, or about one that is not in it."""
    start = TEXT.index(quote) if at is None else at
    return {"quote": quote, "start": start, "end": start + len(quote), "verdict": verdict, "text": text, **more}


def claims() -> list[dict[str, Any]]:
    """Of the critic: one that vouches for a passage comes first, though pages show problems first."""
    return [claim("Boro is blue", "fine"), claim("Alba is red", type="fact", probability=0.5), claim("green")]


def helped_items(count: int, start: int = 0, **columns: Any) -> list[TaskItem]:
    """Items of the experiment, numbered from `start`."""
    help_ = {"critiques": claims(), "placebo": [claim("Nowhere", at=3)]}
    return [
        read_item({"prompt": f"What color? {n}", "responses": [TEXT], "help": help_, **columns}, f"item {n}")
        for n in range(start, start + count)
    ]


def mark(quote: str, kind: str = "fact") -> dict[str, Any]:
    """A passage marked by a rater."""
    start = TEXT.index(quote)
    return {"place": 0, "start": start, "end": start + len(quote), "type": kind, "severity": "minor", "note": ""}
