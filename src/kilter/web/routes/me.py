"""A person's own page: what they did, what is known of them, and how to take it along or have it deleted."""

from __future__ import annotations

import json
from time import monotonic
from typing import Annotated, Any

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from kilter.feedback.accounts import Session
from kilter.feedback.tasks import Task
from kilter.web import measured, pages
from kilter.web.described import API, PAGES
from kilter.web.figures import PATIENCE
from kilter.web.footnotes import Footnotes
from kilter.web.security import COOKIE, AtSite, FormSession, Refused, SignedIn
from kilter.web.site import Site

router = APIRouter(prefix="/me", tags=["me"], default_response_class=HTMLResponse, responses=PAGES)
api = APIRouter(tags=["me"], responses=API)


@router.get("")
def my_page(request: Request, site: AtSite, session: SignedIn) -> Response:
    """What the person did in each task."""
    rater = session.person.rater
    tasks, until = [], monotonic() + PATIENCE
    for task in _own_tasks(site, session):
        standing = site.desk.standing(task, rater)
        known = measured.own(site, task, rater, max(0.0, until - monotonic())) if standing.judged else None
        tasks.append({"task": task, "standing": standing, "known": known, "waits": bool(standing.judged) and not known})
    about = site.people.about(session.person.id)
    return pages.show(
        request, "me.html", session=session, tasks=tasks, about=about, why=Footnotes(),
        waiting=f"{site.prefix}/api/me/figures", ready=sum(one["known"] is not None for one in tasks),
    )  # fmt: skip


@api.get("/api/me/figures")
def figures_known(site: AtSite, session: SignedIn) -> dict[str, Any]:
    """How many of the person's tasks have figures by now, for a page that waits for them; computes nothing."""
    rater = session.person.rater
    keys = [measured.own_key(task.name, rater) for task in _own_tasks(site, session)]
    return {"stamp": sum(site.figures.stamp(key) is not None for key in keys)}


@router.get("/export", response_class=JSONResponse)
def export(site: AtSite, session: SignedIn) -> Response:
    """All that identifies the person, and every judgment of theirs, as JSON."""
    own = site.desk.record.judgments(judge=session.person.rater.judge)
    told = {
        "person": site.people.about(session.person.id),
        "judgments": [
            {"id": one.id, "question": one.question, "target": one.target, "value": one.value, "started": one.started}
            for one in own
        ],
    }
    headers = {"Content-Disposition": "attachment; filename=kilter-me.json"}
    return Response(json.dumps(told, indent=2, ensure_ascii=False), media_type="application/json", headers=headers)


@router.post("/password", status_code=303, response_class=RedirectResponse)
def change_password(site: AtSite, session: FormSession, password: Annotated[str, Form(max_length=1000)]) -> Response:
    """Set another password; everybody who was signed in with the old one is signed out."""
    site.people.set_password(session.person.id, password)
    return RedirectResponse(f"{site.prefix}/sign-in", 303)


@router.post("/delete", status_code=303, response_class=RedirectResponse)
def delete(site: AtSite, session: FormSession, sure: Annotated[str, Form(max_length=20)] = "") -> Response:
    """Delete what identifies the person."""
    if sure != "yes":
        raise Refused(400, "Tick the box to say that you mean it. Nothing was deleted.")
    site.people.forget(session.person.id)
    response = RedirectResponse(f"{site.prefix}/sign-in", 303)
    response.delete_cookie(COOKIE, path=site.prefix or "/")
    return response


def _own_tasks(site: Site, session: Session) -> list[Task]:
    return [task for task, _ in site.desk.tasks() if session.person.may_judge(task.name)]
