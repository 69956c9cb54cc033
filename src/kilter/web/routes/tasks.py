"""A task as its researchers see it: how far it is, and whether it takes more."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from kilter.feedback.accounts import Session
from kilter.web import pages
from kilter.web.described import PAGES
from kilter.web.rendering import render_guidelines
from kilter.web.routes.judging import TaskName
from kilter.web.security import AtSite, FormSession, Refused, require

router = APIRouter(prefix="/tasks/{task}", tags=["tasks"], default_response_class=HTMLResponse, responses=PAGES)
Reader = Annotated[Session, Depends(require("researcher", "auditor"))]


@router.get("")
def task_page(request: Request, task: TaskName, site: AtSite, session: Reader) -> Response:
    """Progress and the definition."""
    asked = site.desk.task(task)
    is_open = next(found for one, found in site.desk.tasks() if one.name == task)
    return pages.show(
        request, "task.html", session=session, task=asked, open=is_open, progress=site.desk.progress(task),
        guidelines=render_guidelines(asked.guidelines),
        waiting_flags=sum(not one.retired for one in site.desk.flags(task)),
    )  # fmt: skip


@router.post("/open", status_code=303, response_class=RedirectResponse)
def set_open(task: TaskName, site: AtSite, session: FormSession, value: Annotated[bool, Form()]) -> Response:
    """Open or close the task."""
    if not session.person.may("researcher"):
        raise Refused(403, "This is for the researchers of this workspace.")
    site.desk.set_open(site.desk.task(task).name, value)
    return RedirectResponse(f"{site.prefix}/tasks/{task}", 303)
