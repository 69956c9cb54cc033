"""Coming in by an account elsewhere: there, and back."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import HTMLResponse, RedirectResponse

from kilter.web.described import ELSEWHERE, PAGES
from kilter.web.oidc import Provider
from kilter.web.oidc.flows import SECONDS
from kilter.web.routes.entry import inside, signed_in
from kilter.web.security import AtSite, Refused, address
from kilter.web.site import Site

COOKIE = "kilter_oidc"
BEGUN = 600
"""Sign-ins that one address, which many may share, begins in a minute."""

router = APIRouter(prefix="/oidc", tags=["entry"], default_response_class=HTMLResponse, responses=PAGES)
Word = Annotated[str, Query(max_length=4096)]


@router.get("", status_code=303, response_class=RedirectResponse)
def begin(request: Request, site: AtSite, to: Word = "/") -> Response:
    """Send the browser to the provider."""
    provider = _provider(site)
    if not site.limits.admits(f"oidc {address(request)}", BEGUN):
        raise Refused(429, "Too many people sign in at once; wait a minute.")
    flow = provider.flows.begin(f"{site.address(str(request.base_url))}/oidc/callback", inside(to))
    response = RedirectResponse(provider.address(flow), 303)
    response.set_cookie(
        COOKIE, flow.browser, max_age=int(SECONDS), path=f"{site.prefix}/oidc", httponly=True, secure=site.secure,
        samesite="lax",
    )  # fmt: skip
    return response


@router.get("/callback", status_code=303, response_class=RedirectResponse, responses=ELSEWHERE)
def come_back(
    request: Request, site: AtSite, state: Word = "", code: Word = "", error: Word = "", iss: Word | None = None
) -> Response:
    """Ask the provider who has come, and sign them in."""
    provider = _provider(site)
    flow = provider.flows.finish(state, request.cookies.get(COOKIE, ""))
    if flow is None:
        raise Refused(400, "This sign-in is over, took too long, or began in another browser. Sign in again.")
    if error or not code:
        reason = error if error.isascii() and error.isidentifier() else "it gives no reason"
        raise Refused(403, f"{provider.settings.name} did not sign you in ({reason}).")
    who = provider.identify(flow, code, iss)
    token = site.people.enter(who.subject, who.name, who.admission.role, who.admission.tasks)
    response = signed_in(site, token, flow.to)
    response.delete_cookie(COOKIE, path=f"{site.prefix}/oidc")
    return response


def _provider(site: Site) -> Provider:
    assert site.oidc is not None  # the routes are there with a provider only
    return site.oidc
