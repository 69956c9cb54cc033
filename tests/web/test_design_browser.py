"""Designing a study in a real Chromium: the power follows the form, problems stand at their fields, the file runs."""

from __future__ import annotations

import re
from pathlib import Path

from accessible import assert_accessible
from conftest import Office
from playwright.sync_api import Locator, Page, expect
from test_browser import Open, address, chromium, open_page, press, pytestmark  # noqa: F401

from kilter.models.chat import ChatModel
from kilter.oversight import conduct, results_of, write_page
from kilter.oversight.study import CasesSettings, ExpectedSettings, SimulatedRatersSettings, Study, read_study
from kilter.record import Workspace

SLOW = 60_000


def box(page: Page, name: str, **more: bool) -> Locator:
    """The field of this name that is shown."""
    return page.get_by_role("textbox", name=name, **more)


def state(page: Page, name: str) -> None:
    expect(page.locator("#said")).to_have_attribute("data-state", name, timeout=SLOW)


def chance(page: Page) -> int:
    found = re.match(r"(\d+) % chance", page.locator("#said").inner_text())
    assert found is not None
    return int(found[1])


def test_a_study_is_designed_and_its_file_taken_along(
    office: Office, open_page: Open, tmp_path: Path  # noqa: F811
) -> None:  # fmt: skip
    page = open_page("/studies", "researcher", accept_downloads=True)
    page.get_by_role("link", name="Design one").click()
    box(page, "Name", exact=True).fill("by-hand")
    page.get_by_label("Testbed").select_option("facts")
    page.get_by_label("Raters see").select_option("judge")
    expect(page.locator("#file")).to_contain_text("view: judge", timeout=SLOW)
    page.get_by_label("Testbed").select_option("reasoning")  # which has no such view
    expect(page.get_by_label("Raters see")).to_be_hidden()
    box(page, "How many").fill("8")
    state(page, "small")
    few = chance(page)
    for arm in ("Placebo", "Misleading", "Oracle"):
        page.get_by_role("checkbox", name=arm).uncheck()
    expect(page.get_by_role("button", name="Copy", exact=True)).to_be_visible()
    box(page, "How many").fill("60")
    state(page, "ready")
    assert chance(page) > few
    expect(page.locator("#figures")).to_contain_text("3,600")
    with page.expect_download() as waited:
        page.get_by_role("link", name="Download by-hand.yaml").click()
    file = tmp_path / waited.value.suggested_filename
    waited.value.save_as(file)
    assert file.name == "by-hand.yaml"
    assert read_study(file) == Study.model_validate(
        {"name": "by-hand", "cases": {"testbed": "reasoning"}, "arms": ["none", "critiques"],
         "raters": {"kind": "simulated", "count": 60}}
    )  # fmt: skip
    expect(page.locator("#command")).to_have_text("kilter oversee run by-hand.yaml")


def test_a_bad_value_is_told_at_its_field_and_mended_by_keys(office: Office, open_page: Open) -> None:  # noqa: F811
    page = open_page("/studies/new", "owner")
    page.get_by_label("Testbed").select_option("reasoning")
    cases = box(page, "Number of cases")
    cases.focus()
    press(page, "Control+a", "x")
    state(page, "wrong")
    expect(page.locator("#said")).to_contain_text("Number of cases")
    expect(cases).to_have_attribute("aria-invalid", "true")
    expect(cases).to_have_accessible_description(re.compile("whole number"))
    expect(page.locator("#given")).to_be_hidden()
    assert_accessible(page)
    cases.focus()
    press(page, "Control+a", "4", "0")
    expect(page.locator("#given")).to_be_visible()
    expect(cases).not_to_have_attribute("aria-invalid", "true")
    expect(page.locator("#file")).to_contain_text("n: 40")
    press(page, "Tab")
    expect(box(page, "Difficulty")).to_be_focused()


