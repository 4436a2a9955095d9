"""What a Job and its pods say about an item, from JSON as API servers send it."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from longshore.engines.kubernetes.objects import (
    JobObject,
    PodObject,
    is_recorded,
    job_of,
    pending_limit,
    pending_since,
    record_annotations,
    why_waiting,
)
from longshore.state import Job, State

ITEM = {"longshore.dev/item": "films/ä.mp4", "longshore.dev/pending-seconds": "300"}
START = datetime(2026, 1, 1, 10, tzinfo=UTC).timestamp()
IMAGE_TROUBLE = 'Back-off pulling image "nowhere/x:1": ErrImagePull: not found'
UNSCHEDULABLE = "0/3 nodes are available: 3 Insufficient memory."
Manifest = dict[str, Any]


def at(second: int) -> str:
    """So many seconds after the Job was made, as API servers write it."""
    return f"2026-01-01T10:{second // 60:02}:{second % 60:02}Z"


def time_at(second: int) -> datetime:
    """The same as a value."""
    return datetime.fromtimestamp(START + second, UTC)


def condition(kind: str, second: int, reason: str = "", message: str = "", status: str = "True") -> Manifest:
    """One of a Job's or a pod's conditions."""
    told = {"reason": reason, "message": message} if reason else {}
    return {
        "type": kind,
        "status": status,
        "lastProbeTime": None,
        "lastTransitionTime": at(second),
        **told,
    }


def job(
    *conditions: Manifest, annotations: dict[str, str] | None = None, suspend: bool = False, **more: Any
) -> JobObject:
    """A Job, with all that the API server puts beside what is read."""
    metadata, status = more.pop("metadata", {}), more
    return msgspec.json.decode(
        msgspec.json.encode(
            {
                "apiVersion": "batch/v1",
                "kind": "Job",
                "metadata": {
                    "name": "q-films-1",
                    "namespace": "ns",
                    "uid": "u1",
                    "resourceVersion": "817",
                    "generation": 1,
                    "creationTimestamp": at(0),
                    "labels": {"longshore.dev/queue": "q"},
                    "annotations": ITEM | (annotations or {}),
                    "managedFields": [
                        {
                            "manager": "OpenAPI-Generator",
                            "operation": "Update",
                            "apiVersion": "batch/v1",
                            "time": at(0),
                            "fieldsType": "FieldsV1",
                            "fieldsV1": {"f:metadata": {"f:annotations": {".": {}}}},
                        }
                    ],
                }
                | metadata,
                "spec": {
                    "parallelism": 1,
                    "completions": 1,
                    "backoffLimit": 2,
                    "suspend": suspend,
                    "template": {"metadata": {"creationTimestamp": None}, "spec": {"containers": [{"name": "worker"}]}},
                },
                "status": {"ready": 0, "terminating": 0, "uncountedTerminatedPods": {}, "startTime": at(0)}
                | ({"conditions": conditions} if conditions else {})
                | status,
            }
        ),
        type=JobObject,
    )


def container(state: Manifest, name: str = "worker") -> Manifest:
    """A container's status."""
    return {
        "name": name,
        "state": state,
        "lastState": {},
        "ready": "running" in state,
        "restartCount": 0,
        "image": "x",
        "imageID": "",
        "started": "running" in state,
    }


def pod(
    phase: str, *states: Manifest, second: int = 1, number: int = 1, init: Sequence[Manifest] = (), **status: Any
) -> PodObject:
    """A pod of that Job, made so many seconds after it."""
    return msgspec.json.decode(
        msgspec.json.encode(
            {
                "metadata": {
                    "name": f"q-films-1-{number}",
                    "generateName": "q-films-1-",
                    "uid": f"p{number}",
                    "resourceVersion": "900",
                    "creationTimestamp": at(second),
                    "labels": {"batch.kubernetes.io/job-name": "q-films-1", "longshore.dev/queue": "q"},
                    "ownerReferences": [{"apiVersion": "batch/v1", "kind": "Job", "name": "q-films-1", "uid": "u1"}],
                    "finalizers": ["batch.kubernetes.io/job-tracking"],
                },
                "spec": {"containers": [{"name": "worker"}]},
                "status": {"phase": phase, "qosClass": "Burstable"}
                | ({"containerStatuses": list(states)} if states else {})
                | ({"initContainerStatuses": list(init)} if init else {})
                | status,
            }
        ),
        type=PodObject,
    )


