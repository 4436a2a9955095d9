"""The chart's manifests before the real API server: what it would take, field by field."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import tools
from support.cluster.cluster import Cluster
from support.cluster.release import CHART, Release, shell

pytestmark = pytest.mark.slow
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))
KINDS = tuple(f"customresourcedefinition/{kind}.monitoring.coreos.com" for kind in tools.MONITORING_KINDS)


@pytest.fixture(scope="module")
def monitoring(cluster: Cluster) -> Iterator[None]:
    """A cluster that knows monitors and rules, as one with a Prometheus operator does; afterwards as it was."""
    known = cluster.kubectl("get", "customresourcedefinitions", "-o", "name")
    made = [
        (kind, file) for kind, file in zip(KINDS, tools.monitoring_kinds(), strict=True) if name_of(kind) not in known
    ]
    for kind, file in made:
        # Server-side, since an annotation of the whole would be too long.
        cluster.kubectl("apply", "--server-side", "-f", str(file))
        cluster.kubectl("wait", "--for=condition=Established", kind, "--timeout=60s")
    yield
    for kind, _ in made:
        cluster.kubectl("delete", kind)


def name_of(kind: str) -> str:
    """Without what sort of object it is."""
    return kind.partition("/")[2]


def rendered(scenario: Path, namespace: str) -> list[dict[str, Any]]:
    """What helm makes of a scenario."""
    command = [str(tools.helm()), "template", "q", str(CHART), "--kube-version=1.31.0", "--namespace", namespace]
    ended = subprocess.run([*command, "--values", str(scenario)], check=True, capture_output=True, text=True)
    return [one for one in yaml.safe_load_all(ended.stdout) if one]


def as_template(manifest: dict[str, Any]) -> dict[str, Any]:
    """
    A Pod as the template of one, anything else as it is.

    A Pod by itself is refused while its service account and priority class are not there; its fields are the same.
    """
    if manifest["kind"] != "Pod":
        return manifest
    template = {"metadata": {"labels": manifest["metadata"]["labels"]}, "spec": manifest["spec"]}
    return {"apiVersion": "v1", "kind": "PodTemplate", "metadata": manifest["metadata"], "template": template}


def dry_run(cluster: Cluster, namespace: str, file: Path, manifests: list[dict[str, Any]]) -> list[str]:
    """
    What the API server would have made of them, by name.

    Raises:
        CalledProcessError: it refuses one.
    """
    file.write_text(yaml.safe_dump_all(manifests), encoding="utf-8")
    arguments = ["apply", "--dry-run=server", "--validate=strict", "-f", str(file), "-o", "name"]
    return cluster.kubectl("-n", namespace, *arguments).splitlines()


@pytest.mark.usefixtures("monitoring")
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_api_server_takes_every_scenario(cluster: Cluster, namespace: str, tmp_path: Path, scenario: Path) -> None:
    """A server-side dry run with strict fields: nothing is unknown, nothing stands twice."""
    manifests = [as_template(one) for one in rendered(scenario, namespace)]

    said = dry_run(cluster, namespace, tmp_path / "manifests.yaml", manifests)

    assert len(said) == len(manifests)


@pytest.mark.usefixtures("monitoring")
def test_a_field_that_a_pod_monitor_does_not_have_is_refused(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """By the operator's own types: else the test above would say nothing of it."""
    manifests = rendered(CHART / "ci" / "metrics-values.yaml", namespace)
    (monitor,) = [one for one in manifests if one["kind"] == "PodMonitor"]
    monitor["spec"]["podMetricsEndpoints"][0]["intervall"] = "1m"

    with pytest.raises(subprocess.CalledProcessError) as refusal:
        dry_run(cluster, namespace, tmp_path / "manifests.yaml", [monitor])

    assert 'unknown field "spec.podMetricsEndpoints[0].intervall"' in refusal.value.stderr


@pytest.mark.parametrize(("path", "is_warned"), [("/var/run/docker.sock", True), ("/var/run", False)])
def test_who_gives_workers_a_docker_socket_is_told_what_that_means(
    release: Release, path: str, *, is_warned: bool
) -> None:
    """Loudly, at every install: it is root on the node."""
    pod = {"spec": {"volumes": [{"name": "docker", "hostPath": {"path": path}}]}}
    worker = shell("true", image=release.cluster.shell_image, podTemplate=pod)
    said = release.dry_install(release.values(worker=worker))

    assert ("WARNING: the workers of this queue see a Docker socket" in said) is is_warned
