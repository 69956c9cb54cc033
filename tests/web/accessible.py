"""What every page must hold: nothing serious for axe, in light and in dark, and nothing wider than the window."""

from __future__ import annotations

from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page

WIDTHS = (1280, 360)
CONTRAST = {"resultTypes": ["violations"], "runOnly": ["color-contrast"]}


def assert_accessible(page: Page) -> None:
    """The page as it is now: nothing is cut off at any width, and axe finds nothing serious. It is left dark."""
    for width in WIDTHS:
        page.set_viewport_size({"width": width, "height": 740})
        is_inside = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert is_inside, f"{page.url} is wider than {width} pixels"
    page.emulate_media(color_scheme="light")
    _assert_nothing_serious(page, Axe().run(page).response)
    page.emulate_media(color_scheme="dark")
    _assert_nothing_serious(page, Axe().run(page, options=CONTRAST).response)


def _assert_nothing_serious(page: Page, response: dict) -> None:  # type: ignore[type-arg]
    found = [one for one in response["violations"] if one["impact"] in ("serious", "critical")]
    assert not found, (page.url, [f"{one['id']}: {one['nodes'][0]['html'][:150]}" for one in found])
