"""The chart, installed: what tests and benches do with a release, and how they look at it from outside.

Owns `helm`, the folders of the node that a queue reads and writes, and the wait for what a cluster does by itself.
Refuses to look into the manager: what it says here is what `kubectl` shows to anybody.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import yaml

from support.cluster import tools
from support.cluster.cluster import Cluster

CHART: Final = Path(__file__).parents[3] / "charts" / "longshore"
WAIT_SECONDS: Final = 180.0
"""For what a cluster does by itself: it takes seconds, but machines are slow at times."""


@dataclass(frozen=True)
class Release:
    """One queue in a namespace, over two folders of the node."""

    cluster: Cluster
    namespace: str
    folder: Path
    name: str = "q"
    queue: str = ""
    """What the queue is called, where its values say so; else it is called as the release."""

    @property
    def media(self) -> Path:
        """Where items are."""
        return self.folder / "media"

    @property
    def out(self) -> Path:
        """Where workers write."""
        return self.folder / "out"

    @property
    def images(self) -> dict[str, Any]:
        """The chart's `images`: those of this repository as it is now."""
        return {
            "tag": {self.cluster.project_image(one).rpartition(":")[2] for one in ("manager", "ambassador-nfs")}.pop()
        }

    def values(self, **changes: Any) -> dict[str, Any]:
        """A queue over the two folders, with changes."""
        document = {
            "volumes": {
                "media": {"hostPath": {"path": str(self.media)}, "readOnly": True},
                "out": {"hostPath": {"path": str(self.out)}},
            },
            "source": {"kind": "nfs", "volumes": ["media"], "nfs": {"pattern": "**/*", "settleSeconds": 0}},
            "worker": {"volumes": ["media", "out"], "image": self.cluster.shell_image},
            "images": self.images,
        }
        return {**document, **changes}

    def helm(self, verb: str, values: Mapping[str, Any], *, over: Path | None = None, is_ready: bool = True) -> None:
        """
        `helm install` or `upgrade`, until the manager is ready, where it can be.

        The values go over those of another file.
        """
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values), allow_unicode=True), encoding="utf-8")
        files = [one for path in (over, file) if path for one in ("--values", str(path))]
        try:
            wait = ["--wait", "--timeout", f"{WAIT_SECONDS:.0f}s"] if is_ready else []
            self._helm(verb, self.name, str(CHART), *files, *wait)
        except subprocess.CalledProcessError as exc:
            raise AssertionError(f"{exc.stderr}\n{self.state()}") from exc

    def dry_install(self, values: Mapping[str, Any]) -> str:
        """What `helm install` would say; nothing is installed."""
        file = self.folder / "values.yaml"
        file.write_text(yaml.safe_dump(dict(values), allow_unicode=True), encoding="utf-8")
        return self._helm("install", self.name, str(CHART), "--dry-run=client", "--values", str(file))

    def uninstall(self) -> None:
        """`helm uninstall`, until what it deletes is gone."""
        self._helm("uninstall", self.name, "--wait", "--timeout", f"{WAIT_SECONDS:.0f}s")

    def notes(self) -> str:
        """What was printed when it was installed."""
        return self._helm("get", "notes", self.name)

    def jobs(self) -> dict[str, dict[str, Any]]:
        """The queue's Jobs, by their items."""
        selector = f"longshore.dev/queue={self.queue or self.name}"
        found = json.loads(self.kubectl("get", "jobs", "-l", selector, "-o", "json"))["items"]
        return {one["metadata"]["annotations"]["longshore.dev/item"]: one for one in found}

    def uids(self) -> dict[str, str]:
        """Which Job each item has: another one has another uid, whatever its name."""
        return {item: job["metadata"]["uid"] for item, job in self.jobs().items()}

    def outcome(self, item: str) -> str:
        """`Complete`, `Failed`, `refused`, or nothing yet."""
        job = self.jobs().get(item)
        if job is None:
            return ""
        if "longshore.dev/refused" in job["metadata"]["annotations"]:
            return "refused"
        conditions = job.get("status", {}).get("conditions", [])
        return next(
            (one["type"] for one in conditions if one["status"] == "True" and one["type"] in {"Complete", "Failed"}), ""
        )

    def reason(self, item: str) -> str:
        """Why, as the Job says it."""
        annotations = self.jobs()[item]["metadata"]["annotations"]
        return str(annotations.get("longshore.dev/refused") or annotations.get("longshore.dev/reason", ""))

    def log(self) -> str:
        """What the manager has said."""
        return self.kubectl("logs", f"deployment/{self.name}-manager", "-c", "manager")

    def kubectl(self, *arguments: str) -> str:
        """What kubectl prints, in the release's namespace."""
        return self.cluster.kubectl("-n", self.namespace, *arguments)

    def until(self, what: str, is_so: Callable[[], bool], *, seconds: float = WAIT_SECONDS) -> None:
        """Wait for what the cluster does by itself; asked for twice a second."""
        until = time.monotonic() + seconds
        while not is_so():
            assert time.monotonic() < until, f"waited for {what}\n{self.state()}"
            time.sleep(0.5)  # any of many things may make it so: asked as a person would

    def state(self) -> str:
        """What a person would look at."""
        looks = (
            ["get", "jobs,pods", "-o", "wide"],
            ["logs", f"deployment/{self.name}-manager", "--all-containers", "--tail=30"],
        )
        said = []
        for look in looks:
            try:
                said.append(self.kubectl(*look))
            except subprocess.CalledProcessError as exc:
                said.append(exc.stderr)
        return "\n".join(said)

    def _helm(self, *arguments: str) -> str:
        environ = {**os.environ, "KUBECONFIG": str(self.cluster.kubeconfig)}
        command = [str(tools.helm()), *arguments, "--namespace", self.namespace]
        return subprocess.run(command, env=environ, capture_output=True, text=True, check=True).stdout


