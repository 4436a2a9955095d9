"""The Kubernetes engine against a real API server, controllers, kubelet and container runtime."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from contract.engine_contract import EngineContract
from longshore.engines.base import Engine
from longshore.engines.kubernetes import KubernetesEngine
from longshore.queuefile import Queue
from support.cluster.cluster import Cluster
from support.queues import queue_with

pytestmark = pytest.mark.slow


class TestKubernetesEngine(EngineContract):
    """The Kubernetes engine keeps the engines' contract."""

    @pytest.fixture(autouse=True)
    def _place(self, cluster: Cluster, namespace: str) -> None:
        self.cluster, self.namespace = cluster, namespace

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Path:
        """A folder of the node, which pods see under the same path."""
        tmp_path.chmod(0o777)
        return tmp_path

    def make_engine(self, folder: Path) -> Engine:  # noqa: ARG002 - state lies in the cluster
        """A fresh engine, as another manager would have it."""
        return KubernetesEngine(self.cluster.api(self.namespace), "q", mounts={})

    def end_workers(self, folder: Path) -> None:
        """The namespace goes, with all that is in it."""

    def queue(self, folder: Path, script: str, **retry: int) -> Queue:
        """Workers run in an image with a shell, and see the test's folder."""
        volume = {"name": "test", "hostPath": {"path": str(folder)}}
        container = {"name": "worker", "volumeMounts": [{"name": "test", "mountPath": str(folder)}]}
        worker = {
            "image": self.cluster.shell_image,
            "command": ["sh", "-c", script, "sh", "${name}"],
            "podTemplate": {"spec": {"volumes": [volume], "containers": [container]}},
        }
        return queue_with(folder, worker=worker, retry=retry)

    def chain(self, folder: Path, stages: Sequence[dict[str, Any]], **retry: int) -> Queue:
        """Each stage runs in that image, and sees the same folder."""
        volume = {"name": "test", "hostPath": {"path": str(folder)}}
        *before, last = [
            {"name": stage["name"], "volumeMounts": [{"name": "test", "mountPath": str(folder)}]} for stage in stages
        ]
        pod = {"volumes": [volume], "initContainers": before, "containers": [last]}
        worker = {
            "stages": [{**stage, "image": self.cluster.shell_image} for stage in stages],
            "adapterImage": self.cluster.project_image("multi-worker"),
            "podTemplate": {"spec": pod},
        }
        return queue_with(folder, worker=worker, retry=retry)
