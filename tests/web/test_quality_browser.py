"""The pages of quality in a real Chromium: decided by keys, loaded anew by themselves, small and dark."""

from __future__ import annotations

from typing import Any

import pytest
from accessible import assert_accessible
from conftest import Office
from playwright.sync_api import Page, TimeoutError, expect
from test_browser import KINDS, Open, address, chromium, open_page, press, pytestmark  # noqa: F401

from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Submission

STARTED = "2026-11-23T10:00:00Z"
FLAW = {"place": 0, "start": 4, "end": 11, "type": "wrong", "severity": "minor", "note": "no"}
SAID: dict[str, tuple[Any, Any]] = {
    "comparison": ({"choice": 0}, "tie"),
    "strength": ({"choice": 0, "strength": 2}, "tie"),
    "ranking": ([[0], [1], [2], [3]], [[3], [2], [1], [0]]),
    "rating": ([{"helpful": 5, "honest": 5}, {"helpful": 2, "honest": 6}], [{"helpful": 1, "honest": 5}] * 2),
    "label": ("toxic", "fine"),
    "labels": (["toxic"], ["rude", "fine"]),
    "flaws": ([FLAW], []),
    "steps": ([1, 1, 1], [-1]),
}
BY_KEYS: dict[str, tuple[list[str], Any]] = {
    "comparison": (["3"], "tie"),
    "strength": (["4"], "tie"),
    "label": (["2"], "fine"),
    "labels": (["1", "3"], ["toxic", "fine"]),
    "rating": (["5", "6", "5", "6"], [{"helpful": 5, "honest": 6}] * 2),
    "steps": (["3", "1"], [1, -1]),
    "flaws": (["n"], 0),
}


def dispute(office: Office, kind: str, count: int = 2) -> None:
    """A task of a kind, each of whose items two raters answered, one otherwise than the other."""
    questions, columns = KINDS[kind]
    task = Task.model_validate(
        {
            "name": kind, "title": kind.title(), "questions": [{"name": "q", **one} for one in questions],
            "order": "given", "overlap": {"judges": 2},
        }
    )  # fmt: skip
    office.site.desk.add_task(task)
    office.site.desk.add_items(task, [read_item({"prompt": f"{kind} {n}?", **columns}, "x") for n in range(count)])
    for name, answer in zip(("rater", "researcher"), SAID[kind], strict=True):
        session = office.site.people.session(office.tokens[name])
        assert session is not None
        for one in office.site.desk.next(task, session.person.rater, 50):
            sent = Submission(f"key-{one.id}", {"q": answer}, STARTED, {"q": 4000})
            office.site.desk.submit(task, session.person.rater, one.id, sent)


def shown(page: Page) -> Page:
    page.wait_for_selector(".contested .turn", timeout=60_000)
    return page


@pytest.mark.parametrize("kind", BY_KEYS)
def test_a_decision_by_keys_alone(office: Office, open_page: Open, kind: str) -> None:  # noqa: F811
    dispute(office, kind)
    page = shown(open_page(f"/tasks/{kind}/disagreements", "owner"))
    cards = page.locator(".contested")
    expect(cards).to_have_count(2)
    cards.first.locator(".decide").focus()
    keys, value = BY_KEYS[kind]
    press(page, "Enter", *keys, "Enter")
    expect(cards.first.locator(".decided-chip")).to_be_visible()
    expect(cards.first.locator(".decision")).not_to_be_empty()
    expect(cards.nth(1).locator(".decide")).to_be_focused()
    [found] = office.site.desk.adjudications(kind)
    assert found.value == value
    assert (found.judgment.active_ms or 0) > 0
    page.reload()
    shown(page)
    expect(cards.nth(1).locator(".decision")).to_have_text(page.locator(".contested .decision").nth(1).inner_text())
    expect(cards.first.locator(".decided-chip")).to_be_hidden()


