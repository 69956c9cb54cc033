"""The items that raters differ about or flagged, and what a researcher decides of them."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Form, Path, Query, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse
from pydantic import AfterValidator, Field

from kilter.feedback.accounts import Session
from kilter.feedback.tasks import Question, Task, TaskItem, placed
from kilter.feedback.work import Result, Submission, deal
from kilter.web import measured, pages
from kilter.web.described import API, PAGES
from kilter.web.rendering import render_item
from kilter.web.routes.judging import Answers, Body, Key, Started, TaskName, no_nul
from kilter.web.routes.tasks import Reader
from kilter.web.security import AtSite, Changing, FormSession, Refused
from kilter.web.site import Site
from kilter.web.words import in_words

ON_A_PAGE = 10

router = APIRouter(tags=["disagreements"], default_response_class=HTMLResponse, responses=PAGES)
ArtifactId = Annotated[str, Path(pattern=r"^[0-9a-f]{64}$")]
Reason = Annotated[str, Form(max_length=2000), AfterValidator(no_nul)]


class Decided(Body):
    """The deciding answers to some questions about one item, as the researcher saw it."""

    artifact: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    key: Key
    answers: Answers
    started: Started
    active_ms: dict[str, Annotated[int, Field(ge=0, le=86_400_000)]] = Field(default={}, max_length=20)


@router.get("/tasks/{task}/disagreements")
def disagreements_page(
    request: Request, task: TaskName, site: AtSite, session: Reader,
    question: Annotated[str | None, Query(max_length=40)] = None, page: Annotated[int, Query(ge=1, le=100_000)] = 1,
) -> Response:  # fmt: skip
    """Flagged items first, then those that raters differ about, most apart first."""
    asked = site.desk.task(task)
    known = measured.disagreements(site, asked)
    decided = site.desk.adjudications(task)
    contested, done = ([], 0) if known is None or known.value is None else (
        measured.contested(known.value, decided, question)
    )  # fmt: skip
    shown = contested[ON_A_PAGE * (page - 1) : ON_A_PAGE * page]
    view = _View(site, asked, session)
    flags = [view.flag(one) for one in site.desk.flags(task)]
    return pages.show(
        request, "disagreements.html", session=session, task=asked, known=known, flags=flags, contested=len(contested),
        done=done, items=[view.item(one, decided) for one in shown], page=page, question=question,
        pages=-(-len(contested) // ON_A_PAGE), first=ON_A_PAGE * (page - 1) + 1,
        questions=[one.model_dump(mode="json") for one in asked.questions],
        comparable=[one for one in asked.questions if one.type != "text"],
        waiting=f"{site.prefix}/api/tasks/{task}/figures?of=disagreements",
    )  # fmt: skip


@router.post("/api/tasks/{task}/adjudicate", response_class=JSONResponse, responses=API)
def adjudicate(task: TaskName, body: Decided, site: AtSite, session: Changing) -> dict[str, dict[str, str]]:
    """Take the deciding answers; what was decided, in words."""
    _require_researcher(session)
    asked = site.desk.task(task)
    sent = Submission(body.key, body.answers, body.started, body.active_ms)
    site.desk.adjudicate(asked, session.person.rater, body.artifact, sent)
    found = [one for one in site.desk.adjudications(task) if one.artifact == body.artifact]
    view = _View(site, asked, session)
    return {"decided": {one.question: view.said(one) for one in found}}


@router.post("/tasks/{task}/flags/{artifact}", status_code=303, response_class=RedirectResponse)
def rule(
    task: TaskName, artifact: ArtifactId, site: AtSite, session: FormSession,
    ruling: Annotated[Literal["returned", "retired"], Form()], reason: Reason = "",
) -> Response:  # fmt: skip
    """Return a flagged item to the queue, or retire it."""
    _require_researcher(session)
    site.desk.rule(site.desk.task(task), session.person.rater, artifact, ruling, reason)
    return RedirectResponse(f"{site.prefix}/tasks/{task}/disagreements", 303)


def _require_researcher(session: Session) -> None:
    if not session.person.may("researcher"):
        raise Refused(403, "This is for the researchers of this workspace.")


class _View:
    """Items and answers as one person sees them: sides dealt for this person, raters by name for researchers only."""

    def __init__(self, site: Site, task: Task, session: Session) -> None:
        self.task, self.viewer = task, session.person.rater
        self.questions: dict[str, Question] = {one.name: one for one in task.questions}
        researcher = session.person.may("researcher")
        self.names = {f"people/{one.alias}": one.name for one in site.people.all()} if researcher else {}

    def item(self, one: measured.Contested, decided: Sequence[Result]) -> dict[str, Any]:
        """An item with what was said of it; `answers` are what the form starts with."""
        own = {result.question: result for result in decided if result.artifact == one.artifact}
        return {
            "artifact": one.artifact, "score": one.score, "shown": self.content(one.artifact, one.item),
            "open": any(each.question not in own for each in one.questions),
            "asked": [each.question for each in one.questions],
            "answers": {name: self._placed(result) for name, result in own.items()},
            "questions": [
                {
                    "name": each.question, "ask": self.questions[each.question].ask, "score": each.score,
                    "said": [self._answer(result) for result in each.answers],
                    "decided": self._answer(own[each.question]) if each.question in own else None,
                }
                for each in one.questions
            ],
        }  # fmt: skip

    def flag(self, one: Any) -> dict[str, Any]:
        """A flagged item with the reasons."""
        notes = [
            {"name": self.names.get(note.judge, ""), "judge": note.judge, "reason": note.reason} for note in one.notes
        ]
        content = self.content(one.artifact, one.item)
        return {"artifact": one.artifact, "shown": content, "notes": notes, "retired": one.retired, "use": one.item.use}

    def content(self, artifact: str, item: TaskItem) -> dict[str, Any]:
        """An item as the judging page would show it."""
        return render_item(self.task, item, deal(self.task, artifact, item, self.viewer.id).sides)

    def said(self, one: Result) -> str:
        """An answer in words."""
        sides = deal(self.task, one.artifact, one.item, self.viewer.id).sides
        return in_words(
            self.task, self.questions[one.question], self._placed(one), [one.item.responses[side] for side in sides]
        )

    def _placed(self, one: Result) -> Any:
        sides = deal(self.task, one.artifact, one.item, self.viewer.id).sides
        return placed(self.questions[one.question], one.value, one.judgment.spans, sides)

    def _answer(self, one: Result) -> dict[str, Any]:
        spent = one.judgment.active_ms
        return {
            "judge": one.judge, "name": self.names.get(one.judge, ""), "said": self.said(one),
            "simulated": one.judgment.principal == "simulated", "seconds": None if spent is None else spent / 1000,
            "when": datetime.fromtimestamp(one.submitted, UTC).strftime("%Y-%m-%d"),
        }  # fmt: skip
