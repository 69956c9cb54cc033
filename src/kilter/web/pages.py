"""Templates filled in: every page has the texts, the person who is signed in, and addresses under the prefix."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from fastapi import Request
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader, StrictUndefined

from kilter.feedback.accounts import Session
from kilter.web.security import COOKIE, site_of
from kilter.web.wording import judging_texts, texts

HERE = Path(__file__).parent


@cache
def _templates() -> Environment:
    return Environment(
        loader=FileSystemLoader(HERE / "templates"), autoescape=True, undefined=StrictUndefined, trim_blocks=True,
        lstrip_blocks=True,
    )  # fmt: skip


def show(
    request: Request, template: str, status: int = 200, *, session: Session | None = None, **values: Any
) -> HTMLResponse:
    """A page; `session` is found where it is not given."""
    site = site_of(request)
    session = session or site.people.session(request.cookies.get(COOKIE))
    shown = _templates().get_template(template).render(
        texts=texts(), judging_texts=judging_texts(), site=site, session=session,
        person=None if session is None else session.person,
        csrf="" if session is None else session.csrf, at=site.prefix, **values,
    )  # fmt: skip
    return HTMLResponse(shown, status)
