"""The chart's manifests, and the Jobs of the queues in them, against Kubernetes' own schemas, strictly and offline.

Strict: a field that Kubernetes does not know is an error, where a cluster would drop it and say nothing.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate  # type: ignore[import-untyped]  # it has no types
import pytest

from longshore.manifests import (
    INLINE_MAX_BYTES,
    Bundle,
    Layout,
    bundle_for,
    mounts_at_root,
    refused_bundle,
    sample_item,
)
from longshore.queuefile import Queue, parse
from longshore_kit.contract import Item

from .conftest import CHART, KUBE_VERSION, Chart, queue_config

OLDEST = KUBE_VERSION.removeprefix("--kube-version=")
NEWEST = str(kubernetes_validate.latest_version())
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))

FOREIGN = {("monitoring.coreos.com/v1", kind) for kind in ("PodMonitor", "ServiceMonitor", "PrometheusRule")}
"""Kinds that Kubernetes itself does not have: tests/cluster/test_dry_run.py has their own schemas."""

each_scenario = pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
each_version = pytest.mark.parametrize("version", [OLDEST, NEWEST])


def mistakes(manifest: dict[str, Any], version: str) -> list[str]:
    """What a Kubernetes of this version would not take, or not know."""
    try:
        known_as = kubernetes_validate.validate(manifest, version, strict=True)
    except kubernetes_validate.ValidationError as exc:
        return [f"{manifest['kind']} {'.'.join(map(str, exc.path))}: {exc.message}"]
    except kubernetes_validate.SchemaNotFoundError as exc:
        return [exc.message]
    # It falls back on the nearest older version.
    assert version.startswith(known_as)
    return []


def queue_of(chart: Chart, scenario: Path) -> Queue:
    """The queue whose file the chart writes into the manager's ConfigMap."""
    text = queue_config(chart.manifests("--values", str(scenario)))["data"]["queue.yaml"]
    spec = parse(text, "queue.yaml")
    return Queue(name=spec.queue.name, spec=spec, folder=Path("/"))


def sample_of(queue: Queue, padding: str = "") -> Bundle:
    """What is made for an item that has all that the worker asks for, and `padding`."""
    sample = sample_item(queue.spec.worker)
    data = {**sample.data, "padding": padding} if padding else sample.data
    layout = Layout(mounts=mounts_at_root(list(queue.spec.volumes)))
    return bundle_for(queue, Item(name=sample.name, data=data), layout)


def objects_of(bundle: Bundle) -> Iterator[dict[str, Any]]:
    """The Job, and its payload if it has one."""
    yield bundle.job
    if bundle.payload:
        yield bundle.payload


@each_version
@each_scenario
def test_every_manifest_is_one_that_kubernetes_knows(chart: Chart, scenario: Path, version: str) -> None:
    """In the oldest version that the chart is for, and in the newest whose schemas there are."""
    manifests = chart.manifests("--values", str(scenario)).values()
    known = [one for one in manifests if (one["apiVersion"], one["kind"]) not in FOREIGN]

    assert [mistake for manifest in known for mistake in mistakes(manifest, version)] == []


@each_version
@each_scenario
def test_the_jobs_of_every_queue_are_too(chart: Chart, scenario: Path, version: str) -> None:
    """With the pod template that the chart gives the manager, whether the data rides in the Job or beside it."""
    queue = queue_of(chart, scenario)
    small, large = sample_of(queue), sample_of(queue, "x" * INLINE_MAX_BYTES)
    refused = refused_bundle(queue, "sample", "a reason")

    assert "suspend" not in small.job["spec"] | large.job["spec"]
    assert large.payload is not None
    made = [one for bundle in (small, large, refused) for one in objects_of(bundle)]
    assert [mistake for manifest in made for mistake in mistakes(manifest, version)] == []


@each_version
def test_a_field_that_kubernetes_does_not_know_is_found(chart: Chart, version: str) -> None:
    """Deep in a pod too: else the tests above would say nothing."""
    job = sample_of(queue_of(chart, SCENARIOS[0])).job
    job["spec"]["template"]["spec"]["containers"][0]["comand"] = ["true"]

    (mistake,) = mistakes(job, version)

    assert mistake.startswith("Job spec.template.spec.containers.0: ")
    assert "'comand' was unexpected" in mistake
