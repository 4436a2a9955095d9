"""The chart's manifests before the real API server: what it would take, field by field."""

import subprocess
from pathlib import Path

import pytest

from support.cluster import tools
from support.cluster.cluster import Cluster
from support.cluster.release import CHART

pytestmark = pytest.mark.slow
SCENARIOS = sorted((CHART / "ci").glob("*-values.yaml"))


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda path: path.name.removesuffix("-values.yaml"))
def test_the_api_server_takes_every_scenario(cluster: Cluster, namespace: str, tmp_path: Path, scenario: Path) -> None:
    """A server-side dry run with strict fields: nothing is unknown, nothing stands twice."""
    command = [str(tools.helm()), "template", "q", str(CHART), "--kube-version=1.31.0", "--namespace", namespace]
    rendered = subprocess.run([*command, "--values", str(scenario)], check=True, capture_output=True, text=True).stdout
    file = tmp_path / "manifests.yaml"
    file.write_text(rendered, encoding="utf-8")

    said = cluster.kubectl(
        "-n", namespace, "apply", "--dry-run=server", "--validate=strict", "-f", str(file), "-o", "name"
    )

    assert len(said.splitlines()) == sum(line.startswith("kind:") for line in rendered.splitlines())
