"""The application: routes, errors in words, and files that never change while it runs."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import urlencode

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, RedirectResponse
from fastapi.staticfiles import StaticFiles
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Receive, Scope, Send

from kilter.errors import KilterError, StorageError
from kilter.web import pages
from kilter.web.routes import ROUTERS
from kilter.web.security import NotSignedIn, Refused, guard
from kilter.web.site import Site

STATIC = Path(__file__).parent / "static"


def create_app(site: Site) -> FastAPI:
    """The pages of one workspace."""
    app = FastAPI(title="Kilter feedback", docs_url=None, redoc_url=None)
    app.state.site = site
    guard(app, site)
    _add_errors(app)
    for router in ROUTERS:
        app.include_router(router)
    if site.oidc is not None:
        from kilter.web.routes import oidc

        app.include_router(oidc.router)
    if site.prefix:
        app.add_middleware(_UnderPrefix, prefix=site.prefix)
    app.mount("/static", StaticFiles(directory=STATIC), name="static")
    return app


class _UnderPrefix:
    """Takes the prefix off the paths of requests, where the reverse proxy has left it on."""

    def __init__(self, app: ASGIApp, prefix: str) -> None:
        self._app, self._prefix = app, prefix

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = str(scope.get("path", ""))
        if path == self._prefix or path.startswith(f"{self._prefix}/"):
            scope = {**scope, "path": path.removeprefix(self._prefix) or "/"}
        await self._app(scope, receive, send)


def _add_errors(app: FastAPI) -> None:
    @app.exception_handler(NotSignedIn)
    def not_signed_in(request: Request, error: NotSignedIn) -> Response:
        if _is_api(request):
            return JSONResponse({"error": str(error)}, 401)
        return RedirectResponse(f"{app.state.site.prefix}/sign-in?{urlencode({'to': request.url.path})}", 303)

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        return _told(request, error.status, str(error))

    @app.exception_handler(KilterError)
    def unfit(request: Request, error: KilterError) -> Response:
        return _told(request, 400, str(error))

    @app.exception_handler(StorageError)
    def later(request: Request, error: StorageError) -> Response:
        return _told(request, 503, str(error))  # and not 400: pages keep what they sent and send it again

    @app.exception_handler(RequestValidationError)
    def malformed(request: Request, error: RequestValidationError) -> Response:
        problem = error.errors()[0]
        field = ".".join(str(part) for part in problem["loc"] if part != "body")
        return _told(request, 422, f"{field}: {problem['msg']}" if field else str(problem["msg"]))

    @app.exception_handler(HTTPException)
    def elsewhere(request: Request, error: HTTPException) -> Response:
        return _told(request, error.status_code, str(error.detail))


def _told(request: Request, status: int, message: str) -> Response:
    if _is_api(request):
        return JSONResponse({"error": message}, status)
    return pages.show(request, "error.html", status, message=message)


def _is_api(request: Request) -> bool:
    return request.url.path.startswith("/api/")
