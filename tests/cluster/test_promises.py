"""What Longshore promises, on a real cluster: one Job per item, no more rights than shipped, nothing lost."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, cast

import pytest
import yaml

from contract.engine_contract import Watched
from longshore.engines.kubernetes import Api, KubernetesEngine
from longshore.engines.kubernetes.api import ApiError
from longshore.engines.kubernetes.engine import HALF_MADE_SECONDS
from longshore.engines.kubernetes.events import send
from longshore.engines.kubernetes.notices import Notice, Notices
from longshore.manifests import Bundle, bundle_for
from longshore.names import job_name
from longshore.queuefile import Queue
from longshore.state import Job, State
from longshore_kit.errors import EngineError, EngineFull
from support.cluster import tools
from support.cluster.cluster import Cluster
from support.cluster.release import CHART, Release, shell
from support.queues import item_named, job_for, queue_with

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
    # A request whose client is killed may be told of as 504, and have made its Job all the same: never twice.
    assert (len(release.jobs()), set(created.values())) == (200, {1})
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


def test_a_job_deleted_by_others_never_overlaps_with_its_successor(
    cluster: Cluster, namespace: str, engine: Watched
) -> None:
    """`kubectl delete job` lets the name go at once, and the pod when it has ended: the item waits for that."""
    slow = made(cluster, "trap 'sleep 5; exit 143' TERM; while :; do sleep 0.2; done", attempts=1)
    engine.engine.create(slow)
    engine.until_state("a", State.RUNNING)
    cluster.kubectl("-n", namespace, "delete", "job", slow.name, "--wait=false")
    engine.until("a", lambda one: one is None)

    with pytest.raises(EngineError, match=r"a pod of an earlier Job .* has not ended yet"):
        engine.engine.create(slow)

    mirror = cast(KubernetesEngine, engine.engine)._pods
    engine.until("a", lambda _: not mirror.objects())
    assert engine.engine.create(slow)


def test_a_job_that_only_has_our_label_is_left_alone(cluster: Cluster, namespace: str, engine: Watched) -> None:
    """Somebody's own, or a copy of ours under another name: it takes no slot, stands for no item, and keeps its pod."""
    ours = made(cluster, "true")
    copy = copy_of(ours, "debug-of-a")
    stranger = copy_of(ours, "nightly-backup")
    del stranger["metadata"]["annotations"]
    api = cluster.api(namespace)
    for one in (copy, stranger):
        api.create(f"/apis/batch/v1/namespaces/{namespace}/jobs", one)
    engine.engine.create(ours)
    job = engine.until_finished("a")

    tended = engine.engine.tend()
    there = json.loads(api.get(f"/apis/batch/v1/namespaces/{namespace}/jobs"))["items"]
    api.close()

    assert (job.name, [*engine.engine.jobs()], [*tended]) == (ours.name, ["a"], [])
    assert {one["metadata"]["name"] for one in there} == {ours.name, "debug-of-a", "nightly-backup"}


def copy_of(bundle: Bundle, name: str) -> dict[str, Any]:
    """The same Job under another name."""
    copy = json.loads(json.dumps(bundle.job))
    copy["metadata"]["name"] = name
    return cast(dict[str, Any], copy)


@pytest.mark.parametrize(
    ("change", "words"),
    [("label", "has lost its label"), ("annotate", "has lost its annotation")],
)
def test_a_job_of_ours_that_lost_what_it_is_known_by_is_told(
    cluster: Cluster, namespace: str, engine: Watched, change: str, words: str
) -> None:
    """Its name is taken, so its item can't be started: that is said, with the way out, and not tried at once again."""
    bundle = made(cluster, "true")
    engine.engine.create(bundle)
    engine.until_finished("a")
    key = {"label": "longshore.dev/queue-", "annotate": "longshore.dev/item-"}[change]
    cluster.kubectl("-n", namespace, change, "job", bundle.name, key)
    engine.until("a", lambda one: one is None)

    with pytest.raises(EngineError, match=words):
        engine.engine.create(bundle)


def test_a_job_that_can_not_be_changed_stops_no_other(cluster: Cluster, namespace: str, engine: Watched) -> None:
    """Its annotations leave no room for what is known of it: that is told, and the next one is done as ever."""
    full, other = made(cluster, "exit 65", "full"), made(cluster, "true", "other")
    full.job["metadata"]["annotations"]["theirs"] = "x" * (256 * 1024 - 170)
    for one in (full, other):
        engine.engine.create(one)

    engine.until("full", lambda job: job is not None and job.state is State.FAILED)
    engine.until_finished("other")
    told = [*engine.engine.tend()]
    records = json.loads(cluster.kubectl("-n", namespace, "get", "job", other.name, "-o", "json"))["metadata"]

    assert [line.partition(":")[0] for line in told] == [f"Job {full.name}"]
    assert "longshore.dev/reason" in records["annotations"]


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


