"""The engine: one queue's Jobs in one namespace, through the API server.

Owns which calls make, end and slim a Job, and in which order; decides nothing about items. Finished Jobs are made to
say everything themselves, then their pods go: that keeps a thousand of them cheap. Refuses nothing of a manifest that
the API server takes.
"""

import contextlib
import threading
import time
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from longshore.engines.kubernetes.api import Api, ApiError, Conflict, Forbidden, Invalid, NotThere
from longshore.engines.kubernetes.cache import Mirror
from longshore.engines.kubernetes.notices import REPORTER
from longshore.engines.kubernetes.objects import (
    JobObject,
    Metadata,
    Owner,
    PodObject,
    condition,
    is_recorded,
    job_of,
    pending_limit,
    pending_since,
    record_annotations,
)
from longshore.manifests import (
    DIGEST_ANNOTATION,
    ITEM_ANNOTATION,
    PAYLOAD_ANNOTATION,
    QUEUE_LABEL,
    REFUSED_ANNOTATION,
    Bundle,
    Layout,
    Manifest,
)
from longshore.podtemplate import CONTAINER
from longshore.state import Job, Jobs, State
from longshore_kit.errors import EngineError, EngineUnavailable, ManifestRefused
from longshore_kit.logs import get_logger

FIRST_LOOK_SECONDS: Final = 30.0
LOG_BYTES: Final = 64 * 1024
_LOG_LINES: Final = 2000
_LOG_READ_BYTES: Final = 1024 * 1024
"""The API counts bytes from the first line that is asked for, not from the end: some are read to be cut off."""
REFUSED_PODS_SECONDS: Final = 3.0
"""A Job without a pod for so long may have been refused one: its events tell."""
_EVENTS_EVERY_SECONDS: Final = 5.0
EVENTS_MAX: Final = 500
"""Read at once: more Jobs than that without a pod have the same reason."""
SLIM_AFTER_SECONDS: Final = 60.0
"""A done Job keeps its pod for so long: its log can be read a while, and a burst of short workers is not held up by the
deletion of those that have ended, which costs a node as much as their start (bench/cluster_rates.py)."""
HALF_MADE_SECONDS: Final = 60.0
"""A Job that has no data after so long was made by somebody who has ended: requests are given up before."""
_PAYLOAD_TRIES: Final = 3
_DRY_RUN: Final = {"dryRun": "All", "fieldValidation": "Strict"}


class _Event(msgspec.Struct, rename="camel"):
    metadata: Metadata
    involved_object: Owner
    reason: str = ""
    message: str = ""


class _Events(msgspec.Struct):
    items: list[_Event]


class _Object(msgspec.Struct):
    metadata: Metadata


