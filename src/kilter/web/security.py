"""Who asks, whether they may, and what browsers are told never to do."""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable
from typing import Annotated

from fastapi import Depends, FastAPI, Form, Header, Request, Response, Security
from fastapi.security import APIKeyCookie
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from kilter.errors import KilterError
from kilter.feedback.accounts import Role, Session
from kilter.web.site import Site

COOKIE = "kilter_session"
SESSION = APIKeyCookie(name=COOKIE, auto_error=False, description="Who is signed in.")
HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; "
        "font-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "same-origin",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Permissions-Policy": "camera=(), microphone=(), geolocation=()",
}
MOST_BYTES = 2 << 20
ONES, EVERYBODYS = 1200, 30_000
"""Requests a minute of one session, a tenth of which a fast rater needs, and of one address, which many may share."""


class Refused(KilterError):
    """A request that is not allowed; `status` is its HTTP status."""

    def __init__(self, status: int, message: str) -> None:
        super().__init__(message)
        self.status = status


class NotSignedIn(Refused):
    """Nobody is signed in, or no longer."""

    def __init__(self) -> None:
        super().__init__(401, "You are not signed in, or have been away for long; sign in again. Nothing is lost.")


def guard(app: FastAPI, site: Site) -> None:
    """Limit how often and how much is asked, refuse what other sites send, and add the headers."""
    app.add_middleware(_Guard, site=site)


class _Guard:
    # plain ASGI: the middleware that has requests and responses as objects takes longer than a submit

    def __init__(self, app: ASGIApp, site: Site) -> None:
        self._app, self._site = app, site

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        static = scope["path"].startswith("/static/")  # asked after each time, so that an update is seen
        added = {**HEADERS, "Cache-Control": "no-cache" if static else "no-store"}

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in added.items():
                    headers.setdefault(name, value)
            await send(message)

        refused = _refusal(Request(scope), self._site)
        await (self._app if refused is None else refused)(scope, receive, send_guarded)


def _refusal(request: Request, site: Site) -> Response | None:
    cookie = request.cookies.get(COOKIE)
    admitted = site.limits.admits(f"address {address(request)}", EVERYBODYS)
    if not admitted or (cookie and not site.limits.admits(f"session {cookie}", ONES)):
        return JSONResponse({"error": "Too many requests; wait a minute."}, 429, {"Retry-After": "60"})
    if request.method not in ("GET", "HEAD"):
        length = request.headers.get("content-length", "0")
        if "transfer-encoding" in request.headers or not length.isdecimal():  # browsers always say how long
            return JSONResponse({"error": "A request must say how long it is."}, 411)
        if int(length) > MOST_BYTES:
            return JSONResponse({"error": f"A request may have {MOST_BYTES >> 20} MiB."}, 413)
        origin = request.headers.get("origin")
        if origin not in (None, "null") and not site.is_own(origin, request.headers.get("host")):
            return JSONResponse({"error": "This request came from another site."}, 403)
        if request.headers.get("sec-fetch-site") in ("cross-site", "same-site"):
            return JSONResponse({"error": "This request came from another site."}, 403)
    return None


def address(request: Request) -> str:
    """The address that a request comes from."""
    return request.client.host if request.client else "unknown"


def site_of(request: Request) -> Site:
    """The site that a request goes to."""
    site: Site = request.app.state.site
    return site


def session_of(request: Request, token: Annotated[str | None, Security(SESSION)]) -> Session:
    """Who is signed in; raises `NotSignedIn`."""
    session = site_of(request).people.session(token)
    if session is None:
        raise NotSignedIn
    return session


SignedIn = Annotated[Session, Depends(session_of)]


# What follows computes nothing worth a thread, so it is async: each plain function would wait for one.


async def _at_site(request: Request) -> Site:
    return site_of(request)


async def checked_session(session: SignedIn, x_csrf: Annotated[str, Header(max_length=64)] = "") -> Session:
    """As `session_of`, for requests that change something: they must carry the session's word."""
    if not hmac.compare_digest(x_csrf.encode(), session.csrf.encode()):
        raise Refused(403, "This page is out of date; reload it. Nothing is lost.")
    return session


async def form_session(session: SignedIn, csrf: Annotated[str, Form(max_length=64)] = "") -> Session:
    """As `checked_session`, for plain forms."""
    if not hmac.compare_digest(csrf.encode(), session.csrf.encode()):
        raise Refused(403, "This page is out of date; go back, reload it and try again.")
    return session


def require(*roles: Role) -> Callable[[Session], Awaitable[Session]]:
    """A dependency that admits these roles alone."""

    async def admitted(session: SignedIn) -> Session:
        if not session.person.may(*roles):
            raise Refused(403, f"This is for the {' and the '.join(roles)} of this workspace.")
        return session

    return admitted


Changing = Annotated[Session, Depends(checked_session)]
FormSession = Annotated[Session, Depends(form_session)]
AtSite = Annotated[Site, Depends(_at_site)]
