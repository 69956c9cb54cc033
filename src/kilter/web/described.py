"""What routes may answer besides what they are for, as the site's OpenAPI schema says it."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel


class Problem(BaseModel):
    """Why something was not done, in words."""

    error: str


_WHY = {
    400: "It cannot be done as it was asked for.",
    403: "It is not for this person, or the page is out of date.",
    404: "There is no such page.",
    411: "The request does not say how long it is.",
    413: "The request is too large.",
    422: "A part of the request is missing or of another form.",
    429: "Too many requests.",
    503: "The database cannot be used now; ask again.",
}
_HTML: dict[str, Any] = {"text/html": {"schema": {"type": "string"}}}
_JSON: dict[str, Any] = {"application/json": {"schema": {"$ref": "#/components/schemas/Problem"}}}

API: dict[int | str, dict[str, Any]] = {
    status: {"model": Problem, "description": why} for status, why in {401: "Nobody is signed in.", **_WHY}.items()
}
"""For routes that answer with JSON."""

PAGES: dict[int | str, dict[str, Any]] = {
    303: {"description": "Go on at another page: the one asked for, or the one to sign in at."},
    # What is refused before its route is known is refused in JSON.
    **{status: {"content": {**_HTML, **_JSON}, "description": why} for status, why in _WHY.items()},
}
"""For routes that answer with pages."""

WRONG: dict[int | str, dict[str, Any]] = {401: {"content": _HTML, "description": "Name and password do not fit."}}
ELSEWHERE: dict[int | str, dict[str, Any]] = {502: {"content": _HTML, "description": "The provider cannot be trusted."}}
