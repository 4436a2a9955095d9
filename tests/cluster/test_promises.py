"""What Longshore promises, on a real cluster: one Job per item, no more rights than shipped, nothing lost."""

import json
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from contract.engine_contract import Watched
from longshore.engines.kubernetes import Api, KubernetesEngine
from longshore.engines.kubernetes.api import ApiError, Forbidden
from longshore.manifests import Bundle, bundle_for
from longshore.names import job_name
from longshore.queuefile import Queue
from longshore.state import State
from longshore_kit.errors import EngineError
from support.cluster import tools
from support.cluster.cluster import Cluster
from support.cluster.release import CHART, Release, shell
from support.queues import item_named, queue_with

pytestmark = pytest.mark.slow


@pytest.fixture
def engine(cluster: Cluster, namespace: str) -> Iterator[Watched]:
    """An engine of somebody who may do anything."""
    one = KubernetesEngine(cluster.api(namespace), "q", mounts={})
    yield Watched(one)
    one.close()


def worker_queue(cluster: Cluster, script: str, **retry: int) -> Queue:
    """A queue whose workers run a shell script, with `$1` as the item's name."""
    worker = {"image": cluster.shell_image, "command": ["sh", "-c", script, "sh", "${name}"]}
    return queue_with(worker=worker, retry=retry)


def creations(cluster: Cluster, namespace: str) -> Counter[str]:
    """How often each Job was created, by the API server's own record."""
    assert cluster.node is not None
    found: Counter[str] = Counter()
    for line in cluster.node.audit_log.read_text(encoding="utf-8").splitlines():
        event = json.loads(line)
        reference = event.get("objectRef", {})
        is_creation = (event["verb"], reference.get("resource"), reference.get("subresource")) == (
            "create",
            "jobs",
            None,
        )
        if is_creation and reference.get("namespace") == namespace and event["responseStatus"]["code"] == 201:
            found[event["objectRef"].get("name") or "?"] += 1
    return found


def has_jobs(release: Release, number: int) -> bool:
    """Whether so many Jobs are there."""
    return len(release.jobs()) >= number


def test_every_item_gets_exactly_one_job_whatever_happens_to_its_managers(release: Release) -> None:
    """200 items; the manager's pod is deleted five times, and for a while there are two. The audit log counts."""
    if release.cluster.node is None:
        pytest.skip("the audit log of this cluster can't be read: unset KUBECONFIG for a cluster of its own")
    names = [f"item-{number:03d}" for number in range(200)]
    for name in names:
        (release.media / name).write_text(name)
    kubectl = release.cluster.kubectl
    worker = shell('echo x >> "$OUT_PATH/$1"', image=release.cluster.shell_image)
    release.helm("install", release.values(worker=worker, scaling={"max": 40}))

    for number in range(5):
        reached = 30 * (number + 1)
        release.until("more Jobs", partial(has_jobs, release, reached))
        if number == 2:
            kubectl("-n", release.namespace, "scale", "deployment/q-manager", "--replicas=2")
        selector = "app.kubernetes.io/component=manager"
        kubectl("-n", release.namespace, "delete", "pod", "-l", selector, "--wait=false", "--grace-period=0", "--force")
    release.until("all done", lambda: sum("completionTime" in job["status"] for job in release.jobs().values()) == 200)

    created = creations(release.cluster, release.namespace)
    runs = {path.name: path.read_text() for path in release.out.iterdir()}
    assert (len(created), set(created.values())) == (200, {1})
    assert runs == dict.fromkeys(names, "x\n")