def waiting(reason: str, message: str = "") -> Manifest:
    """A worker that waits."""
    return container({"waiting": {"reason": reason} | ({"message": message} if message else {})})


def running(second: int) -> Manifest:
    """A worker that runs."""
    return container({"running": {"startedAt": at(second)}})


def ended(exit_code: int, started: int, finished: int, message: str = "", *, name: str = "worker") -> Manifest:
    """A container that has ended; its reason is the kubelet's."""
    words = {"message": message} if message else {}
    terminated = {
        "exitCode": exit_code,
        "reason": {0: "Completed", 137: "OOMKilled"}.get(exit_code, "Error"),
        "startedAt": at(started),
        "finishedAt": at(finished),
        "containerID": "containerd://1",
    }
    return container({"terminated": terminated | words}, name)


UNKNOWN = container(
    {
        "terminated": {
            "exitCode": 137,
            "reason": "ContainerStatusUnknown",
            "message": "The container could not be located when the pod was terminated",
            "startedAt": None,
            "finishedAt": None,
        }
    }
)
DRAINED = condition("DisruptionTarget", 90, "EvictionByEvictionAPI", "Eviction API: evicting")
COMPLETE = condition("Complete", 61, "CompletionsReached", "Reached expected number of succeeded pods")
NO_MORE = condition("Failed", 200, "BackoffLimitExceeded", "Job has reached the specified backoff limit")
POLICY = condition("Failed", 31, "PodFailurePolicy", "Container worker for pod ns/q-1 failed with exit code 65")


def seen(state: State, since: float = 0, **parts: Any) -> Job:
    """The value that is expected; times in seconds since the Job was made."""
    values: dict[str, Any] = {"name": "q-films-1", "item": "films/ä.mp4", "uid": "u1", "attempts": 3} | parts
    return Job(state=state, created=START, since=START + since, **values)


