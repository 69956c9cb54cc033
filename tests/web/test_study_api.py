"""An experiment on help over the API: what is told, when, and what never."""

from __future__ import annotations

import json
from typing import Any

from conftest import Browser, Office
from helped import ARMS, SECRET, TEXT, helped_items, helped_task, mark

STARTED = "2026-11-23T10:00:00.123Z"
PATHS = ("/", "/me", "/tasks/study/judge", "/tasks/study/guidelines", "/api/tasks/study/progress")


def open_study(office: Office, items: int = 3, **settings: Any) -> None:
    task = helped_task(**settings)
    office.site.desk.add_task(task)
    office.site.desk.add_items(task, helped_items(items))


def answer(browser: Browser, assignment: str, marks: list[Any], **more: Any) -> dict[str, Any]:
    key = f"{'b' if 'followed' in more else 'a'}-{assignment}"
    body = {"assignment": assignment, "key": key, "answers": {"flaws": marks}, "started": STARTED, **more}
    told: dict[str, Any] = browser.api("/api/tasks/study/submit", body)
    return told


def everything(browser: Browser) -> str:
    """All that the server says to somebody who only looks."""
    said = [browser.get(path).text for path in PATHS]
    said += [browser.post(f"/api/tasks/study/{name}", json={}, headers={"X-CSRF": browser.csrf}).text
             for name in ("next", "back")]  # fmt: skip
    return "\n".join(said)


def test_help_comes_after_the_first_answer_and_only_that_of_the_own_arm(office: Office) -> None:
    open_study(office, help={"arms": ["critiques", "placebo", "none"]})
    browser = office.client("rater")
    items = browser.api("/api/tasks/study/next")["items"]
    shapes = {tuple(sorted(one)) for one in items}
    assert len(shapes) == 1
    assert [one["again"] for one in items] == [None] * 3
    for number, one in enumerate(items):
        browser.api("/api/tasks/study/draft", {"assignment": one["assignment"], "answers": {"flaws": []}})
        before = everything(browser)
        assert (SECRET, "Nowhere", "no help hides nothing")[number] not in before
        told = answer(browser, one["assignment"], [mark("Boro")])
        assert told["state"] == "submitted"
        again = told["second"]["again"]
        assert told["second"]["done"] is False
        assert again["alone"] == {"flaws": [mark("Boro")]} == told["second"]["answers"]
        quotes = [claim["quote"] for claim in again["claims"]]
        assert quotes == [["Boro is blue", "Alba is red", "green"], ["Nowhere"], []][number]
        everywhere = before + everything(browser) + json.dumps(told)
        assert not [one for one in (*ARMS[1:], '"arm', '"probability"', '"artifact"') if one in everywhere]
        answer(browser, one["assignment"], [], followed={}, opened=[])
    assert browser.api("/api/tasks/study/next")["judged"] == 3


def test_the_second_look_comes_back_as_it_was_left(office: Office) -> None:
    open_study(office, help={"arms": ["placebo", "critiques"]})
    browser = office.client("rater")
    [_, one, *_] = browser.api("/api/tasks/study/next")["items"]
    first = answer(browser, one["assignment"], [mark("Boro")])
    assert answer(browser, one["assignment"], [mark("Boro")]) == first, "as if the answer had been lost"
    draft = {"answers": {"flaws": [mark("green")]}, "followed": {"0": None, "1": True}, "opened": [1]}
    browser.api("/api/tasks/study/draft", {"assignment": one["assignment"], **draft})
    back = next(
        each for each in office.client("rater").api("/api/tasks/study/next")["items"]
        if each["assignment"] == one["assignment"]
    )  # fmt: skip
    assert (back["answers"], back["again"]["followed"], back["again"]["opened"]) == tuple(draft.values())
    told = answer(browser, one["assignment"], [], followed={"1": False}, opened=[0, 1])
    assert (told["state"], told["second"]) == ("submitted", None)
    undone = browser.api("/api/tasks/study/back")
    assert (undone["done"], undone["again"]["followed"], undone["again"]["alone"]) == (
        True, {"1": False}, {"flaws": [mark("Boro")]},
    )  # fmt: skip


def test_places_of_claims_count_code_points_and_others_have_none(office: Office) -> None:
    open_study(office, help={"arms": ["placebo", "critiques"]})
    browser = office.client("rater")
    items = browser.api("/api/tasks/study/next")["items"]
    places = []
    for one in items[:2]:
        for claim in answer(browser, one["assignment"], [])["second"]["again"]["claims"]:
            places.append(None if claim["start"] is None else TEXT[claim["start"] : claim["end"]] == claim["quote"])
    assert places == [None, True, True, True]


def test_answers_to_the_wrong_look_or_claim_are_refused_in_words(office: Office) -> None:
    open_study(office, help={"arms": ["critiques", "placebo"]})
    browser = office.client("rater")
    [one, *_] = browser.api("/api/tasks/study/next")["items"]
    body = {"assignment": one["assignment"], "key": "a-key-of-mine", "answers": {"flaws": []}, "started": STARTED}
    for more, status, why in (
        ({"followed": {}}, 400, "before it was answered without"),
        ({"followed": {"x": True}}, 422, "followed"),
        ({"followed": {"0": "yes"}}, 422, "followed"),
        ({"opened": [-1]}, 422, "opened"),
    ):
        told = browser.post("/api/tasks/study/submit", json=body | more, headers={"X-CSRF": browser.csrf})
        assert (told.status_code, why in told.json()["error"]) == (status, True), told.text
    answer(browser, one["assignment"], [])
    for more, why in (({}, "stays as it was"), ({"followed": {"7": True}}, "no claim 7")):
        told = browser.post("/api/tasks/study/submit", json=body | more, headers={"X-CSRF": browser.csrf})
        assert (told.status_code, why in told.json()["error"]) == (400, True), told.text
    someone = office.client("researcher")
    told = someone.post("/api/tasks/study/submit", json=body | {"followed": {}}, headers={"X-CSRF": someone.csrf})
    assert "not in your hands" in told.json()["error"]
