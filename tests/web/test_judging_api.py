"""What the judging page is told, and what it is never told."""

from __future__ import annotations

import json

from conftest import Office

from kilter.errors import StorageError
from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Desk


def submission(assignment: str, answer: object, key: str = "") -> dict[str, object]:
    return {
        "assignment": assignment, "key": key or f"key-{assignment}", "answers": {"better": answer},
        "started": "2026-11-23T10:00:00.123Z", "active_ms": {"better": 1200},
    }  # fmt: skip


def test_items_come_prefetched_and_are_submitted(office: Office) -> None:
    browser = office.client("rater")
    batch = browser.api("/api/tasks/helpful/next")
    assert len(batch["items"]) == 4
    for one in batch["items"]:
        good = next(place for place, html in enumerate(one["responses"]) if "good" in html)
        assert browser.api("/api/tasks/helpful/submit", submission(one["assignment"], good))["state"] == "submitted"
    [judgment, *_] = office.site.desk.record.judgments()
    assert (judgment.value, judgment.active_ms, judgment.principal) == (0, 1200, "human")
    assert office.client("rater").api("/api/tasks/helpful/next")["judged"] == 4
    assert len(office.site.desk.record.judgments()) == 4


def test_what_a_judge_must_not_see_stays_on_the_server(office: Office) -> None:
    hidden = {
        "explanation": "SECRET explanation",
        "meta": {"models": ["SECRET-a", "SECRET-b"]},
        "answers": {"better": 0},
    }
    gold = [
        read_item(
            {"prompt": f"p{n}", "responses": [f"g{n}", f"b{n}"], "use": "gold", "stratum": "SECRET", **hidden}, "x"
        )
        for n in range(40)
    ]
    task = office.task.model_copy(
        update={"name": "checked", "checks": office.task.checks.model_copy(update={"gold": 0.5})}
    )
    office.site.desk.add_task(task)
    office.site.desk.add_items(task, gold)
    office.site.desk.add_items(task, [read_item({"prompt": "w", "responses": ["x", "y"], "meta": hidden["meta"]}, "x")])
    browser = office.client("rater")
    shapes = set()
    for _ in range(10):
        told = browser.api("/api/tasks/checked/next")
        text = json.dumps(told)
        assert "SECRET" not in text
        assert not {"sides", "use", "gold", "meta", "artifact", "seed"} & {key for one in told["items"] for key in one}
        shapes |= {tuple(sorted((key, type(value).__name__) for key, value in one.items())) for one in told["items"]}
        for one in told["items"]:
            answer = browser.api("/api/tasks/checked/submit", submission(one["assignment"], 0))
            assert answer == {"state": "submitted", "right": None, "explanation": "", "known": [], "second": None}
    assert len(shapes) == 1, "a gold item looks like any other"


def test_model_output_cannot_bring_markup(office: Office) -> None:
    evil = "<script>alert(1)</script> <img src=x onerror=alert(1)> ![p](http://x/y.png) [l](javascript:alert(1)) <b>"
    office.site.desk.add_items(
        office.task, [read_item({"prompt": evil, "responses": [evil, "fine"], "priority": 9}, "x")]
    )
    told = json.dumps(office.client("rater").api("/api/tasks/helpful/next")["items"][0])
    for bad in ("<script", "<img", "<b>", "<a "):
        assert bad not in told
    assert "&lt;script&gt;" in told


def test_undo_gives_the_last_one_back_with_its_answer(office: Office) -> None:
    browser = office.client("rater")
    items = browser.api("/api/tasks/helpful/next")["items"]
    for one in items[:2]:
        browser.api("/api/tasks/helpful/submit", submission(one["assignment"], 1))
    back = browser.api("/api/tasks/helpful/back")
    assert (back["assignment"], back["answers"], back["done"]) == (items[1]["assignment"], {"better": 1}, True)
    assert back["responses"] == items[1]["responses"], "the sides stay as they were"
    further = browser.api("/api/tasks/helpful/back", {"before": back["assignment"]})
    assert further["assignment"] == items[0]["assignment"]
    browser.api("/api/tasks/helpful/submit", submission(back["assignment"], "tie", "another-key"))
    assert len(office.site.desk.results("helpful")) == 2


def test_requests_without_the_word_or_from_elsewhere_are_refused(office: Office) -> None:
    browser = office.client("rater")
    assert browser.post("/api/tasks/helpful/next", json={}).status_code == 403
    for headers in ({"Origin": "https://evil.example"}, {"Sec-Fetch-Site": "cross-site"}):
        answer = browser.post("/api/tasks/helpful/next", json={}, headers={"X-CSRF": browser.csrf, **headers})
        assert answer.status_code == 403
    assert browser.post("/sign-out", data={}).status_code == 403


def test_every_answer_carries_the_headers(office: Office) -> None:
    for path in ("/", "/static/judge.js", "/api/session", "/nowhere"):
        headers = office.client("rater").get(path).headers
        assert "script-src 'self'" in headers["content-security-policy"]
        assert headers["x-content-type-options"] == "nosniff"


