"""A real browser, as Debian ships it, and a window in it; a test fails on anything that the window complains of."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from playwright.sync_api import Browser, Page, sync_playwright


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
    opened.on("console", lambda said: complaints.append(said.text) if said.type in {"error", "warning"} else None)
    opened.on("pageerror", lambda error: complaints.append(str(error)))
    opened.on("dialog", lambda dialog: complaints.append(dialog.message))
    yield opened
    expected = getattr(opened, "expected_complaints", ())
    context.close()
    # Containers that start or stop anywhere on the machine bring a network along, and Chromium drops what is under way.
    # And a test's server ends with its test, a moment before its page does.
    gone = ("net::ERR_CONNECTION_REFUSED", "net::ERR_CONNECTION_RESET", "net::ERR_EMPTY_RESPONSE")
    known = (*expected, "net::ERR_NETWORK_CHANGED", *gone)
    assert [one for one in complaints if not any(word in one for word in known)] == []
