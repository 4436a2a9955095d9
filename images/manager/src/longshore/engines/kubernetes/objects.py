"""What is read of Jobs and Pods, and what it says about an item. Pure.

Only the fields that are read are declared; everything else of an object is skipped, which is most of the cost of
reading it. https://kubernetes.io/docs/reference/kubernetes-api/workload-resources/job-v1/
"""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final, Self, TypeVar

import msgspec

from longshore.manifests import (
    ITEM_ANNOTATION,
    PENDING_ANNOTATION,
    REFUSED_ANNOTATION,
    STAGES_ANNOTATION,
    first_seen_of,
    is_item_refused,
)
from longshore.podtemplate import CONTAINER
from longshore.state import Job, State
from longshore_kit.contract import NO_RETRY

REASON_ANNOTATION: Final = "longshore.dev/reason"
SECONDS_ANNOTATION: Final = "longshore.dev/processing-seconds"
EXIT_CODE_ANNOTATION: Final = "longshore.dev/exit-code"
STAGE_ANNOTATION: Final = "longshore.dev/stage"
STAGE_SECONDS_ANNOTATION: Final = "longshore.dev/stage-seconds"
"""On a finished Job, so that it says everything itself when its pods are gone."""
_REASON_MAX: Final = 4096
_NO_ROOM: Final = "Unschedulable: "
"""What a scheduler says of a pod that fits on no node."""
_BEGUN_AT_ONCE: Final = timedelta(seconds=5)
"""The controller begins with a new Job within a moment, and a busy one within a few."""
_QUOTA: Final = "exceeded quota"
_SUSPENDED: Final = "it is suspended, and whoever admits it, such as Kueue, has not yet"
Number = TypeVar("Number", int, float)
CONTROLLER_PAUSE: Final = timedelta(minutes=6)
"""Between two attempts the Job controller waits 10 s, doubled each time, and so long at most."""
_DISRUPTED: Final = "DisruptionTarget"
"""https://kubernetes.io/docs/concepts/workloads/pods/disruptions/#pod-disruption-conditions"""
_UNTOLD: Final = frozenset({"ContainerCreating", "PodInitializing"})
"""Reasons to wait that say nothing is wrong."""

_UNREMARKABLE: Final = frozenset({"", "Error", "Completed"})
"""Reasons to have ended that the exit code says as well."""


class _Struct(msgspec.Struct, rename="camel", frozen=True, kw_only=True):
    pass


class Owner(_Struct, frozen=True):
    """Who an object belongs to."""

    kind: str = ""
    name: str = ""
    uid: str = ""


class ManagedFields(_Struct, frozen=True):
    """Who changed which part of an object when; of the parts, only which subresource."""

    subresource: str = ""
    time: datetime | None = None


class Metadata(_Struct, frozen=True):
    """What every object has."""

    name: str
    uid: str
    creation_timestamp: datetime
    resource_version: str = ""
    deletion_timestamp: datetime | None = None
    annotations: dict[str, str] = {}
    labels: dict[str, str] = {}
    owner_references: tuple[Owner, ...] = ()
    managed_fields: tuple[ManagedFields, ...] = ()


class Condition(_Struct, frozen=True):
    """One thing that is so, or not, of an object."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    last_transition_time: datetime | None = None


class JobSpec(_Struct, frozen=True):
    """Of a Job's spec."""

    backoff_limit: int = 6
    suspend: bool = False


class JobStatus(_Struct, frozen=True):
    """Of a Job's status."""

    failed: int = 0
    start_time: datetime | None = None
    completion_time: datetime | None = None
    conditions: tuple[Condition, ...] = ()


class JobObject(_Struct, frozen=True):
    """A Job."""

    metadata: Metadata
    spec: JobSpec = JobSpec()
    status: JobStatus = JobStatus()


class Running(_Struct, frozen=True):
    """A container that runs."""

    started_at: datetime | None = None


class Waiting(_Struct, frozen=True):
    """A container that does not run yet."""

    reason: str = ""
    message: str = ""


