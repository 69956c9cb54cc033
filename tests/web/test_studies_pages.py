"""The pages of studies: what lies in the workspace, reports that can do nothing, and a form that is asked of seldom."""

from __future__ import annotations

from pathlib import Path

import pytest
from conftest import Office

from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Submission
from kilter.oversight.study import PeopleSettings, Study
from kilter.web.routes import studies


def begin(office: Office, study: Study, trials: int = 0, report: str | None = None) -> Path:
    """What 'kilter oversee run' leaves in the workspace."""
    assert office.site.runs is not None
    folder = office.site.runs / study.name
    folder.mkdir()
    (folder / "study.json").write_text(study.model_dump_json())
    (folder / "trials.jsonl").write_text("{}\n" * trials)
    if report is not None:
        (folder / "report.html").write_text(report)
    return folder


def test_the_studies_of_the_workspace(office: Office) -> None:
    assert "No study was begun" in office.client("owner").get("/studies").text
    begin(office, Study(name="half-done"), trials=300)
    begin(office, Study(name="done"), trials=1200, report="<p>all of it</p>")
    (begin(office, Study(name="odd")) / "study.json").write_text("[]")
    for role in ("owner", "researcher", "auditor"):
        page = office.client(role).get("/studies").text
        assert "300 of 1,200 trials" in page
        assert "1,200 of 1,200 trials" in page
        assert "20 simulated raters" in page
        assert "cannot be read" in page
        assert page.count('/report"') == 1
        assert ("/studies/new" in page) == (role != "auditor")
        assert "/studies" in office.client(role).get("/").text
    assert "/studies" not in office.client("rater").get("/").text


def test_trials_of_people_are_counted_on_the_record(office: Office) -> None:
    begin(office, Study(name="people", raters=PeopleSettings(count=2)))
    task = Task.model_validate({"name": "people", "title": "x", "questions": [{"type": "flaws", "name": "flaws"}],
                                "overlap": {"judges": 2}})  # fmt: skip
    office.site.desk.add_task(task)
    office.site.desk.add_items(task, [read_item({"prompt": f"{n}?", "responses": ["so"]}, "x") for n in range(3)])
    session = office.site.people.session(office.tokens["rater"])
    assert session is not None
    [given] = office.site.desk.next(task, session.person.rater)
    sent = Submission("key-of-one", {"flaws": []}, "2026-11-23T10:00:00Z", {})
    office.site.desk.submit(task, session.person.rater, given.id, sent)
    assert "1 of 6" in office.client("auditor").get("/studies").text


def test_a_report_is_shown_as_it_is_and_can_do_nothing(office: Office) -> None:
    begin(office, Study(name="done"), report="<title>é</title><script>parent.alert(1)</script>")
    for role in ("owner", "researcher", "auditor"):
        answer = office.client(role).get("/studies/done/report")
        assert "<title>é</title>" in answer.text
        policy = answer.headers["content-security-policy"]
        assert policy.startswith("sandbox; default-src 'none'")
        assert "script-src" not in policy
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert office.client("rater").get("/studies/done/report").status_code == 403


def test_what_is_no_report_of_a_study_is_not_shown(office: Office) -> None:
    folder = begin(office, Study(name="begun"))
    assert office.site.runs is not None
    (office.site.runs / "report.html").write_text("not of a study")
    outside = office.site.runs.parent / "outside.html"
    outside.write_text("outside")
    owner = office.client("owner")
    for name in ("begun", "nothing", ".", "..", "%2e%2e", "begun%2f.."):
        answer = owner.get(f"/studies/{name}/report")
        assert answer.status_code in (404, 422), name
    (folder / "report.html").symlink_to(outside)
    assert owner.get("/studies/begun/report").status_code == 404


def test_the_form_is_asked_of_by_whoever_may_and_seldom(office: Office, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(studies, "A_MINUTE", 3)
    body = {"fields": {"name": "x", "cases.n": "none"}, "arms": ["oracle"]}
    browser = office.client("researcher")
    for _ in range(3):
        told = browser.api("/api/studies/design", body)
        assert (told["state"], list(told["problems"])) == ("wrong", ["cases.n"])
    answer = browser.post("/api/studies/design", json=body, headers={"X-CSRF": browser.csrf})
    assert answer.status_code == 429
    assert office.client("owner").api("/api/studies/design", body)["state"] == "wrong", "others go on"
    assert browser.post("/api/studies/design", json=body).status_code == 403, "without the session's word"


def test_nothing_is_written_or_run_by_the_form(office: Office) -> None:
    assert office.site.runs is not None
    before = office.site.desk.record.size()
    fields = {"name": "x", "cases.testbed": "reasoning", "critic.kind": "model", "critic.model": "/etc/passwd"}
    told = office.client("owner").api("/api/studies/design", {"fields": fields, "arms": ["critiques"]})
    assert "critic: {kind: model, model: /etc/passwd}" in told["file"]
    assert list(office.site.runs.iterdir()) == []
    assert office.site.desk.record.size() == before
