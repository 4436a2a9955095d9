"""The status page of a release: a Service, a token in a Secret, and a person with a browser."""

import pytest
from playwright.sync_api import Page, expect

from cluster.test_steering import status
from support.browsers import expect_complaint, running_chromium, window
from support.cluster.release import Release, longshore, out, shell

pytestmark = pytest.mark.slow
PATIENCE_MS = 60_000


def address(release: Release) -> str:
    """Where the Service is, as anybody in the cluster asks it."""
    ip = release.kubectl("get", "service", "q-manager", "-o", "jsonpath={.spec.clusterIP}")
    return f"http://{ip}:8083/"


def row(page: Page, item: str) -> None:
    """Open an item among those that have failed."""
    page.locator("#failed").get_by_role("button", name=item).click(timeout=PATIENCE_MS)


def test_a_person_mends_a_queue_from_the_page(release: Release) -> None:
    """Sees what failed and its last words, is refused without the token, retries with it, pauses and resumes."""
    if release.cluster.node is None:
        pytest.skip("a Service is asked by its address, which is this machine's with a cluster of its own alone")
    release.kubectl("create", "secret", "generic", "page", "--from-literal=token=s3same")
    worker = shell(
        'echo "looking at $1"; test -e /out/mended || { echo "no such map"; exit 65; }',
        image=release.cluster.shell_image,
        volumes=["media", "out"],
    )
    (release.media / "<i>a b").write_text("x")
    release.helm("install", release.values(worker=worker, status={"enabled": True, "existingSecret": "page"}))
    release.until("it to fail", lambda: out(longshore(release, "dead", "-o", "name")) != "")
    (release.out / "mended").touch()

    with running_chromium() as browser, window(browser) as page:
        # Without TLS a browser heeds one of the page's headers on loopback alone, and says so.
        expect_complaint(page, "401", "Cross-Origin-Opener-Policy header has been ignored")
        page.goto(address(release))
        row(page, "<i>a b")
        expect(page.locator("#failed")).to_contain_text(
            "after 1 attempt, exit code 65: no such map", timeout=PATIENCE_MS
        )
        expect(page.locator("#failed pre")).to_contain_text("looking at <i>a b", timeout=PATIENCE_MS)
        page.get_by_label("Token").fill("guess")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator("#acted")).to_have_text("That is not the token: type it above.")
        still = out(longshore(release, "dead", "-o", "name"))
        page.get_by_label("Token").fill("s3same")
        page.get_by_role("button", name="Retry").click()
        expect(page.locator("#acted")).to_have_text("1 will be tried again.", timeout=PATIENCE_MS)
        release.until("it to be done", lambda: status(release)["counts"]["done"] == 1)

        page.get_by_role("button", name="Pause").click()
        expect(page.locator("#mode")).to_have_text("paused", timeout=PATIENCE_MS)
        (release.media / "waits").write_text("x")
        expect(page.locator("body")).to_contain_text("the queue is paused: nothing new", timeout=PATIENCE_MS)
        page.get_by_role("button", name="Resume").click()
        release.until("the other to be done", lambda: status(release)["counts"]["done"] == 2)

    assert still == "<i>a b\n"
