"""A real browser, as Debian ships it, and a window in it; a test fails on anything that the window complains of."""

import shutil
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, sync_playwright


@contextmanager
def running_chromium() -> Iterator[Browser]:
    """Headless Chromium; playwright's own would have to be downloaded."""
    program = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no Chromium here: make test-servers, or apt-get install chromium")
    with sync_playwright() as playwright:
        # Its sandbox needs more than a container's root has; it loads our own page only.
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        yield browser
        browser.close()


@contextmanager
def window(browser: Browser) -> Iterator[Page]:
    """A window; what the browser refuses, or a script throws, fails the test."""
    context = browser.new_context(viewport={"width": 1280, "height": 900}, locale="en-GB")
    opened = context.new_page()
    complaints: list[str] = []

    def note(said: ConsoleMessage) -> None:
        # A test's server ends with its test, a moment before its page does.
        is_after_the_end = "net::ERR_" in said.text and not _listens(said.location["url"])
        if said.type in {"error", "warning"} and not is_after_the_end:
            complaints.append(said.text)

    opened.on("console", note)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    expected = getattr(opened, "expected_complaints", ())
    context.close()
    # Containers that start or stop anywhere on the machine bring a network along, and Chromium drops what is under way.
    known = (*expected, "net::ERR_NETWORK_CHANGED")
    assert [one for one in complaints if not any(word in one for word in known)] == []


def expect_complaint(page: Page, *words: str) -> None:
    """What the browser says of a request that was refused, or not answered, is meant."""
    page.expected_complaints = words  # type: ignore[attr-defined] # a test's own, on playwright's object


def _listens(url: str) -> bool:
    """Whether anybody is there to be asked."""
    parts = urlsplit(url)
    with socket.socket() as asking:
        return asking.connect_ex((parts.hostname or "", parts.port or 80)) == 0
