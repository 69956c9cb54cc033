"""What a task's judgments are worth: agreement, raters, what they say together; for those who read."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse

from kilter.feedback.accounts import Session
from kilter.feedback.tasks import Task
from kilter.feedback.work import Stamp
from kilter.web import measured, pages
from kilter.web.described import API, PAGES
from kilter.web.footnotes import Footnotes
from kilter.web.routes.judging import TaskName
from kilter.web.routes.tasks import Reader
from kilter.web.security import AtSite
from kilter.web.site import Site
from kilter.web.words import value_in_words

router = APIRouter(tags=["quality"], default_response_class=HTMLResponse, responses=PAGES)
Judge = Annotated[str, Path(max_length=200)]


@router.get("/tasks/{task}/quality")
def quality_page(request: Request, task: TaskName, site: AtSite, session: Reader) -> Response:
    """All raters together, each in one line, and what they say of the items."""
    asked = site.desk.task(task)
    known = measured.quality(site, asked)
    found: measured.TaskQuality | None = known.value if known else None
    summaries = [] if found is None else [measured.summary(one) for one in found.aggregate.aspects]
    return pages.show(
        request, "quality.html", session=session, known=known, found=found, summaries=summaries,
        **_shared(site, session, asked),
    )  # fmt: skip


@router.get("/tasks/{task}/raters/{judge:path}")
def rater_page(request: Request, task: TaskName, judge: Judge, site: AtSite, session: Reader) -> Response:
    """All that is known of one rater."""
    asked = site.desk.task(task)
    known = measured.quality(site, asked)
    found: measured.TaskQuality | None = known.value if known else None
    if found is not None:
        measured.require_rater(found, judge)
    rater = None if found is None else found.raters.rater(judge)
    return pages.show(
        request, "rater.html", session=session, known=known, found=found, rater=rater, judge=judge,
        **_shared(site, session, asked),
    )  # fmt: skip


@router.get("/api/tasks/{task}/figures", response_class=JSONResponse, responses=API)
def figures_known(
    task: TaskName, site: AtSite, session: Reader, of: Literal["quality", "disagreements"] = "quality"
) -> dict[str, Any]:
    """What the figures rest on that are known by now, for a page that waits for them; computes nothing."""
    key = measured.quality_key if of == "quality" else measured.disagreements_key
    stamp = site.figures.stamp(key(site.desk.task(task).name))
    return {"stamp": stamp.changed if isinstance(stamp, Stamp) else None}


def _shared(site: Site, session: Session, task: Task) -> dict[str, Any]:
    """What templates with figures need."""
    names = {f"people/{one.alias}": one.name for one in site.people.all()} if session.person.may("researcher") else {}
    questions = {one.name: one for one in task.questions}
    return {
        "task": task, "names": names, "why": Footnotes(),
        "said": lambda question, value: value_in_words(questions.get(question), value),
        "waiting": f"{site.prefix}/api/tasks/{task.name}/figures",
    }  # fmt: skip
