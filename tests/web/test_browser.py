"""The pages in a real Chromium: by mouse, by keys alone, without a connection, in two tabs, small and dark."""

from __future__ import annotations

import shutil
import socket
from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random
from typing import Any

import pytest
from accessible import assert_accessible
from conftest import Office
from playwright.sync_api import APIResponse, Browser, BrowserContext, Page, Route, expect, sync_playwright

from kilter.errors import DataError, StorageError
from kilter.feedback.tasks import Task, read_item
from kilter.feedback.work import Desk
from kilter.serving.running import running
from kilter.web import create_app

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="there is no Chromium on this machine")
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update"]

TEXTS = [
    "The capital is Sydney, founded in 1788. 🙂",
    "It is **Canberra**.\n\n```\nprint('hi')\n```",
    "مرحبا: كانبيرا",
    "No idea.",
]
STEPS = ["4 + 5 = 9", "3 * 9 = 28", "So the answer is 28."]
KINDS: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {
    "comparison": ([{"type": "comparison", "both_bad": True}], {"responses": TEXTS[:2]}),
    "strength": ([{"type": "comparison", "strength": 3}], {"responses": TEXTS[:2]}),
    "ranking": ([{"type": "ranking"}], {"responses": TEXTS}),
    "rating": ([{"type": "rating", "of": "responses", "dimensions": ["helpful", "honest"]}], {"responses": TEXTS[:2]}),
    "label": ([{"type": "label", "labels": ["toxic", "fine"]}], {"responses": TEXTS[:1]}),
    "labels": ([{"type": "label", "labels": ["toxic", "rude", "fine"], "several": True}], {"responses": TEXTS[:1]}),
    "text": ([{"type": "text"}], {}),
    "rewrite": ([{"type": "text", "start": "response"}], {"response": TEXTS[0]}),
    "flaws": ([{"type": "flaws", "types": ["wrong", "missing"]}], {"responses": TEXTS[:1]}),
    "steps": ([{"type": "steps"}], {"steps": STEPS}),
}


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def address(office: Office) -> Iterator[str]:
    with running(create_app(office.site)) as found:
        yield found


Open = Callable[..., Page]


@pytest.fixture
def open_page(chromium: Browser, address: str, office: Office) -> Iterator[Open]:
    """Opens a path as somebody; what the page complains of on the console fails the test."""
    complaints: list[str] = []
    contexts: list[BrowserContext] = []

    def opened(path: str, who: str = "rater", context: BrowserContext | None = None, **options: Any) -> Page:
        if context is None:
            context = chromium.new_context(**{"viewport": {"width": 1280, "height": 800}, **options})
            context.add_cookies([{"name": "kilter_session", "value": office.tokens[who], "url": address}])
            contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on("console", lambda said: complaints.append(said.text) if _is_fault(said.type, said.text) else None)
        page.goto(f"{address}{path}")
        return page

    yield opened
    for context in contexts:
        context.close()
    assert not complaints


def _is_fault(kind: str, text: str) -> bool:
    return kind == "error" and "net::ERR" not in text and "status of" not in text


def add_kind(office: Office, kind: str, count: int = 3) -> None:
    questions, columns = KINDS[kind]
    task = Task.model_validate(
        {
            "name": kind,
            "title": kind.title(),
            "questions": [{"name": "q", **one} for one in questions],
            "order": "given",
        }
    )
    office.site.desk.add_task(task)
    items = [read_item({"prompt": f"{kind} {number}?", **columns}, "x") for number in range(count)]
    office.site.desk.add_items(task, items)


def values(office: Office, task: str) -> list[Any]:
    """What is on the record of a task, in the items' own numbers, once the outbox is empty."""
    return [one.value for one in office.site.desk.results(task)]


def shown_as(page: Page, start: str) -> int:
    """The place on screen of the response that starts so."""
    texts = page.locator(".response .text").all_inner_texts()
    return next(place for place, text in enumerate(texts) if text.startswith(start))


