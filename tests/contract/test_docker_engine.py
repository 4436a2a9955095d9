"""The Docker engine, on a real daemon: the engines' contract, and what only containers of a daemon can suffer."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from longshore.engines.base import Engine
from longshore.engines.docker import DockerApi, DockerEngine
from longshore.engines.docker.objects import FOLDER_LABEL
from longshore.queuefile import Queue
from support.cluster import images, tools
from support.cluster.docker import running_docker
from support.queues import queue_with

from .engine_contract import EngineContract

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def daemon() -> Iterator[None]:
    """A daemon, and images: one with a shell, and the adapter."""
    try:
        with running_docker():
            images.make_base()
            images.project_image("multi-worker")
            yield
    except tools.Missing as exc:
        pytest.skip(f"containers are run by Docker: {exc}")


def docker_engine(folder: Path) -> DockerEngine:
    """An engine on the state under `folder`, with pauses for tests."""
    return DockerEngine(
        DockerApi.from_environment({}),
        "q",
        state_folder=folder / "state",
        working_folder=folder,
        volumes=(),
        backoff_seconds=0.05,
    )


def left(folder: Path) -> Sequence[str]:
    """Containers and volumes of a queue."""
    ours = f"label={FOLDER_LABEL}={folder / 'state'}"
    containers = images.docker("ps", "--all", "--format", "{{.Names}}", "--filter", ours).split()
    return [*containers, *images.docker("volume", "ls", "--quiet", "--filter", ours).split()]


def seen_by_workers(folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    """The volume and the mount that show a test's folder to its workers, under its own path."""
    return {"name": "test", "hostPath": {"path": str(folder)}}, {"name": "test", "mountPath": str(folder)}


class TestDockerEngine(EngineContract):
    """The Docker engine keeps the engines' contract."""

    @pytest.fixture
    def folder(self, tmp_path: Path) -> Iterator[Path]:
        """A folder that containers see under the same path; nothing of the queue is left at the end."""
        tmp_path.chmod(0o777)
        yield tmp_path
        assert left(tmp_path) == []

    def make_engine(self, folder: Path) -> Engine:
        """A fresh engine, as another manager process would have it."""
        return docker_engine(folder)

    def queue(self, folder: Path, script: str, **retry: int) -> Queue:
        """Workers run in an image with a shell, and see the test's folder."""
        volume, mount = seen_by_workers(folder)
        worker = {
            "image": images.BASE,
            "command": ["sh", "-c", script, "sh", "${name}"],
            "podTemplate": {"spec": {"volumes": [volume], "containers": [{"name": "worker", "volumeMounts": [mount]}]}},
        }
        return queue_with(folder, worker=worker, retry=retry)

    def chain(self, folder: Path, stages: Sequence[dict[str, Any]], **retry: int) -> Queue:
        """Each stage runs in that image, and sees the same folder."""
        volume, mount = seen_by_workers(folder)
        *before, last = [{"name": stage["name"], "volumeMounts": [mount]} for stage in stages]
        worker = {
            "stages": [{**stage, "image": images.BASE} for stage in stages],
            "adapterImage": images.project_image("multi-worker"),
            "podTemplate": {"spec": {"volumes": [volume], "initContainers": before, "containers": [last]}},
        }
        return queue_with(folder, worker=worker, retry=retry)