def test_a_source_that_is_gone_cancels_nothing(release: Release) -> None:
    """The folder vanishes while a worker runs and another is done: both stay as they are, and work goes on after."""
    for name in ("done", "runs", ".mounted"):
        (release.media / name).write_text(name)
    script = 'test "$1" = done || until test -e "$OUT_PATH/go"; do sleep 0.2; done'
    nfs = {"pattern": "**/*", "settleSeconds": 0, "markerFile": ".mounted"}
    source = {"kind": "nfs", "volumes": ["media"], "nfs": nfs}
    release.helm("install", release.values(source=source, worker=shell(script, image=release.cluster.shell_image)))
    release.until("one done, one running", lambda: release.outcome("done") == "Complete" and "runs" in release.jobs())
    before = {item: job["metadata"]["uid"] for item, job in release.jobs().items()}

    for path in release.media.iterdir():
        path.unlink()
    release.until("the outage to be seen", lambda: "source unavailable" in release.state())
    (release.out / "go").touch()
    release.until("the other done", lambda: release.outcome("runs") == "Complete")

    assert {item: job["metadata"]["uid"] for item, job in release.jobs().items()} == before


def test_a_job_that_was_deleted_by_hand_runs_again(release: Release) -> None:
    """Documented: the Job is the memory, and deleting it is asking for another run."""
    (release.media / "a").write_text("a")
    worker = shell('echo x >> "$OUT_PATH/$1"', image=release.cluster.shell_image)
    release.helm("install", release.values(worker=worker))
    release.until("done", lambda: release.outcome("a") == "Complete")

    release.cluster.kubectl("-n", release.namespace, "delete", "job", release.jobs()["a"]["metadata"]["name"])
    release.until("done again", lambda: release.outcome("a") == "Complete")

    assert (release.out / "a").read_text() == "x\nx\n"