@pytest.mark.parametrize(
    ("one", "pods", "expected"),
    [
        pytest.param(job(), [], seen(State.STARTING), id="no pod yet"),
        pytest.param(
            msgspec.json.decode(
                b'{"metadata":{"name":"j","uid":"u","creationTimestamp":"2026-01-01T10:00:00Z"}}', type=JobObject
            ),
            [],
            Job("j", "", "u", State.STARTING, START, START, attempts=7),
            id="nothing in it",
        ),
        pytest.param(
            job(active=1), [pod("Pending", waiting("ContainerCreating"))], seen(State.STARTING, 1), id="being created"
        ),
        pytest.param(
            job(active=1),
            [pod("Pending", waiting("ErrImagePull", IMAGE_TROUBLE))],
            seen(State.STARTING, 1, reason=f"ErrImagePull: {IMAGE_TROUBLE}", can_not_start=True),
            id="no image",
        ),
        pytest.param(
            job(active=1),
            [pod("Pending", waiting("CreateContainerConfigError", 'secret "x" not found'))],
            seen(State.STARTING, 1, reason='CreateContainerConfigError: secret "x" not found', can_not_start=True),
            id="no Secret",
        ),
        pytest.param(
            job(active=1),
            [pod("Pending", conditions=[condition("PodScheduled", 1, "Unschedulable", UNSCHEDULABLE, "False")])],
            seen(State.STARTING, 1, reason=f"Unschedulable: {UNSCHEDULABLE}", is_out_of_room=True),
            id="no node",
        ),
        pytest.param(
            job(active=1, ready=1), [pod("Running", running(5))], seen(State.RUNNING, 5, attempt=1), id="running"
        ),
        pytest.param(
            job(active=1),
            [pod("Running", ended(0, 5, 60, "ok"), running(3) | {"name": "proxy"})],
            seen(State.RUNNING, 5, attempt=1, processing_seconds=55.0),
            id="ended, and the pod not yet",
        ),
        pytest.param(
            job(active=1),
            [pod("Succeeded", ended(0, 5, 60, "ok"))],
            seen(State.RUNNING, 5, attempt=1, processing_seconds=55.0),
            id="succeeded, not yet counted",
        ),
        pytest.param(
            job(active=1),
            [pod("Failed", ended(1, 5, 60, "no space\n"))],
            seen(State.STARTING, 60, attempt=1, reason="no space", exit_code=1, processing_seconds=55.0),
            id="failed once, not yet counted",
        ),
        pytest.param(
            job(failed=1),
            [pod("Failed", ended(1, 5, 60, "no space\n"))],
            seen(State.STARTING, 60, attempt=1, reason="no space", exit_code=1, processing_seconds=55.0),
            id="failed once, retry pending",
        ),
        pytest.param(
            job(failed=1, active=1),
            [pod("Running", running(80), number=2, second=75), pod("Failed", ended(1, 5, 60, "no space"))],
            seen(State.RUNNING, 80, attempt=2, processing_seconds=55.0),
            id="failed once, runs again",
        ),
        pytest.param(
            job(failed=1),
            [pod("Failed", ended(143, 5, 65), reason="DeadlineExceeded", message="Pod was active on the node longer")],
            seen(
                State.STARTING,
                65,
                attempt=1,
                reason="stopped at its deadline (retry.deadlineSeconds)",
                exit_code=143,
                processing_seconds=60.0,
            ),
            id="deadline exceeded",
        ),
        pytest.param(
            job(POLICY, failed=1),
            [pod("Failed", ended(65, 10, 30, "no video in it"))],
            seen(State.FAILED, 31, attempt=1, reason="no video in it", exit_code=65, processing_seconds=20.0),
            id="exit 65",
        ),
        pytest.param(
            job(POLICY, failed=1),
            [pod("Failed", ended(65, 10, 30, "no video in it"), conditions=[DRAINED])],
            seen(State.FAILED, 31, attempt=1, reason="no video in it", exit_code=65, processing_seconds=20.0),
            id="exit 65 on a node that is drained",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [
                pod(
                    "Failed", ended(1, 10 * n, 10 * n + 5, f"\nTraceback {n}\n  boom\n\n"), number=n, second=10 * n
                )  # FallbackToLogsOnError: the last lines of the log
                for n in (3, 1, 2)
            ],
            seen(State.FAILED, 200, attempt=3, reason="Traceback 3\n  boom", exit_code=1, processing_seconds=15.0),
            id="a log's last lines",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [pod("Failed", ended(2, 5, 6))],
            seen(State.FAILED, 200, attempt=3, reason="exit code 2, without a word", exit_code=2, processing_seconds=1),
            id="failed without a word",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [pod("Failed", ended(137, 5, 6))],
            seen(State.FAILED, 200, attempt=3, reason="exit code 137, OOMKilled", exit_code=137, processing_seconds=1),
            id="out of memory",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [pod("Failed", ended(137, 5, 6, "frame 812\n"))],
            seen(State.FAILED, 200, attempt=3, reason="OOMKilled: frame 812", exit_code=137, processing_seconds=1),
            id="out of memory, with a log",
        ),
        pytest.param(
            job(
                NO_MORE,
                failed=3,
                annotations={
                    "longshore.dev/reason": "by hand",
                    "longshore.dev/exit-code": "none",
                    "longshore.dev/processing-seconds": "nan",
                },
            ),
            [],
            seen(State.FAILED, 200, attempt=3, reason="by hand"),
            id="edited by hand to what is no number",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [],
            seen(State.FAILED, 200, attempt=3, reason="Job has reached the specified backoff limit"),
            id="failed, pods gone",
        ),
        pytest.param(
            job(),
            [pod("Failed", ended(143, 5, 95), conditions=[DRAINED])],
            seen(
                State.STARTING,
                95,
                reason="EvictionByEvictionAPI: Eviction API: evicting",
                exit_code=143,
                processing_seconds=90.0,
            ),
            id="drained: costs no attempt",
        ),
        pytest.param(
            job(active=1),
            [
                pod("Failed", ended(143, 5, 95), conditions=[DRAINED]),
                pod("Running", running(110), number=2, second=100),
            ],
            seen(State.RUNNING, 110, attempt=1, processing_seconds=90.0),
            id="drained, runs again: still the first attempt",
        ),
        pytest.param(
            job(),
            [pod("Failed", UNKNOWN, conditions=[condition("DisruptionTarget", 9, "DeletionByPodGC", "node is gone")])],
            seen(State.STARTING, reason="DeletionByPodGC: node is gone", exit_code=137),
            id="its node is gone",
        ),
        pytest.param(
            job(failed=1),
            [pod("Failed", reason="UnexpectedAdmissionError", message="Allocate failed")],
            seen(State.STARTING, attempt=1, reason="Allocate failed"),
            id="refused by the kubelet",
        ),
        pytest.param(
            job(COMPLETE, succeeded=1, completionTime=at(61)),
            [pod("Succeeded", ended(0, 10, 60, "12 pictures\n"))],
            seen(State.DONE, 61, attempt=1, reason="12 pictures", exit_code=0, processing_seconds=50.0),
            id="done",
        ),
        pytest.param(
            job(
                COMPLETE,
                succeeded=1,
                completionTime=at(61),
                annotations={
                    "longshore.dev/reason": "12 pictures",
                    "longshore.dev/processing-seconds": "50.250",
                    "longshore.dev/exit-code": "0",
                },
            ),
            [],
            seen(State.DONE, 61, attempt=1, reason="12 pictures", exit_code=0, processing_seconds=50.25),
            id="done and recorded, without pods",
        ),
        pytest.param(
            job(
                NO_MORE, failed=3, annotations={"longshore.dev/reason": "", "longshore.dev/processing-seconds": "0.000"}
            ),
            [],
            seen(State.FAILED, 200, attempt=3, reason="Job has reached the specified backoff limit"),
            id="failed and recorded with nothing to say",
        ),
        pytest.param(
            job(suspend=True, annotations={"longshore.dev/refused": "too much data"}),
            [],
            seen(State.FAILED, reason="too much data"),
            id="refused",
        ),
        pytest.param(
            job(
                condition("Suspended", 301, "JobSuspended", "Job suspended"),
                suspend=True,
                annotations={"longshore.dev/refused": "its worker did not start"},
            ),
            [pod("Pending", waiting("ErrImagePull", IMAGE_TROUBLE))],
            seen(State.FAILED, 301, reason="its worker did not start"),
            id="given up, its pod still there",
        ),
        pytest.param(
            job(active=1, metadata={"deletionTimestamp": at(50), "deletionGracePeriodSeconds": 0}),
            [pod("Running", running(5))],
            seen(State.RUNNING, 5, attempt=1, deleting=True),
            id="being deleted",
        ),
        pytest.param(
            job(active=1),
            [pod("Pending", waiting("PodInitializing"), init=[container({"running": {"startedAt": at(2)}}, "fetch")])],
            seen(State.RUNNING, 2, attempt=1),
            id="an init container runs",
        ),
        pytest.param(
            job(active=1),
            [
                pod(
                    "Pending",
                    waiting("PodInitializing"),
                    init=[container({"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}, "fetch")],
                )
            ],
            seen(State.STARTING, 1, reason="ImagePullBackOff: no such", can_not_start=True),
            id="an init container without image",
        ),
        pytest.param(
            job(failed=1),
            [pod("Failed", waiting("PodInitializing"), init=[ended(3, 2, 4, name="fetch")])],
            seen(State.STARTING, attempt=1, reason="container fetch: exit code 3, Error"),
            id="an init container failed",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [
                pod("Failed", ended(1, 5, 6, "boom")),
                pod("Failed", waiting("PodInitializing"), init=[ended(3, 12, 14, "no disk\n", name="f")], second=10),
            ],
            seen(State.FAILED, 200, attempt=3, reason="container f: no disk", processing_seconds=1.0),
            id="at last an init container failed: the exit code before is not the last one",
        ),
        pytest.param(
            job(NO_MORE, failed=3),
            [pod("Failed", ended(0, 5, 6), ended(2, 5, 9, name="proxy"))],
            seen(
                State.FAILED,
                200,
                attempt=3,
                reason="container proxy: exit code 2, Error",
                exit_code=0,
                processing_seconds=1.0,
            ),
            id="a container beside it failed",
        ),
    ],
)
def test_what_a_job_and_its_pods_say(one: JobObject, pods: list[PodObject], expected: Job) -> None:
    """The whole value, in whatever order the pods come."""
    assert (job_of(one, pods), job_of(one, pods[::-1])) == (expected, expected)


def test_a_job_that_somebody_holds_back_waits() -> None:
    """Kueue, say, lets it go when it is its turn: nothing is wrong, and nobody gives it up."""
    held = job(suspend=True)

    assert job_of(held, []) == seen(
        State.STARTING, reason="it is suspended, and whoever admits it, such as Kueue, has not yet", is_suspended=True
    )
    assert pending_since(held, []) is None


def test_a_refusal_is_told_while_there_is_no_pod() -> None:
    """Quota or admission: only the Job's events say so."""
    quota, rule = "FailedCreate: exceeded quota", "FailedCreate: admission webhook denied the request"

    assert job_of(job(), [], quota) == seen(State.STARTING, reason=quota, is_out_of_room=True)
    assert job_of(job(), [], rule) == seen(State.STARTING, reason=rule, can_not_start=True)


@pytest.mark.parametrize(
    ("one", "expected"),
    [
        (pod("Pending"), ""),
        (pod("Pending", waiting("ContainerCreating")), ""),
        (pod("Pending", waiting("PodInitializing")), ""),
        (pod("Pending", container({})), ""),
        (pod("Pending", container({"waiting": {}})), ""),
        (pod("Pending", waiting("InvalidImageName")), "InvalidImageName"),
        (pod("Pending", waiting("ErrImagePull", "no such")), "ErrImagePull: no such"),
        (pod("Pending", waiting("ContainerCreating"), waiting("ErrImagePull") | {"name": "proxy"}), "ErrImagePull"),
        (pod("Pending", conditions=[condition("PodScheduled", 1)]), ""),
        (
            pod("Pending", conditions=[condition("PodScheduled", 1, "SchedulingGated", "gated", "False")]),
            "SchedulingGated: gated",
        ),
        (pod("Running", running(1)), ""),
    ],
)
def test_why_a_pod_waits(one: PodObject, expected: str) -> None:
    """In the words of kubelet or scheduler; empty while it only takes its time."""
    assert why_waiting(one) == expected


STATUS_WRITTEN = {
    "managedFields": [
        {"manager": "OpenAPI-Generator", "operation": "Update", "time": at(400)},
        {"manager": "kube-controller-manager", "operation": "Update", "time": at(350), "subresource": "status"},
    ]
}


@pytest.mark.parametrize(
    ("one", "pods", "expected"),
    [
        pytest.param(job(), [], 0, id="no pod yet"),
        pytest.param(job(metadata=STATUS_WRITTEN), [], 350, id="no pod any more: since the controller wrote it off"),
        pytest.param(job(active=1), [pod("Pending", waiting("ErrImagePull"))], 1, id="waiting"),
        pytest.param(job(active=1), [pod("Pending")], 1, id="no node"),
        pytest.param(job(active=1), [pod("Running", running(5))], None, id="running"),
        pytest.param(
            job(active=1),
            [pod("Running", ended(0, 5, 60), running(3) | {"name": "proxy"})],
            None,
            id="ended, and the pod not yet",
        ),
        pytest.param(job(active=1), [pod("Succeeded", ended(0, 5, 60))], 420, id="succeeded, not yet counted"),
        pytest.param(job(failed=1), [pod("Failed", ended(1, 5, 60))], 420, id="between two attempts"),
        pytest.param(job(), [pod("Failed", UNKNOWN, conditions=[DRAINED])], 361, id="lost, and nobody knows when"),
        pytest.param(
            job(failed=1),
            [pod("Failed", waiting("PodInitializing"), init=[ended(3, 2, 4, name="fetch")])],
            364,
            id="an init container failed",
        ),
        pytest.param(
            job(active=1),
            [pod("Pending", waiting("PodInitializing"), init=[container({"running": {"startedAt": at(2)}}, "fetch")])],
            None,
            id="an init container runs, which is work",
        ),
        pytest.param(
            job(failed=1, active=1),
            [pod("Failed", ended(1, 5, 60)), pod("Pending", waiting("ErrImagePull"), number=2, second=75)],
            75,
            id="the second attempt waits",
        ),
        pytest.param(job(COMPLETE), [], None, id="done"),
        pytest.param(job(NO_MORE), [], None, id="failed"),
        pytest.param(job(suspend=True), [], None, id="suspended"),
        pytest.param(job(metadata={"deletionTimestamp": at(9)}), [pod("Pending")], None, id="being deleted"),
    ],
)
def test_since_when_a_worker_should_run(one: JobObject, pods: list[PodObject], expected: int | None) -> None:
    """Too long, and the Job is given up: never while one runs, nor in the controller's pause between two attempts."""
    assert pending_since(one, pods) == (None if expected is None else time_at(expected))


def test_how_long_a_worker_may_take_to_start() -> None:
    """As the queue said when the Job was made; a Job that doesn't say may take for ever."""
    assert (pending_limit(job()), pending_limit(msgspec.structs.replace(job(), metadata=pod("").metadata))) == (
        300.0,
        float("inf"),
    )


def test_a_record_says_the_same_without_pods() -> None:
    """What is written on a finished Job reads back as the value it was written from."""
    pods = [pod("Succeeded", ended(0, 10, 60, "12 Bilder 日本\n"))]
    before = job_of(job(COMPLETE, completionTime=at(61)), pods)
    written = record_annotations(before)
    after = job(COMPLETE, completionTime=at(61), annotations=written)

    assert written == {
        "longshore.dev/reason": "12 Bilder 日本",
        "longshore.dev/processing-seconds": "50.000",
        "longshore.dev/exit-code": "0",
    }
    assert (job_of(after, []), is_recorded(after)) == (before, True)
    assert not is_recorded(job(COMPLETE))


def test_a_record_without_an_exit_code_has_none() -> None:
    """A worker that never ended by itself is not given one."""
    assert record_annotations(job_of(job(NO_MORE), [])) == {
        "longshore.dev/reason": "Job has reached the specified backoff limit",
        "longshore.dev/processing-seconds": "0.000",
    }


def test_of_a_long_reason_the_end_is_kept() -> None:
    """Where tools say what went wrong; at most 4096 bytes, and no character is cut in two."""
    kept = record_annotations(seen(State.FAILED, reason="ä" * 3000 + "x"))["longshore.dev/reason"]

    assert kept == "ä" * 2047 + "x"


CHAIN = {"longshore.dev/stages": "multi-worker,find,blur"}
READY = ended(0, 2, 3, name="multi-worker")


def stage_waiting(name: str) -> Manifest:
    """A stage whose turn has not come."""
    return container({"waiting": {"reason": "PodInitializing"}}, name)


def stage_running(name: str, second: int) -> Manifest:
    """A stage at work."""
    return container({"running": {"startedAt": at(second)}}, name)


@pytest.mark.parametrize(
    ("one", "pods", "expected"),
    [
        pytest.param(
            job(annotations=CHAIN, active=1),
            [pod("Pending", stage_waiting("blur"), init=[READY, stage_running("find", 5)])],
            seen(
                State.RUNNING,
                2,
                attempt=1,
                stage="find",
                stage_seconds=(("multi-worker", 1.0),),
                processing_seconds=1.0,
            ),
            id="the first stage runs: since the adapter began",
        ),
        pytest.param(
            job(annotations=CHAIN, active=1),
            [pod("Pending", stage_waiting("blur"), init=[READY, ended(0, 5, 9, name="find")])],
            seen(
                State.RUNNING,
                2,
                attempt=1,
                stage="find",
                stage_seconds=(("multi-worker", 1.0), ("find", 4.0)),
                processing_seconds=5.0,
            ),
            id="between two stages",
        ),
        pytest.param(
            job(POLICY, annotations=CHAIN, failed=1),
            [pod("Failed", stage_waiting("blur"), init=[READY, ended(65, 5, 9, "no face", name="find")])],
            seen(
                State.FAILED,
                31,
                attempt=1,
                stage="find",
                reason="no face",
                exit_code=65,
                stage_seconds=(("multi-worker", 1.0), ("find", 4.0)),
                processing_seconds=5.0,
            ),
            id="a stage before the last failed",
        ),
        pytest.param(
            job(annotations=CHAIN, failed=1),
            [pod("Failed", ended(1, 10, 12, "no room", name="blur"), init=[READY, ended(0, 5, 9, name="find")])],
            seen(
                State.STARTING,
                12,
                attempt=1,
                stage="blur",
                reason="no room",
                exit_code=1,
                stage_seconds=(("multi-worker", 1.0), ("find", 4.0), ("blur", 2.0)),
                processing_seconds=7.0,
            ),
            id="the last stage failed, and is tried again",
        ),
        pytest.param(
            job(COMPLETE, annotations=CHAIN, completionTime=at(60)),
            [pod("Succeeded", ended(0, 10, 59, "blurred", name="blur"), init=[READY, ended(0, 5, 9, name="find")])],
            seen(
                State.DONE,
                60,
                attempt=1,
                stage="blur",
                reason="blurred",
                exit_code=0,
                stage_seconds=(("multi-worker", 1.0), ("find", 4.0), ("blur", 49.0)),
                processing_seconds=54.0,
            ),
            id="done: what the last stage said, and what each took",
        ),
        pytest.param(
            job(annotations=CHAIN, active=1),
            [
                pod(
                    "Pending",
                    stage_waiting("blur"),
                    init=[READY, container({"waiting": {"reason": "ErrImagePull", "message": "no such"}}, "find")],
                )
            ],
            seen(
                State.STARTING,
                3,
                stage="find",
                reason="ErrImagePull: no such",
                stage_seconds=(("multi-worker", 1.0),),
                processing_seconds=1.0,
                can_not_start=True,
            ),
            id="the adapter is done, and a stage has no image",
        ),
    ],
)
def test_what_a_chain_says_about_its_item(one: JobObject, pods: list[PodObject], expected: Job) -> None:
    """Where it is, which stage ended it and in which words, and what each stage took."""
    assert job_of(one, pods) == expected


def test_a_finished_chain_says_everything_itself() -> None:
    """Its stage and its times outlive its pod."""
    pods = [pod("Failed", stage_waiting("blur"), init=[READY, ended(65, 5, 9, "no face", name="find")])]
    before = job_of(job(POLICY, annotations=CHAIN, failed=1), pods)

    after = job_of(job(POLICY, annotations=CHAIN | record_annotations(before), failed=1), [])

    assert after == before


@pytest.mark.parametrize(
    ("first", "last", "expected"),
    [
        pytest.param(ended(0, 5, 9, name="find"), stage_waiting("blur"), None, id="its turn comes now"),
        pytest.param(stage_running("find", 5), stage_waiting("blur"), None, id="one runs"),
        pytest.param(
            ended(0, 5, 9, name="find"),
            container({"waiting": {"reason": "ImagePullBackOff", "message": "no such"}}, "blur"),
            9,
            id="the last one's image is not there: since the one before has ended",
        ),
        pytest.param(
            container({"waiting": {"reason": "CreateContainerConfigError", "message": "no Secret"}}, "find"),
            stage_waiting("blur"),
            3,
            id="the first one can't be made: since the adapter has ended",
        ),
    ],
)
def test_since_when_a_stage_should_run(first: Manifest, last: Manifest, expected: int | None) -> None:
    """A chain that can't go on is given up as one that can't begin."""
    one = job(annotations=CHAIN, active=1)

    assert pending_since(one, [pod("Pending", last, init=[READY, first])]) == (
        None if expected is None else time_at(expected)
    )