def release_in(cluster: Cluster, namespace: str, folder: Path, name: str = "q", queue: str = "") -> Release:
    """A release over two folders that a worker's user may use."""
    one = Release(cluster, namespace, folder, name, queue)
    for path in (folder, one.media, one.out):
        path.mkdir(exist_ok=True)
        path.chmod(0o777)
    # pytest's own folders are for their owner only, and a pod's user is another one.
    for parent in folder.parents:
        if parent.stat().st_uid == os.geteuid() and parent != Path("/"):
            parent.chmod(parent.stat().st_mode | 0o011)
    return one


def shell(script: str, *, argument: str = "${item.path}", **more: Any) -> dict[str, Any]:
    """A worker of an image that knows nothing of Longshore: a shell script, with the item's path as `$1`."""
    return {"command": ["sh", "-c", script, "sh", argument], "volumes": ["media", "out"], **more}


@contextmanager
def restricted(cluster: Cluster) -> Iterator[str]:
    """A namespace that takes no pod that could do harm."""
    with cluster.namespace({"pod-security.kubernetes.io/enforce": "restricted"}) as name:
        yield name


@contextmanager
def claims(release: Release, folders: Mapping[str, Path]) -> Iterator[dict[str, Any]]:
    """Folders as PersistentVolumeClaims, as an administrator would offer them: the `volumes` that name them."""
    names = {name: f"{name}-{release.namespace}" for name in folders}
    documents = [
        one
        for name, folder in folders.items()
        for one in _volume_and_claim(release.namespace, name, names[name], folder)
    ]
    file = release.folder / "claims.yaml"
    file.write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    release.cluster.kubectl("apply", "-f", str(file))
    try:
        yield {name: {"persistentVolumeClaim": {"claimName": name}} for name in folders}
    finally:
        release.cluster.kubectl("delete", "pv", *names.values(), "--wait=false")


def _volume_and_claim(namespace: str, claim: str, volume: str, folder: Path) -> tuple[dict[str, Any], dict[str, Any]]:
    common = {"accessModes": ["ReadWriteMany"], "storageClassName": ""}
    capacity = {"storage": "1Gi"}
    offered = {
        "capacity": capacity,
        "hostPath": {"path": str(folder)},
        "claimRef": {"namespace": namespace, "name": claim},
    }
    asked = {"resources": {"requests": capacity}, "volumeName": volume}
    return (
        {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": volume}, "spec": common | offered},
        {
            "apiVersion": "v1",
            "kind": "PersistentVolumeClaim",
            "metadata": {"name": claim, "namespace": namespace},
            "spec": common | asked,
        },
    )


def longshore(
    release: Release, *words: str, program: str = "longshore", kubeconfig: Path | None = None
) -> subprocess.CompletedProcess[str]:
    """One command about a release's namespace, as somebody with this kubeconfig types it."""
    command = [str(Path(sys.executable).with_name(program)), *words[:1], "-n", release.namespace, *words[1:]]
    environ = {**os.environ, "KUBECONFIG": str(kubeconfig or release.cluster.kubeconfig), "COLUMNS": "200"}
    return subprocess.run(command, env=environ, capture_output=True, text=True, timeout=120, check=False)


def out(ended: subprocess.CompletedProcess[str]) -> str:
    """What a command printed that had nothing to complain of."""
    assert (ended.returncode, ended.stderr) == (0, "")
    return ended.stdout