def test_only_what_belongs_to_the_choice_is_asked_and_sent(office: Office, open_page: Open) -> None:  # noqa: F811
    page = open_page("/studies/new", "owner")
    expect(box(page, "Words of a story")).to_be_visible()
    box(page, "Words of a story").fill("300")
    page.get_by_label("Testbed").select_option("reasoning")
    expect(box(page, "Words of a story")).to_be_hidden()
    page.get_by_label("Kind of critic").select_option("surprise")
    box(page, "Model of the critic").fill("my-critic")
    expect(page.locator("#file")).to_contain_text("critic: {kind: surprise, model: my-critic}")
    page.get_by_label("Kind of critic").select_option("model")
    expect(box(page, "Model of the critic")).to_be_visible()
    state(page, "wrong")
    box(page, "Model of the critic").fill("http://here:8000/v1")
    page.get_by_label("Kind of raters").select_option("people")
    expect(page.locator("#figures")).to_contain_text("time of people", timeout=SLOW)
    expect(page.locator("#file")).to_contain_text("kind: people")
    expect(page.locator("#file")).to_contain_text("model: 'http://here:8000/v1'")
    expect(page.locator("#file")).not_to_contain_text("300")
    assert_accessible(page)
    for arm in ("Critiques", "Placebo"):
        page.get_by_role("checkbox", name=arm).uncheck()
    expect(page.get_by_role("combobox", name="Kind of critic")).to_be_hidden()
    expect(page.locator("#file")).not_to_contain_text("critic:")


def test_by_keys_on_a_small_screen_nothing_covers_the_field_in_hand(
    office: Office, open_page: Open  # noqa: F811
) -> None:  # fmt: skip
    page = open_page("/studies/new", "owner", viewport={"width": 360, "height": 740})
    page.get_by_label("Testbed").select_option("reasoning")
    expect(page.locator("#given")).to_be_visible()
    box(page, "Name", exact=True).focus()
    seen = []
    while "download" not in seen:
        press(page, "Tab")
        seen.append(page.evaluate("document.activeElement.id || document.activeElement.value"))
        room = page.evaluate(
            """() => {
              const field = document.activeElement.getBoundingClientRect();
              const verdict = document.getElementById("said").getBoundingClientRect();
              return Math.max(verdict.top - field.bottom, field.top - verdict.bottom);
            }"""
        )
        assert room >= 0, f"the verdict covers {seen[-1]}"
    assert {"oracle", "critic-finds-", "raters-count-simulated", "expected-power-", "file", "copy"} <= set(seen)


def test_a_lost_connection_is_told_and_made_up_for(office: Office, open_page: Open) -> None:  # noqa: F811
    page = open_page("/studies/new", "owner")
    page.get_by_label("Testbed").select_option("reasoning")
    expect(page.locator("#file")).to_contain_text("reasoning")
    page.context.set_offline(True)
    box(page, "Seed").fill("7")
    expect(page.locator("#said")).to_contain_text("No connection")
    page.context.set_offline(False)
    expect(page.locator("#file")).to_contain_text("seed: 7")


def test_a_report_is_opened_from_the_list(office: Office, open_page: Open) -> None:  # noqa: F811
    def no_model(*_: object) -> ChatModel:
        raise AssertionError("no model is asked")

    assert office.site.runs is not None
    study = Study(
        name="done", cases=CasesSettings(testbed="reasoning", n=40), arms=("none", "oracle"),
        raters=SimulatedRatersSettings(count=30), expected=ExpectedSettings(ratio=2),
    )  # fmt: skip
    done = conduct(study, Workspace(office.site.runs.parent, office.site.desk.record), no_model, lambda *_: None)
    write_page(done, results_of(done))
    page = open_page("/", "auditor")
    page.get_by_role("link", name="Experiments on help").click()
    expect(page.get_by_role("listitem")).to_contain_text("1,200 of 1,200")
    assert_accessible(page)
    page.get_by_role("link", name="Report of done").click()
    expect(page.get_by_role("heading", name="done")).to_be_visible()
    styled = page.locator(".headlines").first.evaluate("one => getComputedStyle(one).listStyleType")
    assert styled == "none", "its own style holds under the policy"
    assert not page.evaluate("document.querySelector('script')")
