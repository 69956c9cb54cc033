"""What the pages of quality tell whom, and what becomes of a decision."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from conftest import Browser, Office, key_of
from crowd import comparisons

from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Submission

STARTED = "2026-11-23T10:00:00Z"
SECRET = {"models": ["SECRET-a", "SECRET-b"]}


@pytest.fixture(autouse=True)
def patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages wait for their figures, however slow the machine."""
    monkeypatch.setattr("kilter.web.measured.PATIENCE", 60.0)
    monkeypatch.setattr("kilter.web.routes.me.PATIENCE", 60.0)


@pytest.fixture
def judged(office: Office) -> Task:
    """Six items, on each of which two raters said two things; the second of them is called Other."""
    office.add("other", "rater")
    task = office.task.model_copy(
        update={"name": "judged", "overlap": office.task.overlap.model_copy(update={"judges": 2})}
    )
    office.site.desk.add_task(task)
    items = [{"prompt": f"ask {n}", "responses": [f"good {n}", f"bad {n}"], "meta": SECRET} for n in range(6)]
    office.site.desk.add_items(task, [read_item(one, "test") for one in items])
    for name, number in (("rater", 0), ("other", 1)):
        judge(office, task, name, number)
    return task


def judge(office: Office, task: Task, name: str, number: int) -> None:
    """Let somebody prefer the response of this number everywhere."""
    session = office.site.people.session(office.tokens[name])
    assert session is not None
    for one in office.site.desk.next(task, session.person.rater, 50):
        sent = Submission(f"key-{one.id}", {"better": one.sides.index(number)}, STARTED, {"better": 4000})
        office.site.desk.submit(task, session.person.rater, one.id, sent)


def alias(office: Office, name: str) -> str:
    return next(f"people/{one.alias}" for one in office.site.people.all() if one.name == name)


def told(browser: Browser) -> dict[str, Any]:
    """What the page of disagreements gives its script."""
    text = browser.get("/tasks/judged/disagreements").text
    found = re.search(r'id="page">(.*?)</script>', text, re.S)
    assert found is not None
    tree: dict[str, Any] = json.loads(found.group(1))
    return tree


def test_the_page_says_how_far_raters_agree_and_as_of_when(office: Office, judged: Task) -> None:
    text = office.client("researcher").get("/tasks/judged/quality").text
    assert "As of 12 submissions" in text
    assert "2 raters, 6 items, 12 judgments of work." in text
    assert re.search(r"not defined<sup>\d", text), "accuracy on gold that there is none of"
    assert "no gold item was judged" in text
    assert "0 of 6" in text, "all said the same"


def test_a_task_that_nobody_judged_says_so(office: Office) -> None:
    for page in ("quality", "disagreements"):
        answer = office.client("auditor").get(f"/tasks/helpful/{page}")
        assert answer.status_code == 200
        assert "Nobody has judged an item" in answer.text


def test_only_researchers_see_names(office: Office, judged: Task) -> None:
    name = alias(office, "other")
    for page in ("quality", "disagreements", f"raters/{name}"):
        shown = office.client("researcher").get(f"/tasks/judged/{page}").text
        assert re.search(r"\bother\b", re.sub(r"Same answer as others?|the others'?", "", shown)), page
    for page in ("quality", f"raters/{name}"):
        hidden = office.client("auditor").get(f"/tasks/judged/{page}").text
        assert not re.search(r">\s*other\b", hidden), page
        assert name in hidden
    assert "other" not in {one["name"] for each in told(office.client("auditor"))["items"]
                           for question in each["questions"] for one in question["said"]}  # fmt: skip


def test_the_page_of_one_rater(office: Office, judged: Task) -> None:
    browser = office.client("researcher")
    assert "Median time" in browser.get(f"/tasks/judged/raters/{alias(office, 'other')}").text
    unknown = browser.get("/tasks/judged/raters/people/nobody")
    assert unknown.status_code == 400
    assert "Nobody called" in unknown.text


