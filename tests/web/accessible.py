"""What every page must hold: nothing serious for axe, in light and in dark, and nothing wider than the window."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

NARROW = 400
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}


def assert_accessible(page: Page) -> None:
    """The page as it is now. What axe looks at does not depend on the width, so it looks where the page is narrow."""
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), f"{page.url} is wider than its window"
    if page.viewport_size is not None and page.viewport_size["width"] < NARROW:
        page.emulate_media(color_scheme="light")
        _assert_nothing_serious(page, Axe().run(page).response)
        page.emulate_media(color_scheme="dark")
        _assert_nothing_serious(page, Axe().run(page, options=CONTRAST).response)


def _assert_nothing_serious(page: Page, response: dict) -> None:  # type: ignore[type-arg]
    found = [one for one in response["violations"] if one["impact"] in ("serious", "critical")]
    assert not found, (page.url, [f"{one['id']}: {one['nodes'][0]['html'][:150]}" for one in found])
