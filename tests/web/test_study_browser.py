"""The second look in a real Chromium: by keys alone, by mouse, cut off and reloaded between the looks, small, dark."""

from __future__ import annotations

from typing import Any

import pytest
from accessible import assert_accessible
from conftest import Office
from helped import ARMS, SECRET, TEXT, claim, claims, helped_task
from playwright.sync_api import Locator, Page, Response, expect
from test_browser import Open, address, chromium, open_page, press, pytestmark, saved, settled  # noqa: F401

from kilter.feedback.tasks import read_item

EVIL = "<img src=x onerror=alert(1)> <b>مرحبا</b>"


def add_study(office: Office, count: int = 2, arms: tuple[str, ...] = ("critiques",), **columns: Any) -> None:
    """The first rater gets the arms in turn."""
    task = helped_task(help={"arms": arms})
    help_ = {"critiques": claims(), "placebo": [claim("Nowhere", at=3)], **columns.pop("help", {})}
    given = {arm: help_[arm] for arm in arms if arm != "none"}
    office.site.desk.add_task(task)
    rows = [{"prompt": f"study {n}?", "responses": [TEXT], "help": given, **columns} for n in range(count)]
    office.site.desk.add_items(task, [read_item(one, "x") for one in rows])


def started(open_page: Open, **options: Any) -> Page:  # noqa: F811
    page = open_page("/tasks/study/judge", **options)
    page.wait_for_selector(".response")
    return page


def look_again(page: Page) -> None:
    """Send the first answer, and wait for the second look."""
    settled(page)
    press(page, "Enter")
    expect(page.locator("#second-look h2")).to_be_focused()
    settled(page)


def marks(page: Page) -> Locator:
    return page.locator("#questions .flaw blockquote")


def card(page: Page, quote: str) -> Locator:
    return page.locator(".claim").filter(has=page.locator("blockquote", has_text=quote))


def highlighted(page: Page) -> Any:
    return page.evaluate("[...(CSS.highlights.get('claim') ?? [])].map((one) => one.toString())")


def taken(office: Office) -> list[tuple[bool, bool | None]]:
    """Opened and accepted of each claim, in the critic's own order."""
    [result] = office.site.desk.results("study")
    return [(one.opened, one.accepted) for one in office.site.desk.record.exposures(judgment=result.id)]


def spans(office: Office) -> list[str]:
    [result] = office.site.desk.results("study")
    return [TEXT[one["start"] : one["end"]] for one in result.judgment.spans or []]


def test_both_looks_by_keys_alone_and_nothing_of_help_before(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office)
    page = started(open_page)
    told: list[Response] = []
    judging = page.url
    page.goto("about:blank")  # what the first page asked for is gone with it
    page.on("response", lambda answer: told.append(answer))
    page.goto(judging)
    page.wait_for_selector(".response")
    expect(page.locator("#stage")).to_have_text("First alone")
    press(page, "m", *["ArrowRight"] * 3, "Enter", "Enter")
    expect(marks(page)).to_have_text("Boro")
    press(page, "Control+s")
    expect(page.locator("#missing")).to_have_text("Draft saved")
    bodies = [one.text() for one in told if one.status == 200]
    assert any("study 0?" in one for one in bodies)
    assert SECRET not in page.content() + "".join(bodies)
    look_again(page)
    expect(page.locator("#stage")).to_have_text("Now with a critic's help")
    expect(page.locator(".turn .text")).to_have_text("study 0?")
    expect(marks(page)).to_have_text("Boro")
    expect(page.locator(".claim blockquote")).to_have_text(["Alba is red", "green", "Boro is blue"])
    expect(page.locator(".claim .said").first).to_have_text(SECRET)
    press(page, "a")
    expect(marks(page)).to_have_text("Boro")  # nothing is accepted unseen: the key goes to the first claim
    assert highlighted(page) == ["Alba is red"]
    press(page, "a")
    expect(marks(page)).to_have_text(["Boro", "Alba is red"])
    press(page, "j", "r", "ArrowDown", "a")
    expect(marks(page)).to_have_text("Alba is red")
    press(page, "ArrowUp", "r", "j")  # refused, and open again
    press(page, "Enter")
    expect(page.locator(".turn .text")).to_have_text("study 1?")
    expect(page.locator("#stage")).to_have_text("First alone")
    expect(page.locator("#second-look")).to_be_hidden()
    expect(page.locator("#count")).to_have_text("1 done")
    saved(page)
    assert spans(office) == ["Alba is red"]
    assert taken(office) == [(True, True), (True, True), (True, None)]
    [trial] = office.site.desk.trials("study")
    assert trial.finished
    assert min(trial.alone_ms, trial.aided_ms) > 0


