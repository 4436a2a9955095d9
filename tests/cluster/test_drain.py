"""Workers whose node is drained after they have run for long: `retry.pendingSeconds` counts anew for the next pod.

Evictions through the Eviction API, as `kubectl drain` makes them; the node itself stays as it is.
"""

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from contract.engine_contract import Watched
from longshore.engines.kubernetes import Api, KubernetesEngine
from longshore.manifests import bundle_for
from longshore.names import job_name
from longshore.state import Job, State
from support.cluster.cluster import Cluster
from support.queues import item_named, queue_with

pytestmark = pytest.mark.slow
# The worker lingers after SIGTERM for so many seconds, cleaning up; within a pod's 30 s of grace.
SCRIPT = "trap 'sleep {linger}; exit 143' TERM; while :; do sleep 0.2; done"


@pytest.fixture
def api(cluster: Cluster, namespace: str) -> Iterator[Api]:
    """Somebody who may do anything in the namespace."""
    one = cluster.api(namespace)
    yield one
    one.close()


@pytest.fixture
def watched(cluster: Cluster, namespace: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Watched]:
    """An engine as a manager has it, tended to all the while."""
    # A worker is waited for until it has run for long.
    monkeypatch.setattr("contract.engine_contract.TIMEOUT_SECONDS", 180.0)
    engine = KubernetesEngine(cluster.api(namespace), "q", mounts={})
    yield Watched(engine)
    engine.close()


def start(cluster: Cluster, watched: Watched, *, pending_seconds: int, linger: int) -> Job:
    """The Job of item `a`, when its worker has run for longer than it may be pending."""
    worker = {"image": cluster.shell_image, "command": ["sh", "-c", SCRIPT.format(linger=linger)]}
    queue = queue_with(worker=worker, retry={"attempts": 1, "pendingSeconds": pending_seconds})
    layout = watched.engine.layout(job_name(queue.name, "a"))
    assert watched.engine.create(bundle_for(queue, item_named("a"), layout))
    job = watched.until("a", runs_since(lambda since: time.time() - since > pending_seconds))
    assert job is not None
    return job


def runs_since(is_so: Callable[[float], bool]) -> Callable[[Job | None], bool]:
    """Whether the worker runs, and since when."""
    return lambda job: job is not None and job.state is State.RUNNING and is_so(job.since)


def evict(api: Api, pod: str) -> None:
    """As a drain does."""
    meta = {"name": pod, "namespace": api.namespace}
    eviction = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": meta}
    api.create(f"/api/v1/namespaces/{api.namespace}/pods/{pod}/eviction", eviction)


def only_pod(cluster: Cluster, namespace: str) -> str:
    """The one pod of the namespace."""
    (pod,) = cluster.kubectl("-n", namespace, "get", "pods", "-o", "name").split()
    return pod.removeprefix("pod/")


@pytest.mark.parametrize("linger", [0, 20], ids=["ends at once", "takes longer to end than it may be pending"])
def test_a_worker_evicted_after_a_long_run_starts_again(
    cluster: Cluster, namespace: str, api: Api, watched: Watched, linger: int
) -> None:
    """How long it ran, or took to end, is not how long the next one has been waiting."""
    before = start(cluster, watched, pending_seconds=15, linger=linger)

    evict(api, only_pod(cluster, namespace))
    after = watched.until(
        "a", lambda job: job is not None and (job.state is State.FAILED or runs_since(later_than(before))(job))
    )

    assert outcome(after) == (State.RUNNING, before.uid, 1, "")


def test_a_replacement_that_has_to_wait_is_not_refused_for_what_ran_before_it(
    cluster: Cluster, namespace: str, api: Api, watched: Watched
) -> None:
    """The quota has no room for the next pod at first: the item says so meanwhile, and runs when there is."""
    before = start(cluster, watched, pending_seconds=45, linger=0)
    quotas = f"/api/v1/namespaces/{namespace}/resourcequotas"
    meta = {"name": "pods"}
    api.create(quotas, {"apiVersion": "v1", "kind": "ResourceQuota", "metadata": meta, "spec": {"hard": {"pods": "0"}}})

    evict(api, only_pod(cluster, namespace))
    waiting = watched.until("a", lambda job: job is not None and (job.state is State.FAILED or "quota" in job.reason))
    cluster.kubectl("-n", namespace, "delete", "resourcequota", "pods")
    after = watched.until(
        "a", lambda job: job is not None and (job.state is State.FAILED or runs_since(later_than(before))(job))
    )

    assert waiting is not None
    assert (waiting.state, "exceeded quota: pods" in waiting.reason) == (State.STARTING, True), waiting.reason
    assert outcome(after) == (State.RUNNING, before.uid, 1, "")


def later_than(before: Job) -> Callable[[float], bool]:
    """Whether it is another worker's start."""
    return lambda since: since > before.since


def outcome(job: Job | None) -> tuple[Any, ...]:
    """What became of it."""
    assert job is not None
    return (job.state, job.uid, job.attempt, job.reason)