class Terminated(_Struct, frozen=True):
    """A container that has ended."""

    exit_code: int = 0
    reason: str = ""
    message: str = ""
    started_at: datetime | None = None
    finished_at: datetime | None = None


class ContainerState(_Struct, frozen=True):
    """One of three."""

    running: Running | None = None
    waiting: Waiting | None = None
    terminated: Terminated | None = None


class ContainerStatus(_Struct, frozen=True):
    """How one container is."""

    name: str
    state: ContainerState = ContainerState()


class PodStatus(_Struct, frozen=True):
    """Of a pod's status."""

    phase: str = ""
    reason: str = ""
    message: str = ""
    conditions: tuple[Condition, ...] = ()
    container_statuses: tuple[ContainerStatus, ...] = ()
    init_container_statuses: tuple[ContainerStatus, ...] = ()


class PodSpec(_Struct, frozen=True):
    """Of a pod's spec."""

    service_account_name: str = ""


class PodObject(_Struct, frozen=True):
    """A pod."""

    metadata: Metadata
    spec: PodSpec = PodSpec()
    status: PodStatus = PodStatus()

    @property
    def job_name(self) -> str:
        """Its Job's name."""
        return self.metadata.labels.get("batch.kubernetes.io/job-name", "")

    @property
    def job_uid(self) -> str:
        """The very Job that it belongs to: an earlier one of the same name may have left pods that still go."""
        return next((owner.uid for owner in self.metadata.owner_references if owner.kind == "Job"), "")

    @property
    def has_ended(self) -> bool:
        """Whether nothing of it runs any more."""
        return self.status.phase in {"Succeeded", "Failed"}

    @property
    def statuses(self) -> tuple[ContainerStatus, ...]:
        """Of all its containers, in the order in which they run."""
        return (*self.status.init_container_statuses, *self.status.container_statuses)


@dataclass(frozen=True)
class _Worker:
    """The containers of a pod that do the item's work, in their order: of a chain the adapter and the stages."""

    names: tuple[str, ...]

    @classmethod
    def of(cls, job: JobObject) -> Self:
        """As the Job itself says."""
        stages = job.metadata.annotations.get(STAGES_ANNOTATION, "")
        return cls(tuple(stages.split(",")) if stages else (CONTAINER,))

    @property
    def is_chain(self) -> bool:
        """Whether there are stages to name."""
        return len(self.names) > 1

    def statuses(self, pod: PodObject) -> list[ContainerStatus]:
        """Theirs in a pod."""
        return [one for one in pod.statuses if one.name in self.names]

    def running(self, pod: PodObject) -> ContainerStatus | None:
        """The one that runs."""
        return next((one for one in self.statuses(pod) if one.state.running), None)

    def ended(self, pod: PodObject) -> ContainerStatus | None:
        """The one with which the pod's work ended: the first that failed, else the last; None while there is more."""
        statuses = self.statuses(pod)
        failed = next((one for one in statuses if one.state.terminated and one.state.terminated.exit_code), None)
        if failed or not statuses:
            return failed
        return statuses[-1] if statuses[-1].state.terminated else None

    def terminated(self, pod: PodObject) -> Terminated | None:
        """How it ended."""
        ended = self.ended(pod)
        return ended.state.terminated if ended else None

    def began(self, pod: PodObject) -> datetime | None:
        """When the first of them began."""
        for one in self.statuses(pod):
            begun = one.state.running or one.state.terminated
            if begun and begun.started_at:
                return begun.started_at
        return None

    def stage(self, pod: PodObject) -> str:
        """Of a chain, the stage at which a pod is, or with which it ended."""
        if not self.is_chain:
            return ""
        begun = [one for one in self.statuses(pod) if one.state.running or one.state.terminated]
        kept_back = next((one for one in self.statuses(pod) if _told_to_wait(one)), None)
        at = self.running(pod) or self.ended(pod) or kept_back or (begun[-1] if begun else None)
        return at.name if at else ""

    def seconds(self, pod: PodObject) -> tuple[tuple[str, float], ...]:
        """What each of them took, of those that have ended."""
        return tuple(
            (one.name, _seconds_of(one.state.terminated)) for one in self.statuses(pod) if one.state.terminated
        )