def test_decisions_by_mouse_are_taken_back_and_own_marks_stay_own(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office, 1)
    page = started(open_page)
    page.locator("#questions >> text=No flaws here").click()
    page.locator("#submit").click()
    alba, boro = card(page, "Alba"), card(page, "Boro")
    alba.get_by_role("button", name="Accept").click()
    expect(marks(page)).to_have_text("Alba is red")
    expect(alba.locator("[role=status]")).to_have_text("Accepted: the passage is marked.")
    alba.get_by_role("button", name="Accept").click()
    expect(marks(page)).to_have_count(0)
    expect(page.locator("#questions [aria-checked=true]")).to_have_text("No flaws hereN")
    alba.get_by_role("button", name="Accept").click()
    page.locator("#questions .flaw button").click()
    expect(alba.locator("[aria-pressed=true]")).to_have_count(0)
    alba.get_by_role("button", name="Refuse").click()
    press(page, "m", *["ArrowRight"] * 3, "Enter", "Enter")
    expect(marks(page)).to_have_text("Boro")
    boro.get_by_role("button", name="Accept").click()
    expect(marks(page)).to_have_count(0)
    boro.get_by_role("button", name="Refuse").click()
    expect(marks(page)).to_have_text("Boro")
    assert page.get_by_text("Accept all").count() == 0
    page.locator("#submit").click()
    expect(page.locator("#record")).to_contain_text("Nothing is left")
    saved(page)
    assert spans(office) == ["Boro"]
    assert taken(office) == [(True, False), (True, False), (False, None)]


def test_a_reload_between_the_looks_and_one_amid_the_second(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office, 1)
    page = started(open_page)
    press(page, "m", *["ArrowRight"] * 3, "Enter", "Enter")
    look_again(page)
    page.reload()
    expect(page.locator("#stage")).to_have_text("Now with a critic's help")
    expect(marks(page)).to_have_text("Boro")
    press(page, "j", "a", "j", "r", "j", "a")
    expect(marks(page)).to_have_text("Alba is red")
    press(page, "Control+s")
    expect(page.locator("#missing")).to_have_text("Draft saved")
    again = open_page("/tasks/study/judge", context=page.context)
    page.close()
    again.reload()
    expect(card(again, "Alba").locator("[aria-pressed=true]")).to_contain_text("Accept")
    expect(card(again, "green").locator("[aria-pressed=true]")).to_contain_text("Refuse")
    expect(marks(again)).to_have_text("Alba is red")
    card(again, "Boro").get_by_role("button", name="Accept").click()
    expect(marks(again)).to_have_text(["Alba is red", "Boro"])
    settled(again)
    press(again, "Control+Enter")
    expect(again.locator("#record")).to_contain_text("Nothing is left")
    saved(again)
    assert sorted(spans(office)) == ["Alba is red", "Boro"]
    assert taken(office) == [(True, None), (True, True), (True, False)]


def test_without_a_connection_the_second_look_waits_and_its_answer_too(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office, 2)
    page = started(open_page)
    page.context.set_offline(True)
    press(page, "n", "Enter")
    expect(page.locator("#notice")).to_contain_text("then you look at this once more")
    expect(page.locator("#outbox")).to_contain_text("1 waiting")
    expect(page.locator(".turn .text")).to_have_text("study 0?")
    context = page.context
    page.close()
    context.set_offline(False)
    page = open_page("/tasks/study/judge", context=context)
    expect(page.locator("#second-look h2")).to_have_text("What a critic says")
    expect(page.locator(".turn .text")).to_have_text("study 0?")
    settled(page)
    page.context.set_offline(True)
    press(page, "j", "a", "Enter")
    expect(page.locator(".turn .text")).to_have_text("study 1?")
    expect(page.locator("#outbox")).to_contain_text("1 waiting")
    page.context.set_offline(False)
    saved(page)
    assert spans(office) == ["Alba is red"]
    settled(page)
    page.context.set_offline(True)
    press(page, "n", "Enter")
    expect(page.locator("#notice")).to_contain_text("No connection")
    page.context.set_offline(False)
    expect(page.locator("#second-look h2")).to_be_focused()
    expect(page.locator("#notice")).to_be_hidden()


