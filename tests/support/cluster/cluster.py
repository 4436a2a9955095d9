"""A cluster as tests see it: its kubeconfig, namespaces of their own, and images that it has."""

import contextlib
import os
import secrets
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from longshore.engines.kubernetes.api import Api, NotThere
from support import sharing
from support.cluster import images, tools
from support.cluster.docker import running_docker
from support.cluster.node import Node

WAIT_SECONDS = 120.0


@dataclass(frozen=True)
class Cluster:
    """One cluster, as somebody who may do anything there."""

    kubeconfig: Path
    node: Node | None
    """The node, where it is our own."""

    def api(self, namespace: str) -> Api:
        """A client in a namespace."""
        return Api.connect(namespace=namespace, kubeconfig=self.kubeconfig)

    @property
    def shell_image(self) -> str:
        """An image with a shell and nothing of ours."""
        return images.BASE if self.node else os.environ.get("LONGSHORE_TEST_IMAGE", "python:3.13-slim-trixie")

    def use_image(self, reference: str) -> None:
        """Have the node know an image of this machine's Docker."""
        if self.node and not self.node.has_image(reference):
            self.node.load_image(reference)

    def project_image(self, name: str) -> str:
        """The reference of an image of this repository, which the node has."""
        if self.node is None:
            registry, tag = os.environ.get("LONGSHORE_TEST_REGISTRY", ""), os.environ.get("LONGSHORE_TEST_TAG", "0.1.0")
            return f"{registry}/longshore/{name}:{tag}".lstrip("/")
        reference = images.project_image(name)
        self.use_image(reference)
        return reference

    @contextlib.contextmanager
    def namespace(self, labels: Mapping[str, str] | None = None) -> Iterator[str]:
        """A fresh namespace, deleted at the end; its deletion is not waited for."""
        name = f"longshore-test-{secrets.token_hex(4)}"
        api = self.api(name)
        metadata: dict[str, Any] = {"name": name, "labels": dict(labels or {})}
        api.create("/api/v1/namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": metadata})
        try:
            _until_there(api, f"/api/v1/namespaces/{name}/serviceaccounts/default")
            yield name
        finally:
            self.kubectl("delete", "namespace", name, "--wait=false")
            api.close()

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints."""
        program = str(self.node.programs / "kubectl") if self.node else "kubectl"
        command = [program, f"--kubeconfig={self.kubeconfig}", *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout


@contextlib.contextmanager
def own_cluster() -> Iterator[Cluster]:
    """
    A cluster on this machine; one that runs already (`make cluster-up`) is used as it is and left running.

    Raises:
        tools.Missing: this machine can't.
    """
    tools.check_machine()
    node = Node(sharing.cache_folder() / "node", tools.kubernetes())
    is_ours = not node.is_up()
    with running_docker():
        images.make_base()
        try:
            if is_ours:
                node.up()
            cluster = Cluster(node.kubeconfig, node)
            cluster.use_image(images.BASE)
            yield cluster
        finally:
            if is_ours:
                node.down()


def main(arguments: list[str]) -> int:
    """`up` or `down`: a cluster that stays, for as long as somebody works with it."""
    node = Node(sharing.cache_folder() / "node", tools.kubernetes())
    if arguments == ["down"]:
        node.down()
        return 0
    try:
        if not node.is_up():
            with running_docker():
                node.up()
    except tools.Missing as exc:
        sys.stderr.write(f"{exc}\n")
        return 1
    sys.stdout.write(f"export KUBECONFIG={node.kubeconfig}\n")
    return 0


def _until_there(api: Api, path: str) -> None:
    """Wait for what a controller makes; there is no event for it without a watch, and it takes a moment."""
    until = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            api.get(path)
        except NotThere:
            if time.monotonic() > until:
                raise
            time.sleep(0.1)  # see above
        else:
            return


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
