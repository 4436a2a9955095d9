"""The chart, rendered by the real helm."""

import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import yaml

from support.cluster import tools

KUBE_VERSION = "--kube-version=1.31.0"
"""The oldest that the chart is for; a helm that was built from its module knows no version of its own."""
CHART = Path(__file__).parents[2] / "charts" / "longshore"


@dataclass(frozen=True)
class Chart:
    """What helm says of it."""

    helm: str

    def run(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """One command of helm."""
        return subprocess.run([self.helm, *arguments], capture_output=True, text=True, check=False)

    def template(self, *arguments: str) -> "subprocess.CompletedProcess[str]":
        """All manifests of a release called thumbs, as text."""
        return self.run("template", "thumbs", str(CHART), "--namespace", "media", KUBE_VERSION, *arguments)

    def manifests(self, *arguments: str) -> dict[str, dict[str, Any]]:
        """All manifests, by kind and name."""
        ended = self.template(*arguments)
        assert ended.returncode == 0, ended.stderr
        found = [one for one in yaml.safe_load_all(ended.stdout) if one]
        return {f"{one['kind']}/{one['metadata']['name']}": one for one in found}


def queue_config(manifests: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """The ConfigMap with the manager's queue file."""
    return next(one for name, one in manifests.items() if name.endswith("-longshore-queue"))


@pytest.fixture(scope="session")
def chart() -> Chart:
    """The chart of this repository."""
    try:
        return Chart(str(tools.helm()))
    except tools.Missing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def values(tmp_path: Path) -> Callable[[dict[str, Any]], str]:
    """Writes values, and gives the file."""

    def write(document: dict[str, Any]) -> str:
        path = tmp_path / "values.yaml"
        path.write_text(yaml.safe_dump(document), encoding="utf-8")
        return str(path)

    return write