def test_an_evicted_pod_costs_no_attempt(cluster: Cluster, namespace: str, engine: Watched) -> None:
    """A drained node is nobody's failure."""
    engine.engine.create(made(cluster, "trap 'exit 143' TERM; sleep 1000 & wait", attempts=1))
    engine.until_state("a", State.RUNNING)
    api = cluster.api(namespace)
    first = pod_of(api)

    api.create(
        f"/api/v1/namespaces/{namespace}/pods/{first}/eviction",
        {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": first, "namespace": namespace}},
    )
    job = engine.until(
        "a", lambda one: one is not None and one.state is State.RUNNING and pod_of(api) not in {"", first}
    )
    api.close()

    assert job is not None
    assert (job.attempt, job.attempts, pod_of(cluster.api(namespace)) != first) == (1, 1, True)


def made(cluster: Cluster, script: str, item: str = "a", data: Mapping[str, Any] | None = None, **retry: int) -> Bundle:
    """The Job of one item, as the Kubernetes engine lays it out."""
    queue = worker_queue(cluster, script, **retry)
    engine = KubernetesEngine(cluster.api("default"), "q", mounts={})
    layout = engine.layout(job_name(queue.name, item))
    engine.close()
    return bundle_for(queue, item_named(item, data), layout)


def pod_of(api: Api) -> str:
    """The name of the one pod that lives."""
    found = json.loads(api.get(f"/api/v1/namespaces/{api.namespace}/pods"))["items"]
    live = [one["metadata"]["name"] for one in found if "deletionTimestamp" not in one["metadata"]]
    return live[0] if live else ""


@pytest.mark.parametrize(
    ("size", "state"),
    [(300 * 1024, State.DONE), (1024 * 1024 - 8192, State.DONE), (2 * 1024 * 1024, State.FAILED)],
    ids=["300 KiB", "nearly 1 MiB", "2 MiB"],
)
def test_data_of_any_size_arrives_or_fails_its_item_alone(
    cluster: Cluster, engine: Watched, size: int, state: State
) -> None:
    """Large data rides in a ConfigMap that the Job owns; what is too large says so and never runs."""
    data = {"pad": "x" * size}
    script = 'wc -c < "$WORK_ITEM_FILE" > "$LONGSHORE_RESULT_FILE"'
    engine.engine.create(made(cluster, script, data=data))

    job = engine.until_finished("a")

    length = len(json.dumps(data, separators=(",", ":")))
    assert (job.state, str(length) in job.reason) == (state, True), job.reason


def test_a_quota_that_is_reached_is_told_and_holds_up_nothing(
    cluster: Cluster, namespace: str, engine: Watched
) -> None:
    """The second Job waits for room, with the quota's own words."""
    quota = {
        "apiVersion": "v1",
        "kind": "ResourceQuota",
        "metadata": {"name": "jobs"},
        "spec": {"hard": {"count/jobs.batch": "1"}},
    }
    api = cluster.api(namespace)
    api.create(f"/api/v1/namespaces/{namespace}/resourcequotas", quota)
    until_quota_counts(api)
    engine.engine.create(made(cluster, "true", "a"))

    with pytest.raises(Forbidden, match="exceeded quota: jobs"):
        engine.engine.create(made(cluster, "true", "b"))

    job = engine.until_finished("a")
    engine.engine.delete(job)
    engine.until("a", lambda one: one is None)
    api.close()
    assert retried(engine, made(cluster, "true", "b"))
    assert engine.until_finished("b").state is State.DONE


def until_quota_counts(api: Api) -> None:
    """A quota holds when its controller has counted; there is nothing else to wait for than its status."""
    path = f"/api/v1/namespaces/{api.namespace}/resourcequotas/jobs"
    while "count/jobs.batch" not in json.loads(api.get(path)).get("status", {}).get("used", {}):
        pass


def retried(watched: Watched, one: Bundle) -> bool:
    """Whether it is created in the end, as the quota counts deletions a moment later."""
    for _ in range(200):
        try:
            return watched.engine.create(one)
        except Forbidden:
            watched.engine.tend()
    return False


# --- rights


def shipped_rules() -> list[dict[str, Any]]:
    """The rules of the Role that the chart ships."""
    document = {
        "source": {"kind": "custom", "custom": {"url": "http://127.0.0.1:9"}},
        "worker": {"image": "x"},
    }
    ended = subprocess.run(
        [str(tools.helm()), "template", "q", str(CHART), "--kube-version=1.31.0", "--values", "-"],
        input=yaml.safe_dump(document),
        capture_output=True,
        text=True,
        check=True,
    )
    roles = [one for one in yaml.safe_load_all(ended.stdout) if one and one["kind"] == "Role"]
    rules: list[dict[str, Any]] = roles[0]["rules"]
    return rules


@contextmanager
def somebody_with(cluster: Cluster, namespace: str, rules: list[dict[str, Any]], folder: Path) -> Iterator[Api]:
    """A service account with just these rights, speaking to the API server by its own token."""
    meta = {"name": "somebody", "namespace": namespace}
    documents = [
        {"apiVersion": "v1", "kind": "ServiceAccount", "metadata": meta},
        {"apiVersion": "rbac.authorization.k8s.io/v1", "kind": "Role", "metadata": meta, "rules": rules},
        {
            "apiVersion": "rbac.authorization.k8s.io/v1",
            "kind": "RoleBinding",
            "metadata": meta,
            "roleRef": {"apiGroup": "rbac.authorization.k8s.io", "kind": "Role", "name": "somebody"},
            "subjects": [{"kind": "ServiceAccount", "name": "somebody", "namespace": namespace}],
        },
    ]
    (folder / "rights.yaml").write_text(yaml.safe_dump_all(documents), encoding="utf-8")
    cluster.kubectl("apply", "-f", str(folder / "rights.yaml"))
    token = cluster.kubectl("-n", namespace, "create", "token", "somebody").strip()
    config = yaml.safe_load(cluster.kubeconfig.read_text(encoding="utf-8"))
    config["users"][0]["user"] = {"token": token}
    (folder / "kubeconfig").write_text(yaml.safe_dump(config), encoding="utf-8")
    api = Api.connect(namespace=namespace, kubeconfig=folder / "kubeconfig")
    yield api
    api.close()


def work_through(cluster: Cluster, api: Api) -> list[str]:
    """Everything that a manager does with its engine, step by step: the steps that were refused."""
    refused: list[str] = []
    engine = KubernetesEngine(api, "q", mounts={})
    watched = Watched(engine)

    def step(name: str, do: Callable[[], object]) -> None:
        try:
            do()
        except (EngineError, AssertionError) as exc:
            refused.append(f"{name}: {exc}")

    step("look", engine.jobs)
    # Without this right the engine still sees by listing again and again, which nobody should pay for.
    for path in (f"/apis/batch/v1/namespaces/{api.namespace}/jobs", f"/api/v1/namespaces/{api.namespace}/pods"):
        step("watch", partial(watch_a_second, api, path))
    if refused:
        engine.close()
        return refused
    step("create", lambda: engine.create(made(cluster, "sleep 2", "small")))
    step("see it run", lambda: watched.until_state("small", State.RUNNING))
    if refused:
        engine.close()
        return refused
    step("create again", lambda: engine.create(made(cluster, "sleep 2", "small")))
    step("create large", lambda: engine.create(made(cluster, "true", "large", {"pad": "x" * 50_000})))
    step("create large again", lambda: engine.create(made(cluster, "true", "large", {"pad": "x" * 50_000})))
    step("record", lambda: watched.until_finished("small"))
    step("slim", engine.tend)
    step("slim again", engine.tend)
    step("why no pod", engine._warnings_of_jobs)
    for job in engine.jobs().values() if not refused else ():
        step("delete", partial(engine.delete, job))
    engine.close()
    return refused


def watch_a_second(api: Api, path: str) -> None:
    """A watch, to its end."""
    for _ in api.watch(path, {"timeoutSeconds": "1"}, read_seconds=30):
        pass


def without(rules: list[dict[str, Any]], rule: int, verb: str) -> list[dict[str, Any]]:
    """The rules with one verb less."""
    fewer = [
        {**one, "verbs": [v for v in one["verbs"] if v != verb]} if index == rule else one
        for index, one in enumerate(rules)
    ]
    return [one for one in fewer if one["verbs"]]


def test_the_shipped_role_is_enough_and_opens_nothing_else(cluster: Cluster, namespace: str, tmp_path: Path) -> None:
    """All of a manager's work goes through, and nothing beyond it can be read."""
    beyond = ["secrets", "services", "serviceaccounts", "endpoints", "persistentvolumeclaims"]
    with somebody_with(cluster, namespace, shipped_rules(), tmp_path) as api:
        refused = work_through(cluster, api)
    with somebody_with(cluster, namespace, shipped_rules(), tmp_path) as api:
        seen = [kind for kind in beyond if may_read(api, f"/api/v1/namespaces/{namespace}/{kind}")]
        seen += [path for path in ("/api/v1/nodes", "/api/v1/namespaces/default/pods") if may_read(api, path)]

    assert (refused, seen) == ([], [])


def may_read(api: Api, path: str) -> bool:
    """Whether a list of this is given."""
    try:
        api.get(path)
    except ApiError:
        return False
    return True


@pytest.mark.parametrize(
    "right",
    [
        *((0, verb) for verb in ("get", "list", "watch", "create", "patch", "delete")),
        *((1, verb) for verb in ("list", "watch", "delete")),
        (2, "list"),
        *((3, verb) for verb in ("get", "create", "patch")),
    ],
)
def test_each_right_of_the_shipped_role_is_needed(
    cluster: Cluster, namespace: str, tmp_path: Path, right: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any one of them less, something fails."""
    rule, verb = right
    monkeypatch.setattr("contract.engine_contract.TIMEOUT_SECONDS", 8.0)
    monkeypatch.setattr("longshore.engines.kubernetes.engine.FIRST_LOOK_SECONDS", 3.0)
    rules = shipped_rules()
    assert verb in rules[rule]["verbs"]

    with somebody_with(cluster, namespace, without(rules, rule, verb), tmp_path) as api:
        refused = work_through(cluster, api)

    assert refused
