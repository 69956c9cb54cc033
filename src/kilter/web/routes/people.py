"""Who belongs to the workspace: invitations and roles, for its owners; researchers invite raters."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from kilter.feedback.accounts import ROLES, Role, Session
from kilter.web import pages
from kilter.web.described import PAGES
from kilter.web.security import AtSite, FormSession, Refused, require

router = APIRouter(prefix="/people", tags=["people"], default_response_class=HTMLResponse, responses=PAGES)
Researcher = Annotated[Session, Depends(require("researcher"))]
PersonId = Annotated[str, Path(pattern=r"^[0-9a-f]{32}$")]
TaskNames = Annotated[list[str] | None, Form(max_length=200)]


@router.get("")
def people_page(request: Request, site: AtSite, session: Researcher) -> Response:
    """Everybody, and the form for invitations."""
    return _page(request, site, session)


@router.post("/invite")
def invite(
    request: Request, site: AtSite, session: FormSession, role: Annotated[Role, Form()] = "rater",
    uses: Annotated[int, Form(ge=1, le=1000)] = 1, tasks: TaskNames = None,
) -> Response:  # fmt: skip
    """Make an invitation and show its link, this once."""
    if not session.person.may("owner") and not (session.person.may("researcher") and role == "rater"):
        raise Refused(403, "Owners invite everybody, researchers invite raters.")
    token = site.people.invite(role, tasks=tasks or None, uses=uses)
    link = f"{site.address(str(request.base_url))}/join/{token}"
    return _page(request, site, session, link=link, role=role)


@router.post("/{person}/change", status_code=303, response_class=RedirectResponse)
def change(
    site: AtSite, session: FormSession, person: PersonId, role: Annotated[Role, Form()], tasks: TaskNames = None
) -> Response:
    """Give a person another role, or other tasks; none chosen are all."""
    _require_owner(session)
    site.people.change(person, role, tasks or None)
    return RedirectResponse(f"{site.prefix}/people", 303)


@router.post("/{person}/remove", status_code=303, response_class=RedirectResponse)
def remove(site: AtSite, session: FormSession, person: PersonId) -> Response:
    """Delete an account."""
    _require_owner(session)
    site.people.forget(person)
    return RedirectResponse(f"{site.prefix}/people", 303)


def _require_owner(session: Session) -> None:
    if not session.person.may("owner"):
        raise Refused(403, "This is for the owners of this workspace.")


def _page(request: Request, site: AtSite, session: Session, link: str = "", role: str = "") -> Response:
    names = [task.name for task, _ in site.desk.tasks()]
    return pages.show(
        request, "people.html", session=session, people=site.people.all(), roles=ROLES, tasks=names, link=link,
        invited=role,
    )  # fmt: skip
