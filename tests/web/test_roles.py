"""Every route with every role: who may, may; who may not, gets nothing."""

from __future__ import annotations

import pytest
from conftest import Office

from kilter.web import create_app

EVERYBODY = {"owner", "researcher", "rater", "auditor"}
JUDGING = {"owner", "researcher", "rater"}
READING = {"owner", "researcher", "auditor"}
ALLOWED: dict[tuple[str, str], set[str]] = {
    ("GET", "/"): EVERYBODY,
    ("GET", "/me"): EVERYBODY,
    ("GET", "/me/export"): EVERYBODY,
    ("POST", "/me/password"): EVERYBODY,
    ("POST", "/me/delete"): EVERYBODY,
    ("GET", "/api/session"): EVERYBODY,
    ("POST", "/sign-out"): EVERYBODY,
    ("GET", "/tasks/{task}"): READING,
    ("POST", "/tasks/{task}/open"): {"owner", "researcher"},
    ("GET", "/tasks/{task}/quality"): READING,
    ("GET", "/tasks/{task}/raters/{judge}"): READING,
    ("GET", "/tasks/{task}/disagreements"): READING,
    ("GET", "/api/tasks/{task}/figures"): READING,
    ("POST", "/api/tasks/{task}/adjudicate"): {"owner", "researcher"},
    ("POST", "/tasks/{task}/flags/{artifact}"): {"owner", "researcher"},
    ("GET", "/api/me/figures"): EVERYBODY,
    ("GET", "/tasks/{task}/judge"): JUDGING,
    ("GET", "/tasks/{task}/guidelines"): JUDGING,
    ("POST", "/api/tasks/{task}/next"): JUDGING,
    ("POST", "/api/tasks/{task}/submit"): JUDGING,
    ("POST", "/api/tasks/{task}/aside"): JUDGING,
    ("POST", "/api/tasks/{task}/draft"): JUDGING,
    ("POST", "/api/tasks/{task}/back"): JUDGING,
    ("GET", "/api/tasks/{task}/progress"): JUDGING,
    ("GET", "/studies"): READING,
    ("GET", "/studies/new"): {"owner", "researcher"},
    ("GET", "/studies/{study}/report"): READING,
    ("POST", "/api/studies/design"): {"owner", "researcher"},
    ("GET", "/people"): {"owner", "researcher"},
    ("POST", "/people/invite"): {"owner", "researcher"},
    ("POST", "/people/{person}/change"): {"owner"},
    ("POST", "/people/{person}/remove"): {"owner"},
}
OPEN = {("GET", "/sign-in"), ("POST", "/sign-in"), ("GET", "/join/{token}"), ("POST", "/join/{token}")}
BODIES = {
    "submit": {"assignment": "a" * 32, "key": "k" * 12, "answers": {}, "started": "2026-11-23T10:00:00Z"},
    "aside": {
        "assignment": "a" * 32, "key": "k" * 12, "state": "skipped", "reason": "x", "started": "2026-11-23T10:00:00Z",
    },
    "draft": {"assignment": "a" * 32, "answers": {}},
    "adjudicate": {
        "artifact": "a" * 64, "key": "k" * 12, "answers": {"better": 0}, "started": "2026-11-23T10:00:00Z",
    },
}  # fmt: skip
FORMS = {
    "/people/invite": {"role": "rater"},
    "/people/{person}/change": {"role": "rater"},
    "/me/password": {"password": "x"},
    "/tasks/{task}/open": {"value": "true"},
    "/tasks/{task}/flags/{artifact}": {"ruling": "retired"},
}  # fmt: skip


def routes(office: Office) -> set[tuple[str, str]]:
    paths = create_app(office.site).openapi()["paths"]
    return {(method.upper(), path) for path, methods in paths.items() for method in methods}


def ask(office: Office, name: str | None, method: str, path: str) -> int:
    browser = office.client(name)
    word = "" if name is None else browser.csrf
    url = path.format(task="helpful", person="0" * 32, token="none", artifact="a" * 64, judge="people/a", study="none")
    if method == "GET":
        return browser.get(url).status_code
    if path.startswith("/api/"):
        body = BODIES.get(path.rpartition("/")[2], {})
        return browser.post(url, json=body, headers={"X-CSRF": word}).status_code
    return browser.post(url, data={"csrf": word, **FORMS.get(path, {})}).status_code


def test_the_table_names_every_route(office: Office) -> None:
    assert routes(office) == set(ALLOWED) | OPEN


@pytest.mark.parametrize(("method", "path"), sorted(ALLOWED))
def test_only_who_may_gets_in(office: Office, method: str, path: str) -> None:
    for role in sorted(EVERYBODY):
        status = ask(office, role, method, path)
        if role in ALLOWED[method, path]:
            assert status not in (401, 403), (role, status)
            assert status < 500
        else:
            assert status == 403, (role, status)
    assert ask(office, None, method, path) in (401, 303), "nobody"


def test_a_rater_reaches_only_the_tasks_that_are_theirs(office: Office) -> None:
    office.add("elsewhere", "rater", ["another"])
    for (method, path), roles in ALLOWED.items():
        if "{task}" in path and "rater" in roles:
            assert ask(office, "elsewhere", method, path) == 403, path
    assert "Which helps more?" not in office.client("elsewhere").get("/").text


def test_nobody_reaches_another_raters_work(office: Office) -> None:
    office.add("other", "rater")
    [mine, *_] = office.client("rater").api("/api/tasks/helpful/next")["items"]
    body = {
        "assignment": mine["assignment"],
        "key": "k" * 12,
        "answers": {"better": 0},
        "started": "2026-11-23T10:00:00Z",
    }
    other = office.client("other")
    for path, sent in (("submit", body), ("draft", {"assignment": mine["assignment"], "answers": {}})):
        answer = other.post(f"/api/tasks/helpful/{path}", json=sent, headers={"X-CSRF": other.csrf})
        assert answer.status_code == 400
    assert office.site.desk.record.judgments() == []