def leave_data(cluster: Cluster, namespace: str, bundle: Bundle) -> None:
    """What a Job of this name has left behind that is gone, with other data."""
    assert bundle.payload is not None
    api = cluster.api(namespace)
    api.create(f"/api/v1/namespaces/{namespace}/configmaps", {**bundle.payload, "data": {"item.json": "{}"}})
    api.close()


def payload_name(bundle: Bundle) -> str:
    """The ConfigMap of an item's data."""
    assert bundle.payload is not None
    return str(bundle.payload["metadata"]["name"])


def test_data_that_an_earlier_job_left_is_not_a_new_ones(cluster: Cluster, namespace: str, engine: Watched) -> None:
    """It goes, as its Job has, and the worker gets what the source says now."""
    bundle = made(cluster, 'wc -c < "$WORK_ITEM_FILE" > "$LONGSHORE_RESULT_FILE"', data={"pad": "x" * 50_000})
    leave_data(cluster, namespace, bundle)

    created = engine.engine.create(bundle)

    job = engine.until_finished("a")
    owners = json.loads(cluster.kubectl("-n", namespace, "get", "configmap", payload_name(bundle), "-o", "json"))[
        "metadata"
    ]
    assert (created, job.state, job.reason.strip()) == (True, State.DONE, "50010")
    assert [owner["uid"] for owner in owners["ownerReferences"]] == [job.uid]


def test_a_job_whose_maker_ended_before_its_data_was_made_is_made_anew(cluster: Cluster, namespace: str) -> None:
    """Half-made pairs are repaired: the Job goes, no worker of it ever ran, and its item waits again."""
    bundle = made(cluster, "true", data={"pad": "x" * 50_000})
    api = cluster.api(namespace)
    api.create(f"/apis/batch/v1/namespaces/{namespace}/jobs", bundle.job)
    later = KubernetesEngine(api, "q", mounts={}, clock=lambda: time.time() + HALF_MADE_SECONDS)
    engine = Watched(later)
    seen = engine.engine.jobs()["a"]

    gone = engine.until("a", lambda one: one is None)
    created = engine.engine.create(bundle)
    job = engine.until_finished("a")
    later.close()

    assert (seen.state, gone, created, job.state) == (State.STARTING, None, True, State.DONE)


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

    with pytest.raises(EngineFull, match="exceeded quota: jobs"):
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
        except EngineFull:
            watched.engine.tend()
    return False


# --- rights


def shipped_rules(**values: Any) -> list[dict[str, Any]]:
    """The rules of the Role that the chart ships."""
    document = {
        "source": {"kind": "custom", "custom": {"url": "http://127.0.0.1:9"}},
        "worker": {"image": "x"},
        **values,
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
    engine = KubernetesEngine(api, "q", mounts={}, slim_after_seconds=0)
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
    if refused:
        engine.close()
        return refused
    step("create again", lambda: engine.create(made(cluster, "sleep 2", "small")))
    large = made(cluster, "true", "large", {"pad": "x" * 50_000})
    leave_data(cluster, api.namespace, large)
    step("create large", lambda: engine.create(large))
    step("see it end", lambda: watched.until_finished("small"))

    def is_slim(job: Job | None) -> bool:
        return job is not None and not engine._pods_by_job().get(job.uid)

    step("slim", lambda: watched.until("small", lambda job: is_slim(job) or bool(engine.tend())))
    refused += engine.tend()
    step("why no pod", engine._refused_pods)
    notice = notice_of_a_failure()
    step("tell", partial(send, api, notice))
    step("tell again", partial(send, api, replace(notice, count=2, is_repeat=True)))
    for job in engine.jobs().values() if not refused else ():
        step("delete", partial(engine.delete, job))
    engine.close()
    return refused


def notice_of_a_failure() -> Notice:
    """What a manager tells of a Job that has failed."""
    (notice,) = Notices(None, 0.0).after([job_for("small", State.FAILED)], "", wall=0.0, monotonic=0.0)
    return notice


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
        *((2, verb) for verb in ("list", "create", "patch")),
        *((3, verb) for verb in ("get", "create", "delete")),
    ],
)
def test_each_right_of_the_shipped_role_is_needed(
    cluster: Cluster, namespace: str, tmp_path: Path, right: tuple[int, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """With any one of them less, something fails."""
    rule, verb = right
    monkeypatch.setattr("longshore.engines.kubernetes.engine.FIRST_LOOK_SECONDS", 3.0)
    rules = shipped_rules()
    assert verb in rules[rule]["verbs"]

    with somebody_with(cluster, namespace, without(rules, rule, verb), tmp_path) as api:
        refused = work_through(cluster, api)

    resource = rules[rule]["resources"][0]
    assert [line for line in refused if f'cannot {verb} resource "{resource}"' in line], refused
