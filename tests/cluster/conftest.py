"""The cluster that these tests run on: the one that KUBECONFIG names, or one of their own, started once per run."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from support.cluster import tools
from support.cluster.cluster import Cluster, own_cluster
from support.cluster.release import Release, release_in


@pytest.fixture(scope="session")
def cluster() -> Iterator[Cluster]:
    """A cluster that takes pods, with an image that has a shell."""
    if given := os.environ.get("KUBECONFIG"):
        yield Cluster(Path(given), None)
        return
    try:
        with own_cluster() as cluster:
            yield cluster
    except tools.Missing as exc:
        pytest.skip(str(exc))


@pytest.fixture
def namespace(cluster: Cluster) -> Iterator[str]:
    """A namespace of the test's own."""
    with cluster.namespace() as name:
        yield name


@pytest.fixture
def release(cluster: Cluster, namespace: str, tmp_path: Path) -> Release:
    """A release to install, in a namespace of its own."""
    return release_in(cluster, namespace, tmp_path)
