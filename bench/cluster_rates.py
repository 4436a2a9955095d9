"""A manager on a real cluster: how soon an item has its Job, how fast 200 are worked off, and what it asks of the API.

    eval "$(make -s cluster-up)"; .venv/bin/python bench/cluster_rates.py

Beside it, in the same run, `kubectl create -f` of the same 200 Jobs: what the cluster can do without any manager.
Times and requests are the API server's own, from its audit log; so it needs the cluster of the tests.
"""

import argparse
import json
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import quantiles
from typing import Any, Self

sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))

from support.cluster.cluster import Cluster, own_cluster
from support.cluster.release import Release, release_in, shell


@dataclass
class Asked:
    """What the API server was asked in a namespace: its audit log, read on from where it was left."""

    log: Path
    namespace: str
    offset: int
    events: list[dict[str, Any]] = field(default_factory=list)

    @classmethod
    def of(cls, cluster: Cluster, namespace: str) -> Self:
        """From now on: of a namespace that is new nothing was asked before."""
        assert cluster.node is not None
        return cls(cluster.node.audit_log, namespace, cluster.node.audit_log.stat().st_size)

    def read(self) -> list[dict[str, Any]]:
        """Everything so far."""
        with self.log.open("rb") as file:
            file.seek(self.offset)
            fresh = file.read()
        whole = fresh[: fresh.rfind(b"\n") + 1]
        self.offset += len(whole)
        events = map(json.loads, whole.splitlines())
        self.events += [one for one in events if one.get("objectRef", {}).get("namespace") == self.namespace]
        return self.events

    def created(self) -> dict[str, float]:
        """When each Job was created, by its name."""
        return {
            event["objectRef"]["name"]: at(event)
            for event in self.read()
            if event["verb"] == "create"
            and event["objectRef"]["resource"] == "jobs"
            and "subresource" not in event["objectRef"]
            and event["responseStatus"]["code"] == 201
        }

    def by(self, user: str) -> Counter[str]:
        """How often somebody asked for what."""
        return Counter(
            f"{event['verb']} {event['objectRef']['resource']}"
            for event in self.read()
            if event["user"]["username"] == user
        )


def at(event: dict[str, Any]) -> float:
    """When it was asked, in seconds since the epoch."""
    return datetime.fromisoformat(event["requestReceivedTimestamp"]).timestamp()


def done(release: Release) -> int:
    """How many Jobs are complete."""
    return sum("completionTime" in job.get("status", {}) for job in release.jobs().values())


def until(release: Release, number: int) -> float:
    """When so many are complete."""
    while done(release) < number:
        time.sleep(0.5)  # a watch would take from what is measured
    return time.time()


def pods(release: Release) -> list[str]:
    """The queue's pods that are still there: of done items they go a while later."""
    return release.kubectl("get", "pods", "-l", f"longshore.dev/queue={release.name}", "-o", "name").split()


def soonness(release: Release, asked: Asked, number: int) -> list[float]:
    """Seconds from an item's appearing in its folder to its Job's creation, one item at a time."""
    waits = []
    for index in range(number):
        before = len(asked.created())
        appeared = time.time()
        (release.media / f"soon-{index:03d}").write_text("x")
        while len(asked.created()) == before:
            time.sleep(0.02)  # the audit log is a file that grows
        waits.append(max(asked.created().values()) - appeared)
    return waits


def main() -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--items", type=int, default=200)
    parser.add_argument("--soon", type=int, default=100, help="items that are timed one by one")
    options = parser.parse_args()
    with own_cluster() as cluster, tempfile.TemporaryDirectory() as folder, cluster.namespace() as namespace:
        release = release_in(cluster, namespace, Path(folder))
        values = release.values(worker=shell("true", image=cluster.shell_image), scaling={"max": options.items})
        for index in range(options.items):
            (release.media / f"item-{index:03d}").write_text("x")
        asked = Asked.of(cluster, namespace)
        release.helm("install", values)
        first = min(asked.created().values())
        managed = until(release, options.items) - first
        release.until("the pods to be gone", lambda: not pods(release))
        manifests = [strip(job) for job in release.jobs().values()]
        user = f"system:serviceaccount:{namespace}:{release.name}-manager"
        requests = asked.by(user)
        time.sleep(60)  # the idle minute that is measured
        idle = asked.by(user).total() - requests.total()
        waits = soonness(release, asked, options.soon)
        with cluster.namespace() as other, tempfile.TemporaryDirectory() as second:
            plain = release_in(cluster, other, Path(second))
            file = Path(second) / "jobs.json"
            file.write_text(json.dumps({"apiVersion": "v1", "kind": "List", "items": manifests}), encoding="utf-8")
            began = time.time()
            cluster.kubectl("-n", other, "create", "-f", str(file))
            bare = until(plain, options.items) - began
    cuts = quantiles(waits, n=100)
    print(f"item listed -> Job created, {options.soon} items one by one: p50 {cuts[49]:.2f} s, p99 {cuts[98]:.2f} s")
    print(f"{options.items} trivial Jobs to completion, Jobs/s:")
    print(f"  manager             {options.items / managed:6.2f}   {bare / managed:5.2f} of kubectl's")
    print(f"  kubectl create -f   {options.items / bare:6.2f}")
    print(f"requests of the manager: {requests.total() / options.items:.1f} per item, {idle} in an idle minute")
    for what, number in requests.most_common():
        print(f"  {number:5d}  {what}")


def strip(job: dict[str, Any]) -> dict[str, Any]:
    """A Job as it was before the API server had it."""
    metadata = {key: job["metadata"][key] for key in ("name", "labels")}
    template = job["spec"]["template"]
    generated = ("controller-uid", "job-name", "batch.kubernetes.io/controller-uid", "batch.kubernetes.io/job-name")
    for label in generated:
        template["metadata"]["labels"].pop(label, None)
    template["spec"].pop("serviceAccountName", None)
    template["spec"].pop("serviceAccount", None)
    annotations = {key: value for key, value in job["metadata"]["annotations"].items() if key == "longshore.dev/item"}
    spec = {key: job["spec"][key] for key in ("parallelism", "completions", "backoffLimit")}
    return {
        "apiVersion": "batch/v1",
        "kind": "Job",
        "metadata": {**metadata, "annotations": annotations},
        "spec": {**spec, "template": template},
    }


if __name__ == "__main__":
    main()
