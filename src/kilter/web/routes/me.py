"""A person's own page: what they did, what is known of them, and how to take it along or have it deleted."""

from __future__ import annotations

import json
from typing import Annotated

from fastapi import APIRouter, Form, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from kilter.web import pages
from kilter.web.described import PAGES
from kilter.web.security import COOKIE, AtSite, FormSession, Refused, SignedIn

router = APIRouter(prefix="/me", tags=["me"], default_response_class=HTMLResponse, responses=PAGES)


@router.get("")
def my_page(request: Request, site: AtSite, session: SignedIn) -> Response:
    """What the person did in each task."""
    tasks = [
        {"task": task, "standing": site.desk.standing(task, session.person.rater)}
        for task, _ in site.desk.tasks()
        if session.person.may_judge(task.name)
    ]
    about = site.people.about(session.person.id)
    return pages.show(request, "me.html", session=session, tasks=tasks, about=about)


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