def test_what_another_browser_has_answered_comes_as_a_second_look(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office, 1)
    slow = started(open_page)
    quick = started(open_page)
    press(quick, "n")
    look_again(quick)
    press(slow, "m", "Enter", "Enter")
    settled(slow)
    press(slow, "Enter")
    expect(slow.locator("#notice")).to_contain_text("One answer was not taken")
    expect(slow.locator("#second-look h2")).to_have_text("What a critic says")
    expect(slow.locator("#questions [aria-checked=true]")).to_have_text("No flaws hereN")
    settled(slow)
    press(slow, "j", "a", "Enter")
    expect(slow.locator("#record")).to_contain_text("Nothing is left")
    saved(slow)
    assert spans(office) == ["Alba is red"]
    [trial] = office.site.desk.trials("study")
    assert trial.alone["flaws"].value == 0


def test_undo_goes_back_to_the_second_look_and_not_to_the_first(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office, 2)
    page = started(open_page)
    press(page, "n")
    look_again(page)
    press(page, "j", "a", "Enter")
    expect(page.locator(".turn .text")).to_have_text("study 1?")
    settled(page)
    press(page, "z")
    expect(page.locator(".turn .text")).to_have_text("study 0?")
    expect(card(page, "Alba").locator("[aria-pressed=true]")).to_contain_text("Accept")
    settled(page)
    press(page, "j", "r", "Enter")
    expect(page.locator(".turn .text")).to_have_text("study 1?")
    expect(page.locator("#second-look")).to_be_hidden()
    saved(page)
    assert spans(office) == []
    assert taken(office)[1] == (True, False)
    assert len(office.site.desk.record.judgments()) == 3


def test_passages_from_right_to_left_and_behind_an_emoji(office: Office, open_page: Open) -> None:  # noqa: F811
    text, quote = "مرحبا 🙂 كانبيرا حمراء.", "كانبيرا"
    start = text.index(quote)
    about = {"quote": quote, "start": start, "end": start + len(quote), "verdict": "wrong", "text": "خطأ"}
    add_study(office, 1, responses=[text], help={"critiques": [about]})
    page = started(open_page)
    press(page, "n")
    look_again(page)
    press(page, "j", "a")
    assert highlighted(page) == [quote]
    expect(marks(page)).to_have_text(quote)
    settled(page)
    press(page, "Enter")
    saved(page)
    expect(page.locator("#record")).to_contain_text("Nothing is left")
    [result] = office.site.desk.results("study")
    assert [text[one["start"] : one["end"]] for one in result.judgment.spans or []] == [quote]


def test_the_arms_differ_by_the_help_alone(office: Office, open_page: Open) -> None:  # noqa: F811
    add_study(office, 3, ARMS)
    page = started(open_page)
    press(page, "n")
    look_again(page)
    expect(page.locator("#second-look h2")).to_have_text("Look once more")
    expect(page.locator("#stage")).to_have_text("Look once more")
    press(page, "j", "a", "Enter")
    expect(page.locator(".turn .text")).to_have_text("study 1?")
    press(page, "n")
    look_again(page)
    expect(page.locator(".claim")).to_have_count(3)
    press(page, "Enter")
    expect(page.locator(".turn .text")).to_have_text("study 2?")
    press(page, "n")
    look_again(page)
    expect(page.locator(".claim .absent")).to_have_text("This passage is not in the text.")
    expect(page.locator(".claim button")).to_have_text(["RefuseR"])
    press(page, "j", "a")
    expect(marks(page)).to_have_count(0)
    assert highlighted(page) == []
    press(page, "?")
    expect(page.locator("#key-list")).to_contain_text("Next claim")


@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious_on_a_second_look(office: Office, open_page: Open, width: int) -> None:  # noqa: F811
    long = {
        "critiques": [claim("Alba is red", text=EVIL), claim("Nowhere", "fine", at=1), claim("green", text="x" * 90)]
    }
    add_study(office, 1, help=long)
    page = started(open_page, viewport={"width": width, "height": 740})
    assert_accessible(page)
    page.emulate_media(color_scheme="light")
    press(page, "n")
    look_again(page)
    press(page, "j", "a")
    expect(page.locator(".claim .said").first).to_have_text(EVIL)
    assert page.locator(".claim img").count() == 0
    assert page.evaluate(
        """() => {
          const box = [...CSS.highlights.get("claim")][0].getBoundingClientRect();
          return document.elementFromPoint(box.left + 2, (box.top + box.bottom) / 2)?.closest(".response") !== null;
        }"""
    ), "the passage is in sight"
    for _ in range(3):
        expect(page.locator(".claim[data-now] button").last).to_be_in_viewport(ratio=1)
        expect(page.locator("#submit")).to_be_in_viewport(ratio=1)
        press(page, "j")
    assert_accessible(page)