def job_of(job: JobObject, pods: Sequence[PodObject], refusal: str = "") -> Job:
    """
    What a Job and its pods say about its item.

    `refusal` is why its pods could not even be made, as the Job's events tell.
    """
    pods = sorted(pods, key=lambda pod: pod.metadata.creation_timestamp)
    worker = _Worker.of(job)
    state, since, reason = _state(job, pods, worker, refusal)
    last = next((worker.terminated(pod) for pod in reversed(pods) if pod.has_ended), None)
    kept = job.metadata.annotations
    exit_code = _number(kept, EXIT_CODE_ANNOTATION, int)
    if exit_code is None and last and state is not State.RUNNING:
        exit_code = last.exit_code
    seconds = _number(kept, SECONDS_ANNOTATION, float)
    return Job(
        name=job.metadata.name,
        item=kept.get(ITEM_ANNOTATION, ""),
        uid=job.metadata.uid,
        state=state,
        created=job.metadata.creation_timestamp.timestamp(),
        since=since.timestamp(),
        attempt=_attempt(job, state, pods),
        attempts=job.spec.backoff_limit + 1,
        reason=reason,
        exit_code=exit_code,
        processing_seconds=_processing_seconds(pods, worker) if seconds is None else seconds,
        stage=kept.get(STAGE_ANNOTATION) or (worker.stage(pods[-1]) if pods else ""),
        stage_seconds=_stage_seconds(kept) or (worker.seconds(pods[-1]) if pods and worker.is_chain else ()),
        deleting=job.metadata.deletion_timestamp is not None,
        first_seen=first_seen_of(kept),
        is_out_of_room=_is_out_of_room(job, state, reason, refusal),
        can_not_start=state is State.STARTING and _can_not_start(pods, refusal),
        is_suspended=state is State.STARTING and job.spec.suspend,
        is_item_refused=is_item_refused(kept),
        let_go=_let_go(job),
    )


def pending_since(job: JobObject, pods: Sequence[PodObject]) -> datetime | None:
    """Since when a worker should have been starting and has not; None when it has, or nothing should."""
    if job.spec.suspend or job.metadata.deletion_timestamp or condition(job.status.conditions, "Complete", "Failed"):
        return None
    waiting = [pod for pod in pods if not pod.has_ended]
    # An init container that runs, or has run, is work: what fetches the worker's input, or a stage before the last.
    if any(_has_begun(pod) and not _is_kept_back(pod) for pod in waiting):
        return None
    if waiting:
        return min(_ended_at(pod) for pod in waiting)
    if pods:
        return pod_due(pods)
    # A drained pod goes before the next one comes, and leaves no trace but that the controller wrote it off.
    written = [one.time for one in job.metadata.managed_fields if one.subresource == "status" and one.time]
    return max(written, default=job.metadata.creation_timestamp)


def pod_due(ended: Sequence[PodObject]) -> datetime:
    """When the controller's pause after the last failed attempt is over at the latest."""
    return max(_ended_at(pod) for pod in ended) + CONTROLLER_PAUSE


def pending_limit(job: JobObject) -> float:
    """How long its worker may take to start, in seconds."""
    limit = _number(job.metadata.annotations, PENDING_ANNOTATION, float)
    return float("inf") if limit is None else limit


def is_recorded(job: JobObject) -> bool:
    """Whether a finished Job says everything itself."""
    return REASON_ANNOTATION in job.metadata.annotations


def record_annotations(job: Job) -> dict[str, str]:
    """What a finished Job is given to say everything itself."""
    kept = {
        REASON_ANNOTATION: job.reason.encode()[-_REASON_MAX:].decode(errors="ignore"),
        SECONDS_ANNOTATION: f"{job.processing_seconds:.3f}",
    }
    if job.exit_code is not None:
        kept[EXIT_CODE_ANNOTATION] = str(job.exit_code)
    if job.stage:
        kept[STAGE_ANNOTATION] = job.stage
        kept[STAGE_SECONDS_ANNOTATION] = json.dumps({name: round(seconds, 3) for name, seconds in job.stage_seconds})
    return kept


