"""What Prometheus would read of a manager on a real cluster."""

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.cluster.release import Release, shell

pytestmark = pytest.mark.slow


def scrape(release: Release) -> dict[str, float]:
    """The manager's metrics, from the port and path that the PodMonitor names."""
    selector = "app.kubernetes.io/component=manager"
    pods = release.cluster.kubectl("-n", release.namespace, "get", "pods", "-l", selector, "-o", "name").split()
    name = pods[0].removeprefix("pod/")
    text = release.cluster.kubectl(
        "get", "--raw", f"/api/v1/namespaces/{release.namespace}/pods/{name}:8082/proxy/metrics"
    )
    return {
        sample.name + "".join(f"[{value}]" for value in sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def test_a_queue_is_read_in_numbers(release: Release) -> None:
    """One item done, one failed: as Prometheus' own parser reads it."""
    script = 'test "$1" = good'
    release.helm(
        "install", release.values(worker=shell(script, image=release.cluster.shell_image), retry={"attempts": 1})
    )
    for name in ("good", "bad"):
        (release.media / name).write_text(name)
    release.until("both ended", lambda: [release.outcome(name) for name in ("good", "bad")] == ["Complete", "Failed"])
    ended = {f"longshore_items_finished_total[{outcome}]": 1.0 for outcome in ("done", "failed")}
    release.until("the manager saw it", lambda: ended.items() <= scrape(release).items())

    found = scrape(release)

    assert {name: value for name, value in found.items() if name.startswith("longshore_items[")} == {
        "longshore_items[waiting]": 0,
        "longshore_items[starting]": 0,
        "longshore_items[running]": 0,
        "longshore_items[done]": 1,
        "longshore_items[failed]": 1,
    }
    assert (found["longshore_source_up"], found["longshore_processing_seconds_count"]) == (1, 1)
    assert (found["longshore_jobs_created_total"], found["longshore_wait_seconds_count"]) == (2, 2)
    # prometheus-client sorts labels by name: code, verb.
    assert found["longshore_kubernetes_requests_total[201][create]"] >= 2
    assert found["longshore_kubernetes_requests_total[200][watch]"] >= 2
    assert (found["longshore_ledger_up"], found["longshore_breaker_open"], found["longshore_mode[running]"]) == (
        1,
        0,
        1,
    )