def test_a_decision_is_left_and_taken_again_with_what_was_said(office: Office, open_page: Open) -> None:  # noqa: F811
    dispute(office, "comparison", 1)
    page = shown(open_page("/tasks/comparison/disagreements", "researcher"))
    page.locator(".decide").click()
    press(page, "3", "Escape")
    expect(page.locator(".deciding")).to_be_hidden()
    assert office.site.desk.adjudications("comparison") == []
    page.locator(".decide").click()
    press(page, "Enter")
    expect(page.locator(".deciding [role=status]")).to_contain_text("Still to answer")
    press(page, "3")
    page.locator(".deciding button.main").click()
    expect(page.locator(".decision")).to_have_text("Equally good")
    page.locator(".decide").click()
    expect(page.locator(".deciding [aria-checked=true]")).to_contain_text("Equally good")
    press(page, "0", "Enter")
    expect(page.locator(".decision")).to_have_text("Both bad")
    [found] = office.site.desk.adjudications("comparison")
    assert (found.value, found.judgment.supersedes is not None) == ("both bad", True)


def test_a_lost_connection_is_told_and_the_answer_stays(office: Office, open_page: Open) -> None:  # noqa: F811
    dispute(office, "comparison", 1)
    page = shown(open_page("/tasks/comparison/disagreements", "researcher"))
    page.locator(".decide").click()
    page.context.set_offline(True)
    press(page, "3", "Enter")
    expect(page.locator(".deciding [role=status]")).to_contain_text("nothing was sent")
    page.context.set_offline(False)
    press(page, "Enter")
    expect(page.locator(".decision")).to_have_text("Equally good")


def test_a_page_that_computes_shows_the_figures_by_itself(office: Office, open_page: Open) -> None:  # noqa: F811
    dispute(office, "comparison")
    with office.site.figures._turns["slow"]:  # as if another computation were under way
        page = open_page("/tasks/comparison/quality", "auditor")
        expect(page.locator("#computing")).to_be_visible()
    expect(page.locator("#agreement")).to_be_visible(timeout=60_000)


def test_older_figures_offer_the_newer_ones(office: Office, open_page: Open) -> None:  # noqa: F811
    dispute(office, "comparison")
    page = open_page("/tasks/comparison/quality", "auditor")
    expect(page.locator("#agreement")).to_be_visible(timeout=60_000)
    artifact = office.site.desk.results("comparison")[0].artifact
    session = office.site.people.session(office.tokens["owner"])
    assert session is not None
    sent = Submission("key-of-owner", {"q": "tie"}, STARTED, {})
    office.site.desk.adjudicate(office.site.desk.task("comparison"), session.person.rater, artifact, sent)
    with office.site.figures._turns["slow"]:
        page.reload()
        expect(page.locator(".older")).to_be_visible()
        expect(page.locator("#newer")).to_be_hidden()
    expect(page.locator("#newer")).to_be_visible(timeout=60_000)
    page.locator("#newer").click()
    expect(page.locator(".older")).to_have_count(0, timeout=60_000)


def test_axe_finds_nothing_serious_and_nothing_is_cut_off(office: Office, open_page: Open) -> None:  # noqa: F811
    for kind in SAID:
        dispute(office, kind)
    rater = office.site.desk.results("label")[0].judge
    looks = [(f"/tasks/{kind}/disagreements", "owner", ".contested .turn") for kind in SAID]
    looks += [(f"/tasks/{kind}/quality", "owner", "#agreement") for kind in ("comparison", "ranking", "flaws")]
    looks += [(f"/tasks/label/raters/{rater}", "auditor", "#numbers"), ("/me", "rater", "dl.figures >> nth=7")]
    for path, who, ready in looks:
        page = open_page(path, who)
        try:
            page.wait_for_selector(ready, timeout=40_000)
        except TimeoutError as late:
            raise AssertionError(f"{path} shows: {page.locator('body').inner_text()[:1000]}") from late
        if path.endswith("/disagreements"):
            page.locator(".decide").first.click()
        assert_accessible(page)
        page.context.close()
