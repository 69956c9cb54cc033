"""What every page must hold: nothing serious for axe, in light and in dark, and nothing wider than the window."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

NARROW = 400
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}  # nothing else depends on the colors


def assert_accessible(page: Page) -> None:
    """The page as it is now. Colors do not depend on the width, so dark is looked at where it is narrow, and left."""
    page.emulate_media(color_scheme="light")
    _assert_nothing_serious(page, Axe().run(page).response)
    if page.viewport_size is not None and page.viewport_size["width"] < NARROW:
        page.emulate_media(color_scheme="dark")
        _assert_nothing_serious(page, Axe().run(page, options=CONTRAST).response)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is wider than its window"


def _assert_nothing_serious(page: Page, response: dict) -> None:  # type: ignore[type-arg]
    found = [one for one in response["violations"] if one["impact"] in ("serious", "critical")]
    assert not found, (page.url, [f"{one['id']}: {one['nodes'][0]['html'][:150]}" for one in found])
