"""A queue that sizes itself, stops starting what can't run, and does as a person says, on a real cluster."""

import json
import re
from typing import Any

import pytest

from cluster.test_metrics import scrape
from support.cluster.release import Release, longshore, out, shell

pytestmark = pytest.mark.slow


def status(release: Release) -> dict[str, Any]:
    """What `longshore status` says."""
    found: dict[str, Any] = json.loads(out(longshore(release, "status", "-o", "json")))
    return found


def page(release: Release, of: str = "status") -> dict[str, Any]:
    """What the status page is made of, from the port that the chart opens."""
    selector = "app.kubernetes.io/component=manager"
    (pod,) = release.kubectl("get", "pods", "-l", selector, "-o", "jsonpath={.items[*].metadata.name}").split()
    path = f"/api/v1/namespaces/{release.namespace}/pods/{pod}:8083/proxy/api/{of}"
    found: dict[str, Any] = json.loads(release.cluster.kubectl("get", "--raw", path))
    return found


def decided(release: Release) -> list[int]:
    """The limits that the manager has decided on, in order, by its log."""
    lines = [line for line in release.log().splitlines() if "parallelism decided" in line]
    return [int(number) for line in lines for number in re.findall(r'"?parallelism"?[=:] ?(\d+)', line)]


def events(release: Release) -> list[str]:
    """Reasons of the Events in the namespace."""
    return release.kubectl("get", "events", "-o", "jsonpath={.items[*].reason}").split()


def add(release: Release, *names: str) -> None:
    """Items that are there."""
    for name in names:
        (release.media / name).write_text("x")


def test_a_step_in_arrivals_is_followed_and_the_limit_comes_down_again(release: Release) -> None:
    """The number in the log is the one in the metrics and on the page; nothing of it is kept but in Jobs."""
    scaling = {"max": 6, "window": 20, "drainSeconds": 10}
    worker = shell("echo on it; sleep 4", image=release.cluster.shell_image)
    release.helm("install", release.values(worker=worker, scaling=scaling, status={"enabled": True}))
    add(release, "first")
    release.until("it to run", lambda: page(release)["counts"]["running"] == 1)
    release.until("the last words of the first one", lambda: page(release, "items/first")["log"] == ["on it"])
    release.until("the first one", lambda: release.outcome("first") == "Complete")
    before = max(decided(release))
    add(release, *(f"more {number:02}" for number in range(14)))
    release.until("a higher limit", lambda: decided(release)[-1] >= 4)
    at_once = sum(not job["status"].get("completionTime") for job in release.jobs().values())
    release.until("all of it", lambda: page(release)["counts"]["done"] == 15)
    release.until("a lower limit", lambda: decided(release)[-1] <= 1)

    assert before < 4
    assert at_once <= 6
    assert max(decided(release)) <= 6

    def told() -> set[float]:
        by_metrics = scrape(release)["longshore_parallelism_limit"]
        return {by_metrics, page(release)["scaling"]["parallelism"], decided(release)[-1]}

    release.until("metrics, page and log to agree", lambda: len(told()) == 1, seconds=30)


def test_an_image_that_is_not_there_costs_a_handful_of_jobs_and_mended_goes_on(release: Release) -> None:
    """Five hundred items wait; once the image is mended, nobody has to say so."""
    add(release, *(f"item {number:03}" for number in range(500)))
    worker = shell("true", image="127.0.0.1:9/none:1")
    release.helm("install", release.values(worker=worker, scaling={"max": 100, "law": "fixed"}))
    release.until("the breaker to open", lambda: status(release)["breaker"]["is_open"])
    cost = len(release.jobs())
    release.until("an Event", lambda: "BreakerOpened" in events(release))
    waiting = out(longshore(release, "explain", "item 499"))
    release.helm("upgrade", release.values(worker=shell("true", image=release.cluster.shell_image)))
    release.until("some to be done", lambda: status(release)["counts"]["done"] >= 10)

    assert 5 <= cost <= 10
    assert waiting.startswith("item 499 is waiting: the breaker is open: ")
    release.until("an Event that it is over", lambda: "BreakerClosed" in events(release))


def test_a_paused_queue_starts_nothing_whichever_manager_runs(release: Release) -> None:
    """It is kept with the records, and outlives the manager's pod."""
    release.helm("install", release.values(worker=shell("true", image=release.cluster.shell_image)))
    said = out(longshore(release, "pause"))
    release.kubectl("rollout", "restart", "deployment/q-manager")
    release.kubectl("rollout", "status", "deployment/q-manager", "--timeout=180s")
    add(release, "waits")
    release.until("it to be listed", lambda: status(release)["counts"]["waiting"] == 1)
    explained = out(longshore(release, "explain", "waits"))
    jobs = release.jobs()
    out(longshore(release, "resume"))
    release.until("it to be done", lambda: release.outcome("waits") == "Complete")

    resume = f"longshore resume -q q -n {release.namespace}"
    assert said == f"q is paused: nothing new is started. To go on: {resume}\n"
    assert explained == f"waits is waiting: the queue is paused: nothing new is started; to go on: {resume}.\n"
    assert jobs == {}
