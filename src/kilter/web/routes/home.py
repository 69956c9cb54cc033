"""The first page, the page on which people judge, and the guidelines."""

from __future__ import annotations

from fastapi import APIRouter, Request, Response
from fastapi.responses import HTMLResponse

from kilter.web import pages
from kilter.web.described import PAGES
from kilter.web.rendering import render_guidelines
from kilter.web.routes.judging import TaskName, open_task
from kilter.web.security import AtSite, SignedIn

router = APIRouter(tags=["pages"], default_response_class=HTMLResponse, responses=PAGES)


@router.get("/")
def home(request: Request, site: AtSite, session: SignedIn) -> Response:
    """The tasks that are the person's, and how far each is."""
    tasks = [
        {
            "task": task, "open": is_open, "progress": site.desk.progress(task.name),
            "standing": site.desk.standing(task, session.person.rater),
        }
        for task, is_open in site.desk.tasks()
        if session.person.may_judge(task.name) or session.person.may("researcher", "auditor")
    ]  # fmt: skip
    return pages.show(request, "home.html", session=session, tasks=tasks)


@router.get("/tasks/{task}/judge")
def judge_page(request: Request, task: TaskName, site: AtSite, session: SignedIn) -> Response:
    """The page on which people judge; its items come by `/api/tasks/{task}/next`."""
    asked = open_task(site, session, task)
    questions = [one.model_dump(mode="json") for one in asked.questions]
    return pages.show(
        request, "judge.html", session=session, task=asked, questions=questions,
        guidelines=render_guidelines(asked.guidelines),
    )  # fmt: skip


@router.get("/tasks/{task}/guidelines")
def guidelines_page(request: Request, task: TaskName, site: AtSite, session: SignedIn) -> Response:
    """The guidelines on a page of their own."""
    asked = open_task(site, session, task)
    return pages.show(
        request, "guidelines.html", session=session, task=asked, guidelines=render_guidelines(asked.guidelines)
    )
