"""Coming in and going out: invitations, sign-in, sign-out."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Form, Path, Request, Response
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse

from kilter.errors import DataError
from kilter.feedback.accounts.people import DAY, SESSION_DAYS
from kilter.web import pages
from kilter.web.described import API, PAGES, WRONG
from kilter.web.security import COOKIE, AtSite, FormSession, Refused, SignedIn, address
from kilter.web.site import Site

router = APIRouter(tags=["entry"], default_response_class=HTMLResponse, responses=PAGES)
Token = Annotated[str, Path(max_length=64, pattern=r"^[\w-]+$")]
Name = Annotated[str, Form(max_length=200)]
Password = Annotated[str, Form(max_length=1000)]


@router.get("/sign-in")
def sign_in_page(request: Request, to: str = "/") -> Response:
    """The form."""
    return pages.show(request, "sign_in.html", to=inside(to), problem="")


@router.post("/sign-in", status_code=303, response_class=RedirectResponse, responses=WRONG)
def sign_in(
    request: Request, site: AtSite, name: Name, password: Password, to: Annotated[str, Form()] = "/"
) -> Response:
    """Check name and password; after some failures only time helps."""
    keys = f"name {name.casefold().strip()}", f"address {address(request)}"
    if site.limits.is_locked(*keys):
        raise Refused(429, "Too many wrong passwords. Wait a quarter of an hour, or ask a researcher for help.")
    token = site.people.sign_in(name, password)
    if token is None:
        site.limits.failed(*keys)
        return pages.show(request, "sign_in.html", 401, to=inside(to), problem="wrong")
    site.limits.succeeded(*keys)
    return signed_in(site, token, inside(to))


@router.get("/join/{token}")
def join_page(request: Request, site: AtSite, token: Token) -> Response:
    """The form of an invitation."""
    _check_guessing(request, site)
    role = site.people.invited(token)
    if role is None:
        site.limits.failed(f"address {address(request)}")
        raise Refused(404, "This invitation was used already or is too old; ask whoever sent it for another.")
    return pages.show(request, "join.html", role=role, token=token, problem="", name="")


@router.post("/join/{token}", status_code=303, response_class=RedirectResponse)
def join(request: Request, site: AtSite, token: Token, name: Name, password: Password) -> Response:
    """Make the account and sign in."""
    _check_guessing(request, site)
    role = site.people.invited(token)
    try:
        person = site.people.join(token, name, password)
    except DataError as error:
        if role is None:
            site.limits.failed(f"address {address(request)}")
            raise
        return pages.show(request, "join.html", 400, role=role, token=token, problem=str(error), name=name)
    return signed_in(site, site.people.open_session(person.id), "/")


@router.get("/api/session", response_class=JSONResponse, responses=API)
def session_of_browser(session: SignedIn) -> dict[str, str]:
    """Who is signed in, and the word that requests must carry: for a page that was loaded before."""
    return {"person": session.person.id, "csrf": session.csrf}


@router.post("/sign-out", status_code=303, response_class=RedirectResponse)
def sign_out(request: Request, site: AtSite, session: FormSession) -> Response:
    """End the session."""
    site.people.sign_out(request.cookies[COOKIE])
    response = RedirectResponse(f"{site.prefix}/sign-in", 303)
    response.delete_cookie(COOKIE, path=site.prefix or "/")
    return response


def signed_in(site: Site, token: str, to: str) -> Response:
    """To a page of the site, with the cookie of a new session."""
    response = RedirectResponse(f"{site.prefix}{to}", 303)
    response.set_cookie(
        COOKIE, token, max_age=int(SESSION_DAYS * DAY), path=site.prefix or "/", httponly=True, secure=site.secure,
        samesite="lax",
    )  # fmt: skip
    return response


def inside(to: str) -> str:
    """A path of this site; anything else would let a link lead people elsewhere after they signed in."""
    plain = to.startswith("/") and not to.startswith("//") and "\\" not in to and to.isprintable()
    return to if plain else "/"


def _check_guessing(request: Request, site: Site) -> None:
    if site.limits.is_locked(f"address {address(request)}"):
        raise Refused(429, "Too many tries from your address. Wait a quarter of an hour.")