def saved(page: Page) -> None:
    expect(page.locator("#outbox")).to_have_attribute("data-state", "saved")


def press(page: Page, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)


def settled(page: Page) -> None:
    """Past the moment in which a second press of the same key is taken for a slip."""
    page.wait_for_timeout(400)


def test_one_key_per_comparison_and_the_next_item_at_once(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison", 6)
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    for number in range(6):
        expect(page.locator(".turn .text")).to_have_text(f"comparison {number}?")
        press(page, str(1 + shown_as(page, "It is")))
        settled(page)
    expect(page.locator("#record")).to_contain_text("Nothing is left")
    saved(page)
    assert values(office, "comparison") == [1] * 6
    assert all((one.judgment.active_ms or 0) > 0 for one in office.site.desk.results("comparison"))


BY_KEYS: dict[str, tuple[list[str], Any]] = {
    "strength": (["4"], "tie"),
    "label": (["2"], "fine"),
    "labels": (["1", "3", "Enter"], ["toxic", "fine"]),
    "steps": (["3", "1", "Enter"], [1, -1]),
}


@pytest.mark.parametrize("kind", BY_KEYS)
def test_choices_by_keys_alone(office: Office, open_page: Open, kind: str) -> None:
    add_kind(office, kind)
    keys, value = BY_KEYS[kind]
    page = open_page(f"/tasks/{kind}/judge")
    page.wait_for_selector(".turn")
    press(page, *keys)
    expect(page.locator(".turn .text")).to_have_text(f"{kind} 1?")
    saved(page)
    assert values(office, kind) == [value]


def test_a_ranking_by_keys(office: Office, open_page: Open) -> None:
    add_kind(office, "ranking")
    page = open_page("/tasks/ranking/judge")
    page.wait_for_selector(".response")
    starts = [text[:6] for text in page.locator(".response .text").all_inner_texts()]
    own = [next(number for number, text in enumerate(TEXTS) if text[:3] == one[:3]) for one in starts]
    press(page, "2", "1", "1", "3", "Enter")
    expect(page.locator(".turn .text")).to_have_text("ranking 1?")
    saved(page)
    assert values(office, "ranking") == [[sorted([own[1], own[2]]), own[0], own[3]]]


def test_ratings_by_keys(office: Office, open_page: Open) -> None:
    add_kind(office, "rating")
    page = open_page("/tasks/rating/judge")
    page.wait_for_selector(".response")
    first = shown_as(page, "The capital")
    press(page, "5", "6", "2", "3", "Enter")
    expect(page.locator(".turn .text")).to_have_text("rating 1?")
    saved(page)
    grades = [{"helpful": 5, "honest": 6}, {"helpful": 2, "honest": 3}]
    assert values(office, "rating") == [grades if first == 0 else grades[::-1]]


def test_texts_written_and_rewritten(office: Office, open_page: Open) -> None:
    for kind in ("text", "rewrite"):
        add_kind(office, kind)
        page = open_page(f"/tasks/{kind}/judge")
        area = page.locator("#questions textarea")
        expect(area).to_have_value("" if kind == "text" else TEXTS[0])
        area.fill("The moon pulls. 🌊")
        press(page, "Control+Enter")
        expect(page.locator(".turn .text")).to_have_text(f"{kind} 1?")
        saved(page)
        assert values(office, kind) == ["The moon pulls. 🌊"]


def test_a_flaw_by_keys_and_one_by_mouse(office: Office, open_page: Open) -> None:
    add_kind(office, "flaws")
    page = open_page("/tasks/flaws/judge")
    page.wait_for_selector(".response")
    press(page, "m", *["ArrowRight"] * 3, "Enter")
    page.keyboard.type("w")
    press(page, "Tab", "Tab")
    page.keyboard.type("It is Canberra")
    press(page, "Enter")
    expect(page.locator("#questions .flaw blockquote")).to_have_text("Sydney,")
    page.evaluate(
        """() => {
          const node = document.querySelector(".response .text").firstChild;
          getSelection().setBaseAndExtent(node, node.data.indexOf("🙂"), node, node.data.length);
          node.parentElement.dispatchEvent(new MouseEvent("mouseup", { bubbles: true }));
        }"""
    )
    page.locator("#questions .flaw button.main").click()
    press(page, "Enter")
    expect(page.locator(".turn .text")).to_have_text("flaws 1?")
    saved(page)
    [found] = office.site.desk.results("flaws")
    text = TEXTS[0]
    spans = [(text[one["start"] : one["end"]], one["type"], one.get("note")) for one in found.judgment.spans or []]
    assert spans == [("Sydney,", "wrong", "It is Canberra"), ("🙂", "wrong", None)]


def test_a_ranking_by_mouse(office: Office, open_page: Open) -> None:
    add_kind(office, "ranking")
    page = open_page("/tasks/ranking/judge")
    page.wait_for_selector(".response")
    for rank, text in enumerate(TEXTS, 1):
        row = page.locator("#questions .rank").nth(shown_as(page, text[:5]))
        row.locator("button").nth(rank - 1).click()
    page.locator("#submit").click()
    expect(page.locator(".turn .text")).to_have_text("ranking 1?")
    saved(page)
    assert values(office, "ranking") == [[0, 1, 2, 3]]


def test_text_that_runs_from_right_to_left_is_shown_so(office: Office, open_page: Open) -> None:
    add_kind(office, "ranking")
    page = open_page("/tasks/ranking/judge")
    page.wait_for_selector(".response")
    ways = {text: page.locator(".response .text").nth(shown_as(page, text[:5])).evaluate(
        "node => getComputedStyle(node).direction"
    ) for text in TEXTS}  # fmt: skip
    assert [ways[text] for text in TEXTS] == ["ltr", "ltr", "rtl", "ltr"]


def test_judging_under_a_path_prefix(office: Office, chromium: Browser) -> None:
    add_kind(office, "comparison")
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    site = replace(office.site, public=f"http://127.0.0.1:{port}/lab")
    with running(create_app(site), port=port) as address:
        context = chromium.new_context()
        context.add_cookies([{"name": "kilter_session", "value": office.tokens["rater"], "url": address}])
        page = context.new_page()
        page.goto(f"{address}/lab")
        page.locator("a[href='/lab/tasks/comparison/judge']").first.click()
        page.wait_for_selector(".response")
        press(page, "3")
        expect(page.locator(".turn .text")).to_have_text("comparison 1?")
        saved(page)
        context.close()
    assert values(office, "comparison") == ["tie"]


def test_each_kind_by_mouse(office: Office, open_page: Open) -> None:
    clicks = {
        "rating": [*(f"#questions .row:nth-child({row}) button:nth-child(6)" for row in (1, 2, 3, 4)), "#submit"],
        "comparison": ["text=Equally good"], "strength": ["text=Equally good"], "label": ["text=fine"],
        "labels": ["text=rude", "#submit"], "steps": [".steps li:nth-child(1) button[title=Bad]", "#submit"],
        "flaws": ["text=No flaws here", "#submit"],
    }  # fmt: skip
    expected = {"comparison": "tie", "strength": "tie", "label": "fine", "labels": ["rude"], "steps": [-1], "flaws": 0}
    expected["rating"] = [{"helpful": 6, "honest": 6}] * 2
    for kind, selectors in clicks.items():
        add_kind(office, kind)
        page = open_page(f"/tasks/{kind}/judge")
        for selector in selectors:
            page.locator(f"main {selector}" if selector.startswith(("#", ".")) else f"#questions >> {selector}").click()
        expect(page.locator(".turn .text")).to_have_text(f"{kind} 1?")
        saved(page)
        assert values(office, kind) == [expected[kind]]


def test_undo_across_items_corrects_and_escape_leaves_it(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison")
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    for _ in range(2):
        press(page, "3")
        settled(page)
    press(page, "z", "z")
    expect(page.locator(".turn .text")).to_have_text("comparison 0?")
    expect(page.locator("#questions [aria-checked=true]")).to_contain_text("Equally good")
    press(page, "0")
    expect(page.locator(".turn .text")).to_have_text("comparison 2?")
    settled(page)
    saved(page)
    assert sorted(values(office, "comparison")) == ["both bad", "tie"]
    press(page, "z")
    expect(page.locator("#notice")).to_contain_text("changing an earlier answer")
    press(page, "Escape")
    expect(page.locator(".turn .text")).to_have_text("comparison 2?")
    assert len(office.site.desk.record.judgments()) == 3, "two, and one correction"


def test_undo_after_a_reload_reaches_what_was_done_before(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison")
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    press(page, "3")
    settled(page)
    saved(page)
    page.reload()
    expect(page.locator(".turn .text")).to_have_text("comparison 1?")
    press(page, "z")
    expect(page.locator(".turn .text")).to_have_text("comparison 0?")


def test_without_a_connection_work_goes_on_and_arrives_later(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison", 4)
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    page.context.set_offline(True)
    for _ in range(3):
        press(page, "3")
        settled(page)
    expect(page.locator("#notice")).to_contain_text("No connection")
    expect(page.locator("#outbox")).to_contain_text("3 waiting")
    assert values(office, "comparison") == []
    page.context.set_offline(False)
    saved(page)
    assert values(office, "comparison") == ["tie"] * 3


def test_a_closed_tab_sends_when_it_is_opened_again(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison", 4)
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    page.context.set_offline(True)
    press(page, "3")
    settled(page)
    expect(page.locator("#outbox")).to_contain_text("1 waiting")
    context = page.context
    page.close()
    context.set_offline(False)
    again = open_page("/tasks/comparison/judge", context=context)
    expect(again.locator(".turn .text")).to_have_text("comparison 1?")
    saved(again)
    assert values(office, "comparison") == ["tie"]


def test_a_server_that_restarts_gets_everything_once(office: Office, chromium: Browser) -> None:
    add_kind(office, "comparison", 4)
    with running(create_app(office.site)) as address:
        port = int(address.rpartition(":")[2])
        context = chromium.new_context()
        context.add_cookies([{"name": "kilter_session", "value": office.tokens["rater"], "url": address}])
        page = context.new_page()
        page.goto(f"{address}/tasks/comparison/judge")
        page.wait_for_selector(".response")
        press(page, "3")
        saved(page)
    settled(page)
    press(page, "3")
    expect(page.locator("#outbox")).to_contain_text("1 waiting")
    with running(create_app(office.site), port=port):
        saved(page)
        context.close()
    assert values(office, "comparison") == ["tie"] * 2


@pytest.mark.parametrize("seed", range(2))
def test_whatever_is_lost_on_the_way_each_answer_is_kept_once(office: Office, open_page: Open, seed: int) -> None:
    add_kind(office, "comparison", 10)
    random, said = Random(seed), {"3": "tie", "0": "both bad"}
    wanted: dict[str, str] = {}
    page = open_page("/tasks/comparison/judge")

    def unreliable(route: Route) -> None:
        match random.choice(["lost", "unanswered", "busy", "well", "well"]):
            case "lost":
                route.abort()
            case "unanswered":  # the server has it, and the page does not know
                route.fetch()
                route.abort()
            case "busy":
                route.fulfill(status=503, json={"error": "busy"})
            case _:
                route.continue_()

    def answer() -> None:
        key = random.choice("30")
        wanted[page.locator(".turn .text").inner_text()] = said[key]
        press(page, key)
        settled(page)

    page.route("**/submit", unreliable)
    empty = page.locator("#record", has_text="Nothing is left")
    while not empty.count():
        if not page.locator(".turn").count():
            page.wait_for_timeout(50)
            continue
        answer()
        match random.randrange(4):
            case 0:
                page.reload()
            case 1:
                press(page, "z")
                expect(page.locator("#notice")).to_contain_text("changing an earlier answer")
                answer()
    page.unroute("**/submit")
    page.evaluate("dispatchEvent(new Event('online'))")
    saved(page)
    results = office.site.desk.results("comparison")
    assert {one.item.prompt[-1]["content"]: one.value for one in results} == wanted
    assert len(results) == len(wanted) == 10
    assert office.site.desk.record.verify().ok


def test_a_draft_survives_a_reload(office: Office, open_page: Open) -> None:
    add_kind(office, "text")
    page = open_page("/tasks/text/judge")
    page.locator("#questions textarea").fill("half a thought")
    press(page, "Control+s")
    expect(page.locator("#missing")).to_have_text("Draft saved")
    page.reload()
    expect(page.locator("#questions textarea")).to_have_value("half a thought")


PARTS: dict[str, tuple[list[str], str]] = {
    "rating": (["5", "4"], "#questions [aria-checked=true]"),
    "ranking": (["2", "1", "3"], "#questions [aria-checked=true]"),
    "steps": (["3", "2"], ".steps [aria-checked=true]"),
}


@pytest.mark.parametrize("kind", PARTS)
def test_what_is_half_done_survives_a_reload_and_a_look_back(office: Office, open_page: Open, kind: str) -> None:
    add_kind(office, kind)
    keys, marked = PARTS[kind]
    page = open_page(f"/tasks/{kind}/judge")
    page.wait_for_selector(".turn")
    press(page, *keys, "Control+s")
    expect(page.locator("#missing")).to_have_text("Draft saved")
    before = page.locator(marked).all_inner_texts()
    page.reload()
    expect(page.locator(marked)).to_have_count(len(keys))
    assert page.locator(marked).all_inner_texts() == before
    page.evaluate("indexedDB.deleteDatabase('kilter-outbox')")  # another browser: the server has it, too
    page.reload()
    expect(page.locator(marked)).to_have_count(len(keys))
    assert values(office, kind) == [], "a draft is no judgment"


def test_a_server_that_cannot_keep_it_gets_it_later(office: Office, open_page: Open, monkeypatch) -> None:
    add_kind(office, "comparison", 4)
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")

    def full(*_: Any) -> None:
        raise StorageError("The disk is full.")

    with monkeypatch.context() as broken:
        broken.setattr(Desk, "submit", full)
        broken.setattr(Desk, "batch", full)
        for _ in range(2):
            press(page, "3")
            settled(page)
        expect(page.locator("#outbox")).to_contain_text("2 waiting")
        expect(page.locator("#record")).not_to_contain_text("Nothing is left")
    saved(page)
    assert values(office, "comparison") == ["tie"] * 2


def test_what_is_not_taken_can_be_sent_again(office: Office, open_page: Open, monkeypatch) -> None:
    add_kind(office, "comparison", 4)
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")

    def unfit(*_: Any) -> None:
        raise DataError("This is not to be.")

    with monkeypatch.context() as broken:
        broken.setattr(Desk, "submit", unfit)
        press(page, "3")
        expect(page.locator("#notice")).to_contain_text("This is not to be.")
    page.reload()
    expect(page.locator("#notice")).to_contain_text("not taken: 1")
    page.locator("#notice button", has_text="Send again").click()
    expect(page.locator("#notice")).to_be_hidden()
    saved(page)
    assert values(office, "comparison") == ["tie"]


def test_somebody_else_in_the_same_browser_leaves_the_work_to_its_owner(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison", 4)
    office.add("another", "rater")
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    cookie = {"name": "kilter_session", "url": page.url.partition("/tasks")[0]}
    page.context.add_cookies([{**cookie, "value": office.tokens["another"]}])
    press(page, "3")
    expect(page.locator("#notice")).to_contain_text("somebody else has signed in")
    expect(page.locator("#outbox")).to_contain_text("1 waiting")
    assert values(office, "comparison") == []
    page.context.add_cookies([{**cookie, "value": office.tokens["rater"]}])
    saved(page)
    [found] = office.site.desk.results("comparison")
    rater = next(one for one in office.site.people.all() if one.name == "rater")
    assert found.judgment.judge == f"people/{rater.alias}"


def test_a_press_before_the_item_can_have_been_read_is_none(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison")
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    press(page, "3", "0")  # at once
    expect(page.locator(".turn .text")).to_have_text("comparison 1?")
    expect(page.locator("#questions [aria-checked=true]")).to_have_count(0)
    settled(page)
    press(page, "0")
    expect(page.locator(".turn .text")).to_have_text("comparison 2?")
    saved(page)
    assert sorted(values(office, "comparison")) == ["both bad", "tie"]


def test_a_flag_is_taken_back_like_any_answer(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison")
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    press(page, "f")
    page.locator("#reason").fill("a slip")
    page.locator("#why button.main").click()
    expect(page.locator(".turn .text")).to_have_text("comparison 1?")
    settled(page)
    press(page, "z", "3")
    expect(page.locator(".turn .text")).to_have_text("comparison 1?")
    saved(page)
    assert (values(office, "comparison"), office.site.desk.flags("comparison")) == (["tie"], [])


def test_a_second_tab_waits_or_takes_over(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison")
    first = open_page("/tasks/comparison/judge")
    first.wait_for_selector(".response")
    second = open_page("/tasks/comparison/judge", context=first.context)
    expect(second.locator("#notice")).to_contain_text("open in another tab")
    second.locator("#notice button").click()
    second.wait_for_selector(".response")
    press(second, "3")
    saved(second)
    assert values(office, "comparison") == ["tie"]


def test_skip_and_flag_ask_why(office: Office, open_page: Open) -> None:
    add_kind(office, "comparison")
    page = open_page("/tasks/comparison/judge")
    page.wait_for_selector(".response")
    press(page, "s")
    page.locator("#reason").fill("I know who wrote it")
    page.locator("#why button.main").click()
    expect(page.locator(".turn .text")).to_have_text("comparison 1?")
    press(page, "f")
    page.locator("#reason").fill("not a question")
    page.locator("#why button.main").click()
    expect(page.locator(".turn .text")).to_have_text("comparison 2?")
    saved(page)
    said = [one.value for one in office.site.desk.record.judgments()]
    assert said == [{"skipped": "I know who wrote it"}, {"flagged": "not a question"}]


def test_what_is_missing_is_named_and_the_key_sheet_opens(office: Office, open_page: Open) -> None:
    add_kind(office, "rating")
    page = open_page("/tasks/rating/judge")
    page.wait_for_selector(".response")
    press(page, "5", "Enter")
    expect(page.locator("#missing")).to_contain_text("How good is it?")
    press(page, "?")
    expect(page.locator("#keys")).to_be_visible()
    expect(page.locator("#key-list")).to_contain_text("Undo")


SHEET = {
    "comparison": {
        "1": "Left",
        "→": "Right",
        "3": "Equally good",
        "0": "Both bad",
        "Z": "Undo",
        "Ctrl+S": "Save a draft",
    },
    "ranking": {"1 – 4": "Rank of the highlighted response"},
    "rating": {"1 – 7": "Grade", "← →": "Another row"},
    "label": {"1": "toxic", "2": "fine"},
    "flaws": {"M": "Mark text word by word", "N": "No flaws here"},
    "steps": {"1": "Bad", "2": "Neutral", "3": "Good"},
}


@pytest.mark.parametrize("kind", SHEET)
def test_the_key_sheet_says_what_the_keys_of_the_question_do(office: Office, open_page: Open, kind: str) -> None:
    add_kind(office, kind)
    page = open_page(f"/tasks/{kind}/judge")
    page.wait_for_selector(".turn")
    press(page, "?")
    told = page.evaluate(
        """() => Object.fromEntries([...document.querySelectorAll("#key-list dt")].flatMap((row) =>
          [...row.querySelectorAll("kbd")].map((key) => [key.textContent, row.nextElementSibling.textContent])))"""
    )
    assert {key: told.get(key) for key in SHEET[kind]} == SHEET[kind]
    assert "Backspace" not in told
    if kind == "label":
        assert "3" not in told, "it does nothing"


def test_training_explains_before_it_goes_on(office: Office, open_page: Open) -> None:
    known = {"use": "training", "answers": {"better": 0}, "explanation": "The first is **better**."}
    office.site.desk.add_items(
        office.task, [read_item({"prompt": "learn", "responses": ["good", "bad"], **known}, "x")]
    )
    page = open_page("/tasks/helpful/judge")
    expect(page.locator("#stage")).to_have_text("Training")
    press(page, "3")
    expect(page.locator("#record")).to_contain_text("The researchers see it another way.")
    better = page.locator(".response", has_text="good")
    expect(better.locator(".chip")).to_have_text("better")
    expect(page.locator(".response .chip")).to_have_count(1)
    side = better.get_attribute("aria-label")
    expect(page.locator(".known")).to_have_text(f"Right answer: {side}. You said something else.")
    press(page, "Enter")
    expect(page.locator(".turn .text")).to_have_text("prompt 0")


def test_training_goes_on_though_what_was_asked_for_before_comes_late(office: Office, open_page: Open) -> None:
    known = {"use": "training", "answers": {"better": 0}, "explanation": "The first is **better**."}
    office.site.desk.add_items(
        office.task, [read_item({"prompt": "learn", "responses": ["good", "bad"], **known}, "x")]
    )
    held: list[tuple[Route, APIResponse]] = []
    page = open_page("/me")
    page.route("**/next", lambda route: held.append((route, route.fetch())))
    page.goto(page.url.replace("/me", "/tasks/helpful/judge"))

    def release() -> None:
        while not held:
            page.wait_for_timeout(20)
        route, response = held.pop()
        route.fulfill(response=response)

    release()
    expect(page.locator("#stage")).to_have_text("Training")
    while not held:
        page.wait_for_timeout(20)  # more was asked for, and knows nothing of the answer that comes now
    press(page, "1")
    expect(page.locator(".known")).to_be_visible()
    press(page, "Enter")
    release()
    expect(page.locator(".known")).to_have_count(0)
    release()
    expect(page.locator(".turn .text")).to_have_text("prompt 0")


PAGES = [
    "/", "/me", "/people", "/studies", "/studies/new", "/tasks/helpful", "/tasks/helpful/judge",
    "/tasks/helpful/guidelines", "/nowhere",
]  # fmt: skip


def test_axe_finds_nothing_serious_and_nothing_is_cut_off(office: Office, open_page: Open) -> None:
    for kind in KINDS:
        add_kind(office, kind)
    for path in [*PAGES, *(f"/tasks/{kind}/judge" for kind in KINDS)]:
        page = open_page(path, "owner")
        if path.endswith("/judge"):
            page.wait_for_selector(".turn")
        assert_accessible(page)
        page.context.close()


@pytest.mark.parametrize("path", ["/sign-in", "/join"])
def test_axe_finds_nothing_serious_at_the_door(office: Office, address: str, chromium: Browser, path: str) -> None:
    page = chromium.new_page()
    page.goto(address + (path if path == "/sign-in" else f"/join/{office.site.people.invite('rater')}"))
    assert_accessible(page)
    page.close()


def test_without_scripts_the_pages_around_judging_still_work(office: Office, open_page: Open) -> None:
    page = open_page("/people", "owner", java_script_enabled=False)
    page.locator("button.main").click()
    assert "/join/" in page.locator("input.copy").input_value()