def test_a_page_does_not_wait_and_says_that_it_computes(
    office: Office, judged: Task, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("kilter.web.measured.PATIENCE", 0.0)
    browser = office.client("auditor")
    turn = office.site.figures._turns["slow"]
    with turn:  # another computation is under way
        for page in ("quality", f"raters/{alias(office, 'other')}"):
            answer = browser.get(f"/tasks/judged/{page}")
            assert "being computed" in answer.text
            assert "waiting.js" in answer.text
        assert browser.get("/api/tasks/judged/figures").json() == {"stamp": None}
        batch = office.client("rater").api("/api/tasks/helpful/next")
        assert len(batch["items"]) == 4, "who judges is not held up"
    monkeypatch.setattr("kilter.web.measured.PATIENCE", 60.0)
    assert "As of 12 submissions" in browser.get("/tasks/judged/quality").text
    stamp = office.site.desk.stamp("judged")
    assert browser.get("/api/tasks/judged/figures").json() == {"stamp": stamp.changed}


def test_older_figures_are_shown_as_older(office: Office, judged: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    browser = office.client("auditor")
    browser.get("/tasks/judged/quality")
    office.site.desk.add_items(judged, comparisons(1))
    judge(office, judged, "rater", 0)
    monkeypatch.setattr("kilter.web.measured.PATIENCE", 0.0)
    with office.site.figures._turns["slow"]:
        text = browser.get("/tasks/judged/quality").text
        assert "as of 12 submissions; newer ones are being computed" in text
        assert "Agreement" in text
    monkeypatch.setattr("kilter.web.measured.PATIENCE", 60.0)
    assert "As of 13 submissions" in browser.get("/tasks/judged/quality").text


def test_what_raters_said_is_told_by_where_responses_stand_on_this_page(office: Office, judged: Task) -> None:
    places = set()
    for name in ("researcher", "auditor"):
        for one in told(office.client(name))["items"]:
            good = next(place for place, html in enumerate(one["shown"]["responses"]) if "good" in html)
            said = {answer["judge"]: answer["said"] for answer in one["questions"][0]["said"]}
            sides = ["Left", "Right"]
            assert said == {alias(office, "rater"): sides[good], alias(office, "other"): sides[1 - good]}
            places.add(good)
    assert places == {0, 1}, "sides are dealt"


def test_the_page_tells_neither_sides_nor_hidden_parts(office: Office, judged: Task) -> None:
    for name in ("owner", "researcher", "auditor"):
        page = told(office.client(name))
        text = json.dumps(page["items"])
        assert "SECRET" not in text
        assert not {"sides", "meta", "seed", "stratum", "item"} & set(page["items"][0])


def decide(browser: Browser, one: dict[str, Any], answer: object, key: str = "key-of-decision") -> dict[str, Any]:
    body = {"artifact": one["artifact"], "key": key, "answers": {"better": answer}, "started": STARTED}
    answered: dict[str, Any] = browser.api("/api/tasks/judged/adjudicate", body)
    return answered


def test_a_researcher_decides_and_it_is_shown_and_counts(office: Office, judged: Task) -> None:
    browser = office.client("researcher")
    one = told(browser)["items"][0]
    bad = next(place for place, html in enumerate(one["shown"]["responses"]) if "bad" in html)
    assert decide(browser, one, {"choice": bad}) == {"decided": {"better": ["Left", "Right"][bad]}}
    [found] = office.site.desk.adjudications("judged")
    assert (found.value, found.judge) == (1, alias(office, "researcher"))
    again = next(item for item in told(browser)["items"] if item["artifact"] == one["artifact"])
    assert (again["open"], again["answers"]) == (False, {"better": {"choice": bad}})
    assert told(browser)["items"][-1]["artifact"] == one["artifact"], "what is decided comes last"
    seen_by_auditor = told(office.client("auditor"))["items"][-1]["questions"][0]["decided"]
    assert (seen_by_auditor["judge"], seen_by_auditor["name"]) == (alias(office, "researcher"), "")
    assert "1 of them decided" in browser.get("/tasks/judged/disagreements").text


def test_an_auditor_reads_only(office: Office, judged: Task) -> None:
    text = office.client("auditor").get("/tasks/judged/disagreements").text
    assert 'class="decide"' not in text
    assert 'class="decide"' in office.client("owner").get("/tasks/judged/disagreements").text


def test_one_question_alone_and_pages(office: Office, judged: Task) -> None:
    browser = office.client("researcher")
    assert len(told(browser)["items"]) == 6
    assert "Item 1" not in browser.get("/tasks/judged/disagreements?page=9").text
    assert "Item 1" not in browser.get("/tasks/judged/disagreements?question=worse").text


def test_flagged_items_are_returned_or_retired(office: Office) -> None:
    rater = office.client("rater")
    for number, one in enumerate(rater.api("/api/tasks/helpful/next")["items"][:2]):
        aside = {"assignment": one["assignment"], "key": f"key-flag-{number}", "state": "flagged",
                 "reason": f"spam {number}", "started": STARTED}  # fmt: skip
        rater.api("/api/tasks/helpful/aside", aside)
    browser = office.client("researcher")
    assert "wait for a decision: 2" in browser.get("/tasks/helpful").text
    text = browser.get("/tasks/helpful/disagreements").text
    assert "spam 0" in text
    for one, ruling in zip(office.site.desk.flags("helpful"), ("returned", "retired"), strict=True):
        form = {"csrf": key_of(text), "ruling": ruling}
        assert browser.post(f"/tasks/helpful/flags/{one.artifact}", data=form).status_code == 303
    assert [one.retired for one in office.site.desk.flags("helpful")] == [True]
    assert "wait for a decision" not in browser.get("/tasks/helpful").text
    form = {"csrf": "wrong", "ruling": "returned"}
    assert browser.post(f"/tasks/helpful/flags/{'a' * 64}", data=form).status_code == 403
    assert 'name="ruling"' in browser.get("/tasks/helpful/disagreements").text
    assert 'name="ruling"' not in office.client("auditor").get("/tasks/helpful/disagreements").text


def test_a_raters_own_page_has_their_numbers_and_nobody_elses(office: Office, judged: Task) -> None:
    text = office.client("rater").get("/me").text
    assert "Your work: Which helps more?" in text
    assert "4.0 s" in text
    assert "shown once others have judged 20 of your items" in text
    assert "shown after every 50 items" in text
    for hidden in (alias(office, "other"), ">other<", "SECRET", "gold"):
        assert hidden not in text
    for kept in ("/me/export", "/me/delete", "/me/password"):
        assert kept in text


def test_agreement_with_others_is_shown_from_twenty_items_on(office: Office) -> None:
    office.add("other", "rater")
    judges = office.task.overlap.model_copy(update={"judges": 2})
    task = office.task.model_copy(update={"name": "many", "overlap": judges})
    office.site.desk.add_task(task)
    office.site.desk.add_items(task, comparisons(20))
    for name, number in (("rater", 0), ("other", 0)):
        judge(office, task, name, number)
    assert "shown once others" not in office.client("rater").get("/me").text


def test_my_page_waits_for_nothing(office: Office, judged: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("kilter.web.routes.me.PATIENCE", 0.0)
    browser = office.client("rater")
    with office.site.figures._turns["slow"]:
        assert "being computed" in browser.get("/me").text
        assert browser.get("/api/me/figures").json() == {"stamp": 0}
    monkeypatch.setattr("kilter.web.routes.me.PATIENCE", 60.0)
    assert "Median time" in browser.get("/me").text
    assert browser.get("/api/me/figures").json() == {"stamp": 1}


def test_training_tells_the_right_answer_by_its_place(office: Office) -> None:
    known = {"use": "training", "answers": {"better": 0}, "explanation": "Because."}
    office.site.desk.add_items(office.task, [
        read_item({"prompt": f"learn {n}", "responses": ["good", "bad"], **known}, "x") for n in range(6)
    ])  # fmt: skip
    browser, places = office.client("rater"), set()
    for _ in range(6):
        one = browser.api("/api/tasks/helpful/next")["items"][0]
        good = next(place for place, html in enumerate(one["responses"]) if "good" in html)
        body = {"assignment": one["assignment"], "key": f"k-{one['assignment']}", "answers": {"better": 0},
                "started": STARTED}  # fmt: skip
        taken = browser.api("/api/tasks/helpful/submit", body)
        answer = {"ask": "Which response is better?", "answer": ["Left", "Right"][good], "right": good == 0}
        assert taken["known"] == [{**answer, "place": good}]
        places.add(good)
