"""A real browser; a test fails on anything that it complains of."""

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page

from support.browsers import running_chromium, window


@pytest.fixture(scope="session")
def chromium() -> Iterator[Browser]:
    """Headless Chromium."""
    with running_chromium() as browser:
        yield browser


@pytest.fixture
def page(chromium: Browser) -> Iterator[Page]:
    """A window."""
    with window(chromium) as opened:
        yield opened
