"""Coming in: invitations hold once, passwords are hard to guess, and nothing leads elsewhere."""

from __future__ import annotations

import re

import pytest
from conftest import PASSWORD, Office, key_of
from fastapi.testclient import TestClient
from sqlalchemy import select

from kilter.errors import DataError
from kilter.feedback.work.tables import invitations, people, sessions
from kilter.web import Site, create_app


def test_an_invitation_makes_one_account(office: Office) -> None:
    token = office.site.people.invite("rater")
    browser = office.client()
    assert "rater" in browser.get(f"/join/{token}").text
    done = browser.post(f"/join/{token}", data={"name": "  Ada  Lovelace ", "password": PASSWORD})
    assert (done.status_code, done.headers["location"]) == (303, "/")
    cookie = done.headers["set-cookie"]
    assert "HttpOnly" in cookie
    assert "SameSite=lax" in cookie
    assert "Which helps more?" in browser.get("/").text
    assert office.client().get(f"/join/{token}").status_code == 404
    assert office.client().post(f"/join/{token}", data={"name": "Eve", "password": PASSWORD}).status_code == 400


def test_a_short_password_and_a_taken_name_are_told_and_the_invitation_stays(office: Office) -> None:
    token = office.site.people.invite("rater")
    browser = office.client()
    assert "10 to 200 characters" in browser.post(f"/join/{token}", data={"name": "Ada", "password": "short"}).text
    assert "1 to 80 letters" in browser.post(f"/join/{token}", data={"name": "A\x00da", "password": PASSWORD}).text
    assert "choose another name" in browser.post(f"/join/{token}", data={"name": "owner", "password": PASSWORD}).text
    assert browser.post(f"/join/{token}", data={"name": "Ada", "password": PASSWORD}).status_code == 303


def test_sign_in_goes_where_one_wanted_but_never_elsewhere(office: Office) -> None:
    assert office.client().get("/tasks/helpful/judge").headers["location"] == "/sign-in?to=%2Ftasks%2Fhelpful%2Fjudge"
    for to, lands in (("/me", "/me"), ("https://evil.example", "/"), ("//evil.example", "/"), ("/\\evil", "/")):
        done = office.client().post("/sign-in", data={"name": "rater", "password": PASSWORD, "to": to})
        assert (done.status_code, done.headers["location"]) == (303, lands)


def test_wrong_passwords_lock_the_name_and_the_address(office: Office) -> None:
    browser = office.client()
    for _ in range(8):
        assert browser.post("/sign-in", data={"name": "rater", "password": "wrong password"}).status_code == 401
    assert browser.post("/sign-in", data={"name": "rater", "password": PASSWORD}).status_code == 429
    assert browser.post("/sign-in", data={"name": "owner", "password": PASSWORD}).status_code == 429, "the address"


def test_signing_out_ends_the_session(office: Office) -> None:
    browser = office.client("rater")
    word = key_of(browser.get("/").text)
    assert browser.post("/sign-out", data={"csrf": word}).status_code == 303
    again = office.client()
    again.cookies.set("kilter_session", office.tokens["rater"])
    assert again.get("/").status_code == 303


def test_no_secret_lies_in_the_database(office: Office) -> None:
    token = office.site.people.invite("rater")
    with office.site.desk.record.reading() as connection:
        kept = [str(row) for table in (people, invitations, sessions) for row in connection.execute(select(table))]
    text = "\n".join(kept)
    assert token not in text
    assert PASSWORD not in text
    assert not any(one in text for one in office.tokens.values())
    assert "$argon2id$" in text


def test_who_is_deleted_leaves_judgments_that_name_nobody(office: Office) -> None:
    office.add("Ada Lovelace", "rater")
    browser = office.client("Ada Lovelace")
    one = browser.api("/api/tasks/helpful/next")["items"][0]
    body = {
        "assignment": one["assignment"],
        "key": "k" * 12,
        "answers": {"better": 0},
        "started": "2026-11-23T10:00:00Z",
    }
    browser.api("/api/tasks/helpful/submit", body)
    told = browser.get("/me/export").json()
    assert (told["person"]["name"], len(told["judgments"])) == ("Ada Lovelace", 1)
    word = key_of(browser.get("/me").text)
    assert browser.post("/me/delete", data={"csrf": word}).status_code == 400, "the box was not ticked"
    assert browser.post("/me/delete", data={"csrf": word, "sure": "yes"}).status_code == 303
    assert browser.get("/").status_code == 303
    record = office.site.desk.record
    assert len(record.judgments()) == 1
    assert record.verify().ok
    with record.reading() as connection:
        kept = " ".join(str(row) for row in connection.execute(select(people)))
    assert "Ada" not in kept


def test_the_last_owner_cannot_go(office: Office) -> None:
    owner = next(one for one in office.site.people.all() if one.role == "owner")
    with pytest.raises(DataError, match="only owner"):
        office.site.people.forget(owner.id)
    with pytest.raises(DataError, match="only owner"):
        office.site.people.change(owner.id, "rater")


def test_a_researcher_invites_raters_and_nobody_else(office: Office) -> None:
    browser = office.client("researcher")
    word = key_of(browser.get("/people").text)
    assert "/join/" in browser.post("/people/invite", data={"csrf": word, "role": "rater"}).text
    assert browser.post("/people/invite", data={"csrf": word, "role": "owner"}).status_code == 403


def test_another_role_leaves_a_person_their_tasks(office: Office) -> None:
    office.add("narrow", "rater", ["helpful"])
    browser = office.client("owner")
    page = browser.get("/people").text
    person = next(one for one in office.site.people.all() if one.name == "narrow")
    form = page[page.index(f"/people/{person.id}/change") :].partition("</form>")[0]
    assert "Judges: helpful" in form
    ticked = re.findall(r'name="tasks" value="([^"]+)" checked', form)
    sent = {"csrf": key_of(page), "role": "researcher", "tasks": ticked}
    assert browser.post(f"/people/{person.id}/change", data=sent).status_code == 303
    changed = next(one for one in office.site.people.all() if one.name == "narrow")
    assert (changed.role, changed.tasks) == ("researcher", ("helpful",))


@pytest.mark.parametrize("cut_off", [True, False])
def test_the_site_works_under_a_prefix(office: Office, cut_off: bool) -> None:
    site = Site(office.site.desk, office.site.people, "https://lab.example/kilter")
    browser = TestClient(create_app(site), base_url="https://lab.example", follow_redirects=False)
    start = "" if cut_off else "/kilter"
    answer = browser.get(f"{start}/tasks/helpful/judge")
    assert answer.headers["location"] == "/kilter/sign-in?to=%2Ftasks%2Fhelpful%2Fjudge"
    form = {"name": "rater", "password": PASSWORD, "to": "/me"}
    done = browser.post(f"{start}/sign-in", data=form, headers={"Origin": "https://lab.example"})
    assert done.headers["location"] == "/kilter/me"
    assert "Path=/kilter" in done.headers["set-cookie"]
    assert "Secure" in done.headers["set-cookie"]
    page = browser.get(f"{start}/me", headers={"Cookie": done.headers["set-cookie"].partition(";")[0]}).text
    assert 'href="/kilter/static/kilter.css"' in page
    assert browser.get(f"{start}/static/kilter.css").status_code == 200