class KubernetesEngine:
    """The Jobs of one queue. Methods may be called by several threads."""

    def __init__(
        self,
        api: Api,
        queue: str,
        *,
        mounts: Mapping[str, str],
        clock: Callable[[], float] = time.time,
        slim_after_seconds: float = SLIM_AFTER_SECONDS,
    ) -> None:
        self._api: Final = api
        self._mounts: Final = dict(mounts)
        self._clock: Final = clock
        self._slim_after_seconds: Final = slim_after_seconds
        self._log: Final = get_logger("longshore.kubernetes", queue=queue, namespace=api.namespace)
        self._listeners: Final[list[Callable[[], None]]] = []
        self._lock: Final = threading.RLock()
        self._known: dict[str, tuple[object, Job]] = {}
        self._refusals: dict[str, str] = {}
        self._events_at = 0.0
        self._whole: set[str] = set()
        """Uids of Jobs that are known to have their data."""
        selector = f"{QUEUE_LABEL}={queue}"
        self._jobs: Final = Mirror(
            api, self._path("batch/v1", "jobs"), selector, JobObject, on_change=self._changed, log=self._log
        )
        self._pods: Final = Mirror(
            api, self._path("v1", "pods"), selector, PodObject, on_change=self._changed, log=self._log
        )
        self._is_started = False

    # --- the seam

    def layout(self, job_name: str) -> Layout:  # noqa: ARG002 - every pod is laid out alike
        """As `Engine.layout`: containers have their files at the root."""
        return Layout(mounts=self._mounts)

    def check(self, bundle: Bundle) -> None:
        """As `Engine.check`: the API server itself says whether it would take it."""
        try:
            self._api.create(self._path("batch/v1", "jobs"), bundle.job, _DRY_RUN)
        except Conflict:
            return
        except (Invalid, Forbidden) as exc:
            raise ManifestRefused(str(exc)) from exc

    def jobs(self) -> Jobs:
        """As `Engine.jobs`, from the mirror; a Job that has not changed is the same object as last time."""
        self._look_first()
        objects, pods = self._jobs.objects(), self._pods_by_job()
        self._learn_refusals(objects, pods)
        with self._lock:
            self._known = {name: self._value(one, pods.get(name, ())) for name, one in objects.items()}
            return {job.item: job for _, job in self._known.values()}

    def create(self, bundle: Bundle) -> bool:
        """
        As `Engine.create`: the Job first, then its data, owned by it from birth; so nothing can be left behind.

        Its pod waits for the data. A Job that was left without is deleted by `tend`, and its item waits again.
        """
        try:
            made = self._jobs.put(
                self._api.create(self._path("batch/v1", "jobs"), bundle.job, {"fieldValidation": "Strict"})
            )
        except Conflict:
            self._expect_same_item(bundle)
            return False
        except Invalid as exc:
            raise ManifestRefused(str(exc)) from exc
        if bundle.payload:
            try:
                self._make_payload(bundle.payload, made.metadata)
            except EngineError:
                with contextlib.suppress(EngineError):
                    self._api.delete(self._job_path(bundle.name), made.metadata.uid, propagation="Foreground")
                raise
            self._whole.add(made.metadata.uid)
        return True

    def delete(self, job: Job) -> None:
        """As `Engine.delete`. The API's default would orphan the pods."""
        # While a pod may live its Job's name stays taken, so that a retry can't overlap with it.
        has_pods = any(not pod.has_ended for pod in self._pods_by_job().get(job.name, ()))
        self._api.delete(
            self._job_path(job.name), job.uid, propagation="Foreground" if job.is_live or has_pods else "Background"
        )

    def tend(self) -> None:
        """As `Engine.tend`: slim what is finished, give up what can't start, mend what was half made."""
        self._look_first()
        jobs, pods = self._jobs.objects(), self._pods_by_job()
        self._whole &= {one.metadata.uid for one in jobs.values()}
        for name, one in jobs.items():
            if one.metadata.deletion_timestamp is None:
                self._tend_to(one, pods.get(name, ()))

    def log(self, job: Job) -> str:
        """As `Engine.log`: of the Job's last pod, its end."""
        pods = sorted(self._pods_by_job().get(job.name, ()), key=lambda pod: pod.metadata.creation_timestamp)
        if not pods:
            return ""
        path = f"{self._path('v1', 'pods')}/{pods[-1].metadata.name}/log"
        query = {"container": CONTAINER, "tailLines": str(_LOG_LINES), "limitBytes": str(_LOG_READ_BYTES)}
        try:
            return self._api.get(path, query)[-LOG_BYTES:].decode(errors="replace")
        except ApiError:
            return ""  # no container yet, or none any more

    def watch(self, on_change: Callable[[], None]) -> None:
        """As `Engine.watch`."""
        self._listeners.append(on_change)
        self._start()

    def close(self) -> None:
        """As `Engine.close`."""
        self._jobs.stop()
        self._pods.stop()
        self._api.close()

    # --- looking

    def _start(self) -> None:
        with self._lock:
            if not self._is_started:
                self._is_started = True
                self._jobs.start()
                self._pods.start()

    def _look_first(self) -> None:
        self._start()
        self._jobs.wait(FIRST_LOOK_SECONDS)
        self._pods.wait(FIRST_LOOK_SECONDS)

    def _changed(self, _object: object) -> None:
        for listener in self._listeners:
            listener()

    def _pods_by_job(self) -> Mapping[str, list[PodObject]]:
        found: defaultdict[str, list[PodObject]] = defaultdict(list)
        for pod in self._pods.objects().values():
            found[pod.job_name].append(pod)
        return found

    def _value(self, one: JobObject, pods: "list[PodObject] | tuple[()]") -> tuple[object, Job]:
        """A Job's value, made anew only when it or one of its pods has changed."""
        refusal = self._refusals.get(one.metadata.name, "")
        key = (
            one.metadata.uid,
            one.metadata.resource_version,
            refusal,
            *(pod.metadata.resource_version for pod in pods),
        )
        known = self._known.get(one.metadata.name)
        if known and known[0] == key:
            return known
        value = job_of(one, pods, refusal)
        # What has come again, or only into another version, is the same for everybody who compares.
        return key, known[1] if known and known[1] == value else value

    def _learn_refusals(self, jobs: Mapping[str, JobObject], pods: Mapping[str, list[PodObject]]) -> None:
        """Why Jobs have no pods: the controller says so in events, and nowhere else."""
        now = self._clock()
        without = {
            name: one
            for name, one in jobs.items()
            if name not in pods and (since := pending_since(one, ())) and now - since.timestamp() > REFUSED_PODS_SECONDS
        }
        self._refusals = {name: text for name, text in self._refusals.items() if name in without}
        if without and now - self._events_at > _EVENTS_EVERY_SECONDS:
            self._events_at = now
            told = self._warnings_of_jobs()
            self._refusals |= {
                name: told[one.metadata.uid] for name, one in without.items() if one.metadata.uid in told
            }

    def _warnings_of_jobs(self) -> dict[str, str]:
        """The latest warning about each Job of the namespace, by the Job's uid: one request, whatever their number."""
        # Our own say why Jobs have failed: thousands of them must not push out what is looked for.
        selector = f"involvedObject.kind=Job,type=Warning,reportingComponent!={REPORTER}"
        query = {"fieldSelector": selector, "limit": str(EVENTS_MAX)}
        events = self._api.read(self._path("v1", "events"), _Events, query).items
        in_order = sorted(events, key=lambda event: int(event.metadata.resource_version))
        return {event.involved_object.uid: f"{event.reason}: {event.message}" for event in in_order}

    # --- tending

    def _tend_to(self, one: JobObject, pods: "list[PodObject] | tuple[()]") -> None:
        path = self._job_path(one.metadata.name)
        job = self._value(one, pods)[1]
        if REFUSED_ANNOTATION in one.metadata.annotations:
            return
        # Until the controller has said Complete it still counts the pods.
        if condition(one.status.conditions, "Complete", "Failed"):
            self._slim(one, job, pods)
        elif (since := pending_since(one, pods)) is None:
            return
        elif self._is_half_made(one):
            self._log.warning("job without its item's data deleted; its item waits again", job=one.metadata.name)
            self._api.delete(path, one.metadata.uid, propagation="Foreground")
        elif self._clock() - since.timestamp() > pending_limit(one):
            waited = f"its worker did not start within {pending_limit(one):.0f} s (retry.pendingSeconds)"
            reason = f"{waited}: {job.reason}" if job.reason else waited
            # Suspended for good, as what could not be started at all: the controller ends its pods.
            with contextlib.suppress(NotThere, Conflict):
                self._jobs.put(
                    self._api.patch(
                        path,
                        {
                            "metadata": {"uid": one.metadata.uid, "annotations": {REFUSED_ANNOTATION: reason}},
                            "spec": {"suspend": True},
                        },
                    )
                )

    def _slim(self, one: JobObject, job: Job, pods: "list[PodObject] | tuple[()]") -> None:
        """Have a finished Job say everything itself; then, of a done one, its pods can go."""
        if not is_recorded(one):
            body = {"metadata": {"uid": one.metadata.uid, "annotations": record_annotations(job)}}
            with contextlib.suppress(NotThere, Conflict):
                self._jobs.put(self._api.patch(self._job_path(one.metadata.name), body))
        elif job.state is State.DONE and self._clock() - job.since > self._slim_after_seconds:
            for pod in pods:
                if pod.metadata.deletion_timestamp is None:
                    path = f"{self._path('v1', 'pods')}/{pod.metadata.name}"
                    self._api.delete(path, pod.metadata.uid, propagation="Background")

    # --- making

    def _make_payload(self, payload: Manifest, job: Metadata) -> None:
        path = self._payload_path(payload["kind"], job.name)
        owner = {"apiVersion": "batch/v1", "kind": "Job", "name": job.name, "uid": job.uid, "controller": True}
        owned = {**payload, "metadata": {**payload["metadata"], "ownerReferences": [owner]}}
        for _ in range(_PAYLOAD_TRIES):
            try:
                self._api.create(path.rsplit("/", 1)[0], owned)
            except Conflict:
                if self._has_payload(path, job):
                    return  # ours, and the reply was lost
            except (Invalid, Forbidden) as exc:
                raise EngineError(f"the item's data could not be stored: {exc}") from exc
            else:
                return
        raise EngineUnavailable(f"the item's data could not be stored: {path} is made again and again by somebody else")

    def _has_payload(self, path: str, job: Metadata) -> bool:
        """Whether the Job has its data; what an earlier Job of its name has left goes, as that Job has."""
        try:
            there = self._api.read(path, _Object).metadata
        except NotThere:
            return False
        if any(owner.uid == job.uid for owner in there.owner_references):
            return True
        if QUEUE_LABEL not in there.labels:
            raise EngineError(f"{path} is there, and is not ours: rename it, or the item")
        self._api.delete(path, there.uid, propagation="Background")
        return False

    def _is_half_made(self, one: JobObject) -> bool:
        """Whether whoever made the Job ended before its data was made, long enough ago to be gone."""
        kind = one.metadata.annotations.get(PAYLOAD_ANNOTATION)
        age = self._clock() - one.metadata.creation_timestamp.timestamp()
        if kind is None or one.metadata.uid in self._whole or age < HALF_MADE_SECONDS:
            return False
        if self._has_payload(self._payload_path(kind, one.metadata.name), one.metadata):
            self._whole.add(one.metadata.uid)
            return False
        return True

    def _expect_same_item(self, bundle: Bundle) -> None:
        try:
            there = self._api.read(self._job_path(bundle.name), JobObject).metadata
        except NotThere:
            return
        if there.annotations.get(DIGEST_ANNOTATION) != bundle.job["metadata"]["annotations"][DIGEST_ANNOTATION]:
            raise EngineError(
                f"the Job {bundle.name} is there for another item, {there.annotations.get(ITEM_ANNOTATION, '')!r}: "
                f"rename {bundle.item!r}"
            )

    def _payload_path(self, kind: str, name: str) -> str:
        return f"{self._path('v1', 'configmaps' if kind == 'ConfigMap' else 'secrets')}/{name}"

    def _job_path(self, name: str) -> str:
        return f"{self._path('batch/v1', 'jobs')}/{name}"

    def _path(self, version: str, kind: str) -> str:
        group = "/api" if "/" not in version else "/apis"
        return f"{group}/{version}/namespaces/{self._api.namespace}/{kind}"
