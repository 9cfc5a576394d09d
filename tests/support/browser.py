"""Debian's chromium, as people use pages: on a desk in the light, and on a small phone in the dark."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.support.rendering import program

if TYPE_CHECKING:
    from playwright.sync_api import Browser, ConsoleMessage, Page

SIZES: dict[str, dict[str, Any]] = {
    "desktop": {"viewport": {"width": 1280, "height": 800}, "color_scheme": "light"},
    "phone": {
        "viewport": {"width": 320, "height": 640},
        "color_scheme": "dark",
        "has_touch": True,
        "is_mobile": True,
    },
}
PATIENCE = 60_000
"""Milliseconds for what takes a build; no test waits so long that ends well."""
SERIOUS = {"serious", "critical"}
NOT_OURS = (
    "the server responded with a status of",
    "sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=",
)
"""Refusals that a test asks for, and the empty style (by its hash) that Playwright's pictures try."""


@dataclass
class Looker:
    """Somebody with a browser of one size; `faults` are what the browser complained of."""

    browser: Browser
    size: str
    folder: Path
    faults: list[str] = field(default_factory=list)

    @contextmanager
    def page(self, url: str, **more: Any) -> Iterator[Page]:
        """A page of this size; its addresses count from `url`, `more` is Playwright's."""
        with self.browser.new_context(**SIZES[self.size] | more, base_url=url) as context:
            context.set_default_timeout(PATIENCE)
            page = context.new_page()
            page.on("pageerror", lambda error: self.faults.append(str(error)))
            page.on("console", self._heard)
            yield page

    def _heard(self, message: ConsoleMessage) -> None:
        """Take down what is an error of ours."""
        if message.type == "error" and not any(words in message.text for words in NOT_OURS):
            self.faults.append(message.text)

    def keep(self, page: Page, name: str) -> None:
        """Keep what is to be seen once all is loaded, and hold it to what all pages must be."""
        from axe_playwright_python.sync_playwright import Axe

        page.wait_for_load_state()
        settled(page)
        page.screenshot(path=self.folder / f"{name}-{self.size}.png", full_page=True)
        width = page.evaluate("document.documentElement.scrollWidth")
        assert page.viewport_size is not None
        assert width <= page.viewport_size["width"], f"{name} is {width} pixels wide"
        found = Axe().run(page).response["violations"]
        serious = [(each["id"], each["nodes"][0]["html"]) for each in found if each["impact"] in SERIOUS]
        assert not serious, serious


def settled(page: Page) -> None:
    """Wait until a page asks for nothing any more, and has put in what came."""
    from playwright.sync_api import expect

    expect(page.locator(".htmx-request")).to_have_count(0)


def hear(page: Page, *events: str) -> None:
    """Have the list of nodes hear events, that of a new board without any named, and be as they have it."""
    page.evaluate(";".join(f"htmx.trigger('#table', 'sse:{each}')" for each in events or ["board"]))
    settled(page)


@contextmanager
def chromium() -> Iterator[Browser]:
    """The browser while the block runs; root may only have it without its sandbox."""
    from playwright.sync_api import expect, sync_playwright

    expect.set_options(timeout=PATIENCE)
    path = program("chromium", "chromium")
    arguments = ["--no-sandbox"] if os.geteuid() == 0 else []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=arguments)
        try:
            yield browser
        finally:
            browser.close()


def screenshots(temporary: Callable[[], Path]) -> Path:
    """Where pictures are kept: the folder that METIS_TEST_SCREENSHOTS names, else one of the test's own."""
    named = os.environ.get("METIS_TEST_SCREENSHOTS")
    folder = Path(named).absolute() if named else temporary()
    folder.mkdir(parents=True, exist_ok=True)
    return folder