def condition(conditions: Sequence[Condition], *types: str) -> Condition | None:
    """The first condition of these types that is so."""
    return next((one for one in conditions if one.type in types and one.status == "True"), None)


def _number(annotations: Mapping[str, str], name: str, kind: Callable[[str], Number]) -> Number | None:
    """None where it is missing; somebody's slip of the pen in one Job must not stop its queue, so there too."""
    try:
        number = kind(annotations[name])
    except (KeyError, ValueError):
        return None
    return number if math.isfinite(number) else None


def _stage_seconds(annotations: Mapping[str, str]) -> tuple[tuple[str, float], ...]:
    try:
        told = msgspec.json.decode(annotations[STAGE_SECONDS_ANNOTATION], type=dict[str, float])
    except (KeyError, msgspec.MsgspecError):
        return ()
    return tuple(told.items())


def _state(job: JobObject, pods: Sequence[PodObject], worker: _Worker, refusal: str) -> tuple[State, datetime, str]:
    created, kept = job.metadata.creation_timestamp, job.metadata.annotations
    if REFUSED_ANNOTATION in kept:
        suspended = condition(job.status.conditions, "Suspended")
        at = suspended.last_transition_time if suspended else None
        return State.FAILED, at or created, kept[REFUSED_ANNOTATION]
    if done := condition(job.status.conditions, "Complete"):
        at = job.status.completion_time or done.last_transition_time or created
        return State.DONE, at, kept.get(REASON_ANNOTATION, _last_words(pods, worker))
    if failed := condition(job.status.conditions, "Failed"):
        reason = kept.get(REASON_ANNOTATION) or _last_words(pods, worker) or failed.message or failed.reason
        return State.FAILED, failed.last_transition_time or created, reason
    if job.spec.suspend:
        return State.STARTING, created, _SUSPENDED
    live = [pod for pod in pods if not pod.has_ended]
    for pod in live:
        # One whose container has ended is running until the kubelet has said so of the whole pod.
        if _is_kept_back(pod):
            return State.STARTING, _ended_at(pod), why_waiting(pod)
        if worker.running(pod) or worker.terminated(pod) or _init_running(pod) or worker.began(pod):
            return State.RUNNING, _since(pod, worker), ""
    if live:
        return State.STARTING, live[-1].metadata.creation_timestamp, why_waiting(live[-1])
    ended = worker.terminated(pods[-1]) if pods else None
    if ended and ended.started_at and pods[-1].status.phase == "Succeeded":
        # The controller has not counted it yet.
        return State.RUNNING, ended.started_at, ""
    at = ended.finished_at if ended and ended.finished_at else created
    return State.STARTING, at, refusal or _last_words(pods, worker)


def _let_go(job: JobObject) -> float | None:
    """When it was resumed: the controller notes anew when it begins with it."""
    began, created = job.status.start_time, job.metadata.creation_timestamp
    return began.timestamp() if began and began - created > _BEGUN_AT_ONCE else None


def _is_out_of_room(job: JobObject, state: State, reason: str, refusal: str) -> bool:
    if state is State.STARTING:
        return reason.startswith(_NO_ROOM) or _QUOTA in refusal
    # Given up, it was told why with other words before.
    given_up = job.metadata.annotations.get(REFUSED_ANNOTATION, "")
    return f": {_NO_ROOM}" in given_up or _QUOTA in given_up


def _can_not_start(pods: Sequence[PodObject], refusal: str) -> bool:
    """Whether a pod is kept from starting, or from being made, by what waiting does not mend."""
    live = [pod for pod in pods if not pod.has_ended]
    if not live:
        return bool(refusal) and _QUOTA not in refusal
    why = why_waiting(live[-1])
    return bool(why) and not why.startswith(_NO_ROOM)