HOSTILE = (
    "NaN", "-Infinity", "1e999", '"\\ud800"', '{"\\udfff": 1}', '"\\u0000"', "[" * 60 + "]" * 60, "[" * 900 + "]" * 900,
    '{"a":' * 400 + "1" + "}" * 400, "1" * 5000, "[[[[NaN]]]]", "null", "[]", "{}", "true", '"\\ud83d\\ude00"',
)  # fmt: skip


def test_answers_that_no_page_sends_are_no_fault_and_stay_out(office: Office) -> None:
    questions = [
        {"type": "text", "name": "words"},
        {"type": "flaws", "name": "marks"},
        {"type": "label", "name": "kind", "labels": ["a", "b"], "several": True},
        {"type": "ranking", "name": "order"},
        {"type": "rating", "name": "good"},
    ]
    task = Task.model_validate({"name": "open", "title": "Open", "questions": questions})
    office.site.desk.add_task(task)
    office.site.desk.add_items(task, [read_item({"prompt": "w", "responses": ["x", "y"]}, "x")])
    browser = office.client("rater")
    [one] = browser.api("/api/tasks/open/next")["items"]
    headers = {"X-CSRF": browser.csrf, "Content-Type": "application/json"}
    right = {"words": '"w"', "marks": "[]", "kind": "[]", "order": "[0, 1]", "good": '{"overall": 3}'}
    for name in right:
        for raw in HOSTILE:
            answers = ", ".join(f'"{key}": {raw if key == name else value}' for key, value in right.items())
            sent = f'"assignment": "{one["assignment"]}", "answers": {{{answers}}}'
            done = browser.post("/api/tasks/open/draft", content=f"{{{sent}}}", headers=headers)
            assert done.status_code in (204, 400, 422), (name, raw[:20], done.text)
            assert browser.post("/api/tasks/open/next", json={}, headers=headers).status_code == 200, (name, raw[:20])
            rest = f'"key": "key-{name}", "started": "2026-11-23T10:00:00Z"'
            done = browser.post("/api/tasks/open/submit", content=f"{{{sent}, {rest}}}", headers=headers)
            assert done.status_code in (200, 400, 422), (name, raw[:20], done.text)
    assert office.site.desk.record.verify().ok


def test_reasons_and_words_that_no_page_sends_are_no_fault(office: Office) -> None:
    browser = office.client("rater")
    [one, *_] = browser.api("/api/tasks/helpful/next")["items"]
    body = {**submission(one["assignment"], 0), "state": "skipped", "reason": "a\x00b"}
    aside = {key: body[key] for key in ("assignment", "key", "state", "reason", "started")}
    assert browser.post("/api/tasks/helpful/aside", json=aside, headers={"X-CSRF": browser.csrf}).status_code == 422
    strange = browser.post("/api/tasks/helpful/next", json={}, headers=[(b"X-CSRF", b"\xe9\xff")])
    assert strange.status_code == 403
    assert browser.post("/sign-out", data={"csrf": "é"}).status_code == 403
    assert browser.post("/sign-in", data={"name": "a\x00b", "password": "x"}).status_code == 401


def test_a_request_says_how_long_it_is(office: Office) -> None:
    browser = office.client("rater")
    headers = {"X-CSRF": browser.csrf}
    chunked = browser.post("/api/tasks/helpful/next", content=iter([b"{", b"}"]), headers=headers)
    assert chunked.status_code == 411
    long = browser.post("/api/tasks/helpful/next", content=b" " * (2 << 20) + b"{}", headers=headers)
    assert long.status_code == 413
    odd = browser.post("/api/tasks/helpful/next", json={}, headers={**headers, "Content-Length": "many"})
    assert odd.status_code == 411


def test_nonsense_is_told_in_words(office: Office) -> None:
    browser = office.client("rater")
    for body in (
        {"assignment": 3},
        {**submission("a" * 32, 0), "more": 1},
        {**submission("a" * 32, 0), "started": "now"},
    ):
        answer = browser.post("/api/tasks/helpful/submit", json=body, headers={"X-CSRF": browser.csrf})
        assert answer.status_code == 422
        assert answer.json()["error"]
    unknown = browser.post("/api/tasks/nothing/next", json={}, headers={"X-CSRF": browser.csrf})
    assert unknown.status_code == 400
    assert "There is no task 'nothing'" in unknown.json()["error"]


def test_what_the_database_cannot_keep_now_is_to_be_sent_again(office: Office, monkeypatch) -> None:
    browser = office.client("rater")
    [one, *_] = browser.api("/api/tasks/helpful/next")["items"]

    def locked(*_: object) -> None:
        raise StorageError("Another process has been writing for more than 60 seconds.")

    with monkeypatch.context() as broken:
        broken.setattr(Desk, "submit", locked)
        sent = {"json": submission(one["assignment"], 0), "headers": {"X-CSRF": browser.csrf}}
        answer = browser.post("/api/tasks/helpful/submit", **sent)
    assert (answer.status_code, "writing" in answer.json()["error"]) == (503, True)
    assert browser.api("/api/tasks/helpful/submit", submission(one["assignment"], 0))["state"] == "submitted"
