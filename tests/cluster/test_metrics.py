"""What Prometheus would read of a manager on a real cluster."""

import json
from typing import Final

import pytest
from prometheus_client.parser import text_string_to_metric_families

from support.cluster.release import CHART, Release, shell
from support.servers.prometheus import PrometheusServer

pytestmark = pytest.mark.slow
DASHBOARD: Final = CHART / "dashboards" / "longshore.json"


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


def test_every_panel_of_the_dashboard_has_data(release: Release) -> None:
    """Asked of a real Prometheus that scrapes the manager's pod, while one item is done and one fails."""
    if release.cluster.node is None:
        pytest.skip("a pod is asked by its address, which is this machine's with a cluster of its own alone")
    worker = shell('test "$1" != bad', image=release.cluster.shell_image)
    release.helm("install", release.values(worker=worker, retry={"attempts": 2}))
    pod = "app.kubernetes.io/component=manager"
    ip = release.kubectl("get", "pods", "-l", pod, "-o", "jsonpath={.items[0].status.podIP}")
    labels = {"namespace": release.namespace, "queue": "q"}
    asked = {
        f"{panel['title']}: {target['expr']}": target["expr"]
        .replace("$namespace", release.namespace)
        .replace("$queue", "q")
        for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]
        for target in panel["targets"]
        # Of a cluster that refuses nothing there is nothing to show.
        if 'code!~"2.."' not in target["expr"]
    }
    with PrometheusServer(f"{ip}:8082", labels) as prometheus:

        def empty() -> list[str]:
            """Panels that show nothing, or what is no number."""
            answers = {name: prometheus.query(expression) for name, expression in asked.items()}
            return [name for name, found in answers.items() if not any(float(one["value"][1]) >= 0 for one in found)]

        release.until("a scrape", lambda: prometheus.query("longshore_build_info") != [])
        for name in ("good", "bad"):
            (release.media / name).write_text(name)
        release.until("every panel to have data", lambda: empty() == [])


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
