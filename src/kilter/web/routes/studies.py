"""Experiments on help: those of the workspace, their reports, and a page to design one; none is run from here."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import HTMLResponse
from pydantic import Field

from kilter.feedback.accounts import Session
from kilter.files import read_text
from kilter.oversight.assistance import ARMS
from kilter.oversight.shelf import Shelved, report_in, studies_in
from kilter.oversight.study import (
    ModelRatersSettings,
    PassageCriticSettings,
    PeopleSettings,
    SimulatedRatersSettings,
    Study,
    SurpriseCriticSettings,
)
from kilter.settings import Settings
from kilter.testbeds import TESTBEDS
from kilter.web import pages
from kilter.web.described import API, PAGES
from kilter.web.designing import Designed, designed
from kilter.web.routes.judging import Body, TaskName
from kilter.web.routes.tasks import Reader
from kilter.web.security import AtSite, Changing, Refused, require
from kilter.web.site import Site

A_MINUTE = 120
"""Looks at a design of one person; a page asks when its form has not changed for a moment."""
REPORT_POLICY = (
    "sandbox; default-src 'none'; style-src 'unsafe-inline'; img-src data:; form-action 'none'; base-uri 'none'; "
    "frame-ancestors 'none'"
)
"""A report is one file with its style inside, and nothing in it may run or ask."""

RATERS = (SimulatedRatersSettings, ModelRatersSettings, PeopleSettings)
TRAINED = (PassageCriticSettings, SurpriseCriticSettings)

router = APIRouter(prefix="/studies", tags=["studies"], default_response_class=HTMLResponse, responses=PAGES)
api = APIRouter(tags=["studies"], responses=API)
Researcher = Annotated[Session, Depends(require("researcher"))]
Name = Annotated[str, Field(max_length=40)]
Typed = Annotated[str, Field(max_length=300)]


class Form(Body):
    """The fields of the form as they were typed, by the path of the setting, and the arms beside 'none'."""

    fields: dict[Name, Typed] = Field(default={}, max_length=40)
    arms: list[Name] = Field(default=[], max_length=10)


@router.get("")
def studies_page(request: Request, site: AtSite, session: Reader) -> Response:
    """The studies that were begun in this workspace."""
    found = [] if site.runs is None else [_shown(site, one) for one in studies_in(site.runs)]
    return pages.show(request, "studies.html", session=session, studies=found)


@router.get("/new")
def design_page(request: Request, session: Researcher) -> Response:
    """The form; what comes of it is asked for by `/api/studies/design`."""
    return pages.show(
        request, "design.html", session=session, arms=ARMS, start=Study(name="my-study"),
        testbeds=[(name, f"{name}: {one.help}") for name, one in TESTBEDS.items()],
        with_words=[name for name, one in TESTBEDS.items() if one.words],
        with_views=[name for name, one in TESTBEDS.items() if one.views],
        counts={_default(one, "kind"): _default(one, "count") for one in RATERS},
        thresholds={_default(one, "kind"): _default(one, "threshold") for one in TRAINED},
    )  # fmt: skip


@router.get("/{study}/report")
def report_page(study: TaskName, site: AtSite, session: Reader) -> Response:
    """The report that 'kilter oversee' wrote, as it is, with nothing in it that may run."""
    page = None if site.runs is None else report_in(site.runs, study)
    if page is None:
        raise Refused(404, f"There is no report of a study {study}; 'kilter oversee report {study}' writes one.")
    return HTMLResponse(read_text(page), headers={"Content-Security-Policy": REPORT_POLICY})


@api.post("/api/studies/design")
def look_at_design(body: Form, site: AtSite, session: Changing) -> Designed:
    """What is wrong with a form, or the power, the effort and the file of its study."""
    if not session.person.may("researcher"):
        raise Refused(403, "This is for the researchers of this workspace.")
    if not site.limits.admits(f"design {session.person.id}", A_MINUTE):
        raise Refused(429, "This was asked too often; go on in a minute.")
    return designed(site, session.person.id, body.fields, body.arms)


def _default(settings: type[Settings], name: str) -> Any:
    return settings.model_fields[name].default


def _shown(site: Site, one: Shelved) -> dict[str, Any]:
    shown = {"name": one.name, "study": one.study, "done": one.done, "planned": one.planned, "reported": one.reported}
    is_task = any(task.name == one.name for task, _ in site.desk.tasks())
    if one.study is not None and isinstance(one.study.raters, PeopleSettings) and is_task:
        progress = site.desk.progress(one.name)
        shown |= {"done": progress.judgments, "planned": progress.wanted}
    return shown
