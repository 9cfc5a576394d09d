"""What tests of pages look with: a real browser, on a desk and on a phone."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.browser import SIZES, Looker, chromium, screenshots

if TYPE_CHECKING:
    from playwright.sync_api import Browser

PATIENCE = 60_000
"""Milliseconds for what takes a build; no test waits so long that ends well."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import expect

    expect.set_options(timeout=PATIENCE)
    with chromium() as browser:
        yield browser


@pytest.fixture(scope="module")
def pictures(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return screenshots(lambda: tmp_path_factory.mktemp("screenshots"))


@pytest.fixture(params=SIZES)
def looker(request: pytest.FixtureRequest, browser: Browser, pictures: Path) -> Iterator[Looker]:
    """Whose browser complained of nothing in the end."""
    looker = Looker(browser, request.param, pictures)
    yield looker
    assert looker.faults == []