def why_waiting(pod: PodObject) -> str:
    """What keeps a pod from running, in the words of who knows; empty while nothing is wrong."""
    for status in pod.statuses:
        if waiting := _told_to_wait(status):
            return f"{waiting.reason}: {waiting.message}" if waiting.message else waiting.reason
    scheduled = next((one for one in pod.status.conditions if one.type == "PodScheduled"), None)
    if scheduled and scheduled.status == "False":
        return f"{scheduled.reason}: {scheduled.message}"
    return ""


def _attempt(job: JobObject, state: State, pods: Sequence[PodObject]) -> int:
    """Disrupted pods cost none, and are not counted."""
    # The controller counts a little later than it is seen here.
    seen = sum(pod.status.phase == "Failed" and not condition(pod.status.conditions, _DISRUPTED) for pod in pods)
    failed = max(job.status.failed, seen)
    return failed + 1 if state in {State.RUNNING, State.DONE} else failed


def _told_to_wait(status: ContainerStatus) -> Waiting | None:
    """That a container can't be started now, with the reason."""
    waiting = status.state.waiting
    return waiting if waiting and waiting.reason and waiting.reason not in _UNTOLD else None


def _is_kept_back(pod: PodObject) -> bool:
    """Whether nothing of it runs, though something of it has, since what is next can't be started."""
    return (
        _has_begun(pod)
        and not any(one.state.running for one in pod.statuses)
        and any(_told_to_wait(one) for one in pod.statuses)
    )


def _has_begun(pod: PodObject) -> bool:
    return any(one.state.running or one.state.terminated for one in pod.statuses)


def _ended_at(pod: PodObject) -> datetime:
    finished = [one.state.terminated.finished_at for one in pod.statuses if one.state.terminated]
    return max((at for at in finished if at), default=pod.metadata.creation_timestamp)


def _since(pod: PodObject, worker: _Worker) -> datetime:
    init = _init_running(pod)
    return worker.began(pod) or (init.started_at if init else None) or pod.metadata.creation_timestamp


def _init_running(pod: PodObject) -> Running | None:
    return next((one.state.running for one in pod.status.init_container_statuses if one.state.running), None)


def _processing_seconds(pods: Sequence[PodObject], worker: _Worker) -> float:
    return sum(seconds for pod in pods for _, seconds in worker.seconds(pod))


def _seconds_of(terminated: Terminated) -> float:
    if not terminated.started_at or not terminated.finished_at:
        return 0.0
    return max(0.0, (terminated.finished_at - terminated.started_at).total_seconds())


def _last_words(pods: Sequence[PodObject], worker: _Worker) -> str:
    """What the last worker said, or what was said of it."""
    ended = [pod for pod in pods if pod.has_ended]
    if not ended:
        return ""
    pod = ended[-1]
    terminated = worker.terminated(pod)
    if pod.status.reason == "DeadlineExceeded":
        # The node counts from when it took the pod: pulling an image is part of it.
        began = (
            ""
            if worker.began(pod)
            else f", before its worker had started: {why_waiting(pod) or 'its image was pulled'}"
        )
        return f"stopped at its deadline (retry.deadlineSeconds){began}"
    disrupted = condition(pod.status.conditions, _DISRUPTED)
    if disrupted and pod.status.phase == "Failed" and not (terminated and terminated.exit_code in NO_RETRY):
        return f"{disrupted.reason}: {disrupted.message}"
    if terminated and terminated.message.strip():
        # What the node did to it comes before its own last words, which know nothing of it.
        told = "" if terminated.reason in _UNREMARKABLE else f"{terminated.reason}: "
        return f"{told}{terminated.message.strip()}"
    if terminated and terminated.exit_code:
        told = f", {terminated.reason}" if terminated.reason not in _UNREMARKABLE else ", without a word"
        return f"exit code {terminated.exit_code}{told}"
    return pod.status.message or pod.status.reason or _words_of_others(pod, worker)


def _words_of_others(pod: PodObject, worker: _Worker) -> str:
    """Of a container beside or before the worker's, that made the pod fail."""
    for one in pod.statuses:
        ended = one.state.terminated
        if one.name not in worker.names and ended and ended.exit_code:
            return f"container {one.name}: {ended.message.strip() or f'exit code {ended.exit_code}, {ended.reason}'}"
    return ""
