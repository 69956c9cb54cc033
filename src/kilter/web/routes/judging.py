"""What the judging page asks for: the next items, and what becomes of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool

from kilter.feedback.accounts import Session
from kilter.feedback.tasks import MOST_CLAIMS, Task, TaskItem
from kilter.feedback.work import Assignment, Outcome, SecondLook, Standing, Submission
from kilter.web.described import API
from kilter.web.rendering import render, render_item
from kilter.web.security import AtSite, Changing, Refused, SignedIn
from kilter.web.site import Site
from kilter.web.words import in_words

AHEAD = 4
"""Items in the rater's browser: the one on screen and three more."""
DEEPEST = 12
"""Levels of lists and objects in answers; the deepest that a page sends has four."""

router = APIRouter(prefix="/api/tasks/{task}", tags=["judging"], responses=API)
TaskName = Annotated[str, Path(max_length=60, pattern=r"^[a-z0-9][a-z0-9-]*$")]
Key = Annotated[str, Field(min_length=8, max_length=64, pattern=r"^[\w-]+$")]
Started = Annotated[str, Field(max_length=40, pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z$")]


def _kept(answers: dict[str, Any]) -> dict[str, Any]:
    """Answers that the record can hold; no page sends others."""
    level: list[Any] = [answers]
    for _ in range(DEEPEST):
        inner = (one.values() if isinstance(one, dict) else one for one in level if isinstance(one, dict | list))
        level = [one for values in inner for one in values]
    if level:
        raise ValueError("an answer is nested too deeply")
    try:
        json.dumps(answers, allow_nan=False, ensure_ascii=False).encode()
    except ValueError as error:  # NaN, an infinite number, half of a pair of surrogates
        raise ValueError("an answer holds what is no number or no text") from error
    return answers


def no_nul(text: str) -> str:
    """Refuse what PostgreSQL cannot hold."""
    if "\x00" in text:
        raise ValueError("a text has no NUL")
    return text


Answers = Annotated[dict[str, Any], Field(max_length=20), AfterValidator(_kept)]
Number = Annotated[int, Field(ge=0, lt=MOST_CLAIMS)]
ClaimName = Annotated[str, Field(pattern=r"^\d{1,2}$")]
Followed = Annotated[dict[ClaimName, StrictBool | None], Field(max_length=MOST_CLAIMS)]
Opened = Annotated[list[Number], Field(max_length=MOST_CLAIMS)]


class Body(BaseModel):
    """What a page sends: nothing but what is named."""

    model_config = ConfigDict(extra="forbid")


class Judged(Body):
    """A submission; `followed` and `opened`, by the numbers of the claims, on a second look only."""

    assignment: Key
    key: Key
    answers: Answers
    started: Started
    active_ms: dict[str, Annotated[int, Field(ge=0, le=86_400_000)]] = Field(default={}, max_length=20)
    followed: Followed | None = None
    opened: Opened = []


class Aside(Body):
    """An item that is skipped or flagged."""

    assignment: Key
    key: Key
    state: Literal["skipped", "flagged"]
    reason: Annotated[str, Field(max_length=2000), AfterValidator(no_nul)]
    started: Started


class Draft(Body):
    """Answers that are not finished; `followed` and `opened` as in a submission."""

    assignment: Key
    answers: Answers
    followed: Followed | None = None
    opened: Opened = []


class Back(Body):
    """The item to look at again: the last one done, or the last before another."""

    before: Key | None = None


class Claim(BaseModel):
    """What a critic says; `start` and `end` are null where the passage is not in the text."""

    number: int
    verdict: Literal["wrong", "fine"]
    quote: str
    text: str
    type: str | None
    start: int | None
    end: int | None


class Again(BaseModel):
    """A second look: the help, how it was taken so far, and what the rater said without it.

    Neither which arm the help belongs to nor which arms there are is told.
    """

    claims: list[Claim]
    followed: dict[str, bool | None]
    opened: list[int]
    alone: dict[str, Any]


class Shown(BaseModel):
    """An item as the browser gets it: no ids of the record, no mapping of sides, nothing hidden.

    `again` comes with an item that the rater has answered alone, and with no other.
    """

    assignment: str
    prompt: list[dict[str, str]]
    responses: list[str]
    plain: list[str]
    steps: list[str]
    answers: dict[str, Any] | None
    done: bool
    training: bool
    again: Again | None = None


class Batch(BaseModel):
    """Items to judge, and how far the rater is."""

    items: list[Shown]
    stage: str
    judged: int


class Known(BaseModel):
    """A right answer that a rater is told, after a training item only; `place` of the better of two responses."""

    ask: str
    answer: str
    right: bool
    place: int | None


class Taken(BaseModel):
    """What became of a submission; `second` is the item again, for a second look."""

    state: Literal["submitted", "surplus", "skipped", "flagged"]
    right: dict[str, bool] | None = None
    explanation: str = ""
    known: list[Known] = []
    second: Shown | None = None


@router.post("/next")
def next_items(task: TaskName, site: AtSite, session: Changing) -> Batch:
    """The items in the rater's hands, filled up."""
    asked = open_task(site, session, task)
    return _batch(asked, *site.desk.batch(asked, session.person.rater, AHEAD))


@router.post("/submit")
def submit(task: TaskName, body: Judged, site: AtSite, session: Changing) -> Taken:
    """Take the answers to one item; the same key again changes nothing."""
    asked = open_task(site, session, task)
    sent = Submission(body.key, body.answers, body.started, body.active_ms, body.followed, body.opened)
    outcome: Outcome = site.desk.submit(asked, session.person.rater, body.assignment, sent)
    explanation = str(render(outcome.explanation)) if outcome.explanation else ""
    right = None if outcome.right is None else dict(outcome.right)
    second = None
    if outcome.help is not None:
        second = _shown(asked, site.desk.assignment(asked, session.person.rater, body.assignment))
    return Taken(state=outcome.state, right=right, explanation=explanation, known=_known(asked, outcome), second=second)


@router.post("/aside")
def set_aside(task: TaskName, body: Aside, site: AtSite, session: Changing) -> Taken:
    """Skip or flag an item."""
    asked = open_task(site, session, task)
    site.desk.set_aside(asked, session.person.rater, body.assignment, body.state, body.reason, body.key, body.started)
    return Taken(state=body.state)


@router.post("/draft", status_code=204)
def save_draft(task: TaskName, body: Draft, site: AtSite, session: Changing) -> None:
    """Keep answers that are not finished."""
    asked = open_task(site, session, task)
    site.desk.save_draft(asked, session.person.rater, body.assignment, body.answers, body.followed, body.opened)


@router.post("/back")
def back(task: TaskName, body: Back, site: AtSite, session: Changing) -> Shown | None:
    """An item that was done, with its answers, to be changed."""
    asked = open_task(site, session, task)
    found = site.desk.last_done(asked, session.person.rater, body.before)
    return None if found is None else _shown(asked, found)


@router.get("/progress")
def progress(task: TaskName, site: AtSite, session: SignedIn) -> dict[str, int]:
    """How far the task is; what a progress bar needs."""
    open_task(site, session, task)
    found = site.desk.progress(task)
    return {"judgments": found.judgments, "wanted": found.wanted}


def open_task(site: Site, session: Session, name: str) -> Task:
    """A task that the person may judge; raises `Refused`."""
    if not session.person.may_judge(name):
        raise Refused(403, "This task is not yours.")
    return site.desk.task(name)


def _known(task: Task, outcome: Outcome) -> list[Known]:
    found = []
    for one in task.questions:
        if one.name in outcome.known:
            answer = outcome.known[one.name]
            place = answer["choice"] if one.type == "comparison" and isinstance(answer, dict) else None
            said = in_words(task, one, answer, outcome.shown)
            found.append(Known(ask=one.ask, answer=said, right=bool((outcome.right or {}).get(one.name)), place=place))
    return found


def _batch(task: Task, found: Sequence[Assignment], standing: Standing) -> Batch:
    return Batch(items=[_shown(task, one) for one in found], stage=standing.stage, judged=standing.judged)


def _shown(task: Task, one: Assignment) -> Shown:
    return Shown(
        assignment=one.id,
        **render_item(task, one.content, one.sides),
        answers=None if one.answers is None else dict(one.answers),
        done=one.state != "held",
        training=one.content.use == "training",
        again=None if one.look is None else _again(one.look, one.content),
    )


def _again(look: SecondLook, item: TaskItem) -> Again:
    [response] = item.responses
    claims = []
    for number, one in enumerate(look.claims(item)):
        start, end = (one.start, one.end) if one.applies_to(response) else (None, None)
        claims.append(Claim(
            number=number, verdict=one.verdict, quote=one.quote, text=one.text, type=one.type, start=start, end=end
        ))  # fmt: skip
    return Again(claims=claims, followed=dict(look.followed), opened=list(look.opened), alone=dict(look.answers))
