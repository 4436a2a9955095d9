"""The engine: one queue's Jobs in one namespace, through the API server.

Owns which calls make, end and slim a Job, and in which order (payloads.py: its data); decides nothing about items.
Finished Jobs are made to say everything themselves, then their pods go: that keeps a thousand of them cheap. Refuses
nothing of a manifest that the API server takes.
"""

import contextlib
import threading
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Final

import msgspec

from longshore.engines.kubernetes.api import Api, ApiError, Conflict, Forbidden, Invalid, NotThere, decoded
from longshore.engines.kubernetes.cache import Mirror
from longshore.engines.kubernetes.objects import (
    CONTROLLER_PAUSE,
    JobObject,
    Metadata,
    Owner,
    PodObject,
    condition,
    is_recorded,
    job_of,
    pending_limit,
    pending_since,
    pod_due,
    record_annotations,
)
from longshore.engines.kubernetes.payloads import Payloads
from longshore.manifests import (
    DIGEST_ANNOTATION,
    ITEM_ANNOTATION,
    PAYLOAD_ANNOTATION,
    QUEUE_LABEL,
    REFUSED_ANNOTATION,
    Bundle,
    Layout,
)
from longshore.names import job_name
from longshore.podtemplate import CONTAINER
from longshore.state import Job, Jobs, State
from longshore_kit.errors import EngineError, EngineFull, EngineUnavailable, ManifestRefused
from longshore_kit.logs import get_logger

FIRST_LOOK_SECONDS: Final = 30.0
LOG_BYTES: Final = 64 * 1024
_LOG_LINES: Final = (2000, 100, 1)
_LOG_READ_BYTES: Final = 1024 * 1024
"""The API counts bytes from the first line that is asked for: where that cuts off the end, fewer lines are."""
REFUSED_PODS_SECONDS: Final = 3.0
"""A Job without a pod for so long may have been refused one: its events tell."""
_EVENTS_EVERY_SECONDS: Final = 5.0
EVENTS_MAX: Final = 500
"""Read at once: more Jobs than that without a pod have the same reason."""
SLIM_AFTER_SECONDS: Final = 60.0
"""A done Job keeps its pod for so long: its log can be read a while, and a burst of short workers is not held up by the
deletion of those that have ended (bench/cluster_rates.py has the rate)."""
RECORD_AFTER_SECONDS: Final = 60.0
"""A finished Job whose pod is not seen after so long has none any more: somebody, or its node, was faster."""
HALF_MADE_SECONDS: Final = 120.0
"""A Job that has no data after so long was made by somebody who has ended: a request is given up before."""
_DRY_RUN: Final = {"dryRun": "All", "fieldValidation": "Strict"}


class _Event(msgspec.Struct, rename="camel"):
    metadata: Metadata
    involved_object: Owner
    message: str = ""
    last_timestamp: datetime | None = None

    @property
    def at(self) -> datetime:
        """When it was told last."""
        return self.last_timestamp or self.metadata.creation_timestamp


class _Pods(msgspec.Struct):
    items: list[PodObject]


class _Events(msgspec.Struct):
    items: list[_Event]


class KubernetesEngine:
    """The Jobs of one queue. Methods may be called by several threads."""

    def __init__(
        self,
        api: Api,
        queue: str,
        *,
        mounts: Mapping[str, str],
        clock: Callable[[], float] | None = None,
        slim_after_seconds: float = SLIM_AFTER_SECONDS,
    ) -> None:
        self._api: Final = api
        self._queue: Final = queue
        self._payloads: Final = Payloads(api)
        self._mounts: Final = dict(mounts)
        self._clock: Final = clock or api.now
        self._slim_after_seconds: Final = slim_after_seconds
        self._log: Final = get_logger("longshore.kubernetes", queue=queue, namespace=api.namespace)
        self._listeners: Final[list[Callable[[], None]]] = []
        self._lock: Final = threading.RLock()
        self._known: dict[str, tuple[object, Job]] = {}
        self._refusals: dict[str, str] = {}
        self._events_at = 0.0
        self._owners: dict[str, tuple[str, bool]] = {}
        """Of each Job by its uid: the item that it says it is of, and whether its name says so too."""
        self._making: set[str] = set()
        """Names of Jobs whose creation is under way."""
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
        objects, pods = self._our_jobs(), self._pods_by_job()
        self._learn_refusals(objects, pods)
        with self._lock:
            self._known = {name: self._value(one, pods.get(one.metadata.uid, ())) for name, one in objects.items()}
            return {job.item: job for _, job in self._known.values()}

    def still_there(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """As `Engine.still_there`: the mirror may be behind, so each is asked for."""
        return [one for one in jobs if self._is_there(one)]

    def create(self, bundle: Bundle) -> bool:
        """
        As `Engine.create`: the Job first, then its data, owned by it from birth; so nothing can be left behind.

        Its pod waits for the data. A Job that was left without is deleted by `tend`, and its item waits again.
        """
        with self._lock:
            self._making.add(bundle.name)
        try:
            return self._create(bundle)
        finally:
            with self._lock:
                self._making.discard(bundle.name)

    def delete(self, job: Job) -> None:
        """As `Engine.delete`. The API's default would orphan the pods."""
        # While a pod may live its Job's name stays taken, so that a retry can't overlap with it.
        has_pods = any(not pod.has_ended for pod in self._pods_by_job().get(job.uid, ()))
        self._api.delete(
            self._job_path(job.name), job.uid, propagation="Foreground" if job.is_live or has_pods else "Background"
        )

    def tend(self) -> Sequence[str]:
        """As `Engine.tend`: slim what is finished, give up what can't start, unmake what was half made."""
        self._look_first()
        jobs, pods = self._our_jobs(), self._pods_by_job()
        self._whole &= {one.metadata.uid for one in jobs.values()}
        troubles = []
        for name, one in jobs.items():
            if one.metadata.deletion_timestamp is None:
                try:
                    self._tend_to(one, pods.get(one.metadata.uid, ()))
                except EngineUnavailable:
                    raise
                except EngineError as exc:
                    troubles.append(f"Job {name}: {exc}")
        return troubles

    def log(self, job: Job, stage: str = "") -> str:
        """As `Engine.log`: of the Job's last pod, its end."""
        pods = sorted(self._pods_by_job().get(job.uid, ()), key=lambda pod: pod.metadata.creation_timestamp)
        if not pods:
            return ""
        path = f"{self._path('v1', 'pods')}/{pods[-1].metadata.name}/log"
        text = b""
        for lines in _LOG_LINES:
            query = {
                "container": stage or job.stage or CONTAINER,
                "tailLines": str(lines),
                "limitBytes": str(_LOG_READ_BYTES),
            }
            try:
                text = self._api.get(path, query)
            except (NotThere, Invalid):
                return ""  # no container yet, or none any more
            if len(text) < _LOG_READ_BYTES:
                break
        return text[-LOG_BYTES:].decode(errors="replace")

    def last_pods(self) -> Mapping[str, str]:
        """The name of each Job's last pod, as long as there is one, by the Job's uid."""
        return {
            uid: max(pods, key=lambda pod: pod.metadata.creation_timestamp).metadata.name
            for uid, pods in self._pods_by_job().items()
        }

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

    def _our_jobs(self) -> Mapping[str, JobObject]:
        """Without those that somebody has given our label: a Job is of the item whose name its own is made of."""
        objects = self._jobs.objects()
        owners = {}
        for name, one in objects.items():
            item = one.metadata.annotations.get(ITEM_ANNOTATION, "")
            known = self._owners.get(one.metadata.uid)
            is_ours = known[1] if known and known[0] == item else self._is_ours(name, item)
            owners[one.metadata.uid] = (item, is_ours)
        self._owners = owners
        return {name: one for name, one in objects.items() if owners[one.metadata.uid][1]}

    def _is_ours(self, name: str, item: str) -> bool:
        if item and name == job_name(self._queue, item):
            return True
        self._log.warning("job left alone: it has our label, and not the name of its item's Job", job=name, item=item)
        return False

    def _changed(self, _object: object) -> None:
        for listener in self._listeners:
            listener()

    def _pods_by_job(self) -> Mapping[str, list[PodObject]]:
        found: defaultdict[str, list[PodObject]] = defaultdict(list)
        for pod in self._pods.objects().values():
            found[pod.job_uid].append(pod)
        return found

    def _value(self, one: JobObject, pods: Sequence[PodObject]) -> tuple[object, Job]:
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
            name: since
            for name, one in jobs.items()
            if (since := self._without_pod_since(one, pods.get(one.metadata.uid, ())))
            and now - since.timestamp() > REFUSED_PODS_SECONDS
        }
        self._refusals = {name: text for name, text in self._refusals.items() if name in without}
        if without and now - self._events_at > _EVENTS_EVERY_SECONDS:
            self._events_at = now
            told: Mapping[str, _Event] = {}
            with contextlib.suppress(ApiError):  # without the reason it waits all the same
                told = self._refused_pods()
            self._refusals |= {
                name: event.message
                for name, since in without.items()
                if (event := told.get(jobs[name].metadata.uid)) and event.at >= since
            }

    def _without_pod_since(self, one: JobObject, pods: Sequence[PodObject]) -> datetime | None:
        """Since when a Job has no pod that lives, and should have one, or will soon; None when it has."""
        if any(not pod.has_ended for pod in pods) or pending_since(one, pods) is None:
            return None
        return pod_due(pods) - CONTROLLER_PAUSE if pods else pending_since(one, pods)

    def _refused_pods(self) -> dict[str, _Event]:
        """Why Jobs of the namespace were given no pod, by the Job's uid: one request, whatever their number."""
        query = {"fieldSelector": "involvedObject.kind=Job,reason=FailedCreate", "limit": str(EVENTS_MAX)}
        events = self._api.read(self._path("v1", "events"), _Events, query).items
        return {event.involved_object.uid: event for event in sorted(events, key=lambda event: event.at)}

    # --- tending

    def _tend_to(self, one: JobObject, pods: Sequence[PodObject]) -> None:
        job = self._value(one, pods)[1]
        if REFUSED_ANNOTATION in one.metadata.annotations:
            return
        # Until the controller has said Complete it still counts the pods.
        if condition(one.status.conditions, "Complete", "Failed"):
            self._slim(one, job, pods)
        elif (since := pending_since(one, pods)) is not None:
            is_late = self._clock() - since.timestamp() > pending_limit(one)
            if self._is_half_made(one, is_late=is_late):
                self._log.warning("job without its item's data deleted; its item waits again", job=one.metadata.name)
                self._api.delete(self._job_path(one.metadata.name), one.metadata.uid, propagation="Foreground")
            elif is_late:
                self._give_up(one)

    def _give_up(self, seen: JobObject) -> None:
        """Suspend for good what has not started in time, as what could not be started at all."""
        # The mirrors may be behind, each by itself, and a worker that has begun after all must not be ended.
        path = self._job_path(seen.metadata.name)
        one = self._api.read(path, JobObject)
        selector = {"labelSelector": f"batch.kubernetes.io/controller-uid={seen.metadata.uid}"}
        pods = self._api.read(self._path("v1", "pods"), _Pods, selector).items
        since = pending_since(one, pods)
        if one.metadata.uid != seen.metadata.uid or since is None:
            return
        limit = pending_limit(one)
        if self._clock() - since.timestamp() <= limit:
            return
        why = job_of(one, pods, self._refusals.get(one.metadata.name, "")).told_reason
        waited = f"its worker did not start within {limit:.0f} s (retry.pendingSeconds)"
        metadata = {
            "uid": one.metadata.uid,
            "resourceVersion": one.metadata.resource_version,
            "annotations": {REFUSED_ANNOTATION: f"{waited}: {why}" if why else waited},
        }
        with contextlib.suppress(NotThere, Conflict):
            # The controller ends its pods.
            self._jobs.put(self._api.patch(path, {"metadata": metadata, "spec": {"suspend": True}}))

    def _slim(self, one: JobObject, job: Job, pods: Sequence[PodObject]) -> None:
        """Have a finished Job say everything itself; then, of a done one, its pods can go."""
        age = self._clock() - job.since
        if not is_recorded(one):
            # The mirror of pods may be behind: without the last one's end there is nothing to say, and it is said once.
            if age > RECORD_AFTER_SECONDS or (pods and all(pod.has_ended for pod in pods)):
                body = {"metadata": {"uid": one.metadata.uid, "annotations": record_annotations(job)}}
                with contextlib.suppress(NotThere, Conflict):
                    self._jobs.put(self._api.patch(self._job_path(one.metadata.name), body))
        elif job.state is State.DONE and age > self._slim_after_seconds:
            for pod in pods:
                if pod.metadata.deletion_timestamp is None:
                    path = f"{self._path('v1', 'pods')}/{pod.metadata.name}"
                    self._api.delete(path, pod.metadata.uid, propagation="Background")

    # --- making

    def _create(self, bundle: Bundle) -> bool:
        path = self._path("batch/v1", "jobs")
        self._look_first()
        if bundle.name not in self._jobs.objects():
            self._expect_no_pod(bundle.name)
        try:
            made = self._jobs.put(self._api.create(path, bundle.job, {"fieldValidation": "Strict"}))
        except Conflict:
            self._complete(bundle)
            return False
        except Invalid as exc:
            raise ManifestRefused(str(exc)) from exc
        except Forbidden as exc:
            raise EngineFull(str(exc)) from exc
        if bundle.payload:
            try:
                self._payloads.make(bundle.payload, made.metadata)
            except EngineError:
                with contextlib.suppress(EngineError):
                    self._api.delete(self._job_path(bundle.name), made.metadata.uid, propagation="Foreground")
                raise
            self._whole.add(made.metadata.uid)
        return True

    def _expect_no_pod(self, name: str) -> None:
        """A Job that was deleted by others, as kubectl does by default, may leave its pod at work for a while."""
        if any(pod.job_name == name and not pod.has_ended for pod in self._pods.objects().values()):
            # Or it is the pod of one that another manager has just made, which the mirror of Jobs does not show yet.
            with contextlib.suppress(NotThere):
                self._api.get(self._job_path(name))
                return
            raise EngineError(f"a pod of an earlier Job {name} has not ended yet; its item waits for it")

    def _complete(self, bundle: Bundle) -> None:
        """See to the Job that has the name: ours, made by whomever, it may lack its data; or somebody else's."""
        try:
            data = self._api.get(self._job_path(bundle.name))
        except NotThere:
            return
        there = decoded(data, JobObject, bundle.name).metadata
        if there.annotations.get(DIGEST_ANNOTATION) != bundle.job["metadata"]["annotations"][DIGEST_ANNOTATION]:
            raise EngineError(
                f"the Job {bundle.name} is there for another item, {there.annotations.get(ITEM_ANNOTATION, '')!r}: "
                f"rename {bundle.item!r}"
            )
        queue = bundle.job["metadata"]["labels"][QUEUE_LABEL]
        if there.labels.get(QUEUE_LABEL) != queue:
            raise EngineError(
                f"the Job {bundle.name} has lost its label, so its queue does not see it: "
                f"kubectl label job {bundle.name} {QUEUE_LABEL}={queue}"
            )
        if there.annotations.get(ITEM_ANNOTATION) != bundle.item:
            raise EngineError(
                f"the Job {bundle.name} has lost its annotation, so its queue leaves it alone: "
                f"delete it, or give it back {ITEM_ANNOTATION}"
            )
        self._jobs.put(data)
        ours = bundle.job["metadata"]["annotations"].get(PAYLOAD_ANNOTATION)
        if bundle.payload and there.annotations.get(PAYLOAD_ANNOTATION) == ours and not there.deletion_timestamp:
            self._payloads.make(bundle.payload, there)

    def _is_there(self, job: Job) -> bool:
        try:
            there = self._api.read(self._job_path(job.name), JobObject).metadata
        except NotThere:
            return False
        return there.uid == job.uid and there.deletion_timestamp is None

    def _is_half_made(self, one: JobObject, *, is_late: bool) -> bool:
        """Whether whoever made the Job ended before its data was made, long enough ago to be gone."""
        payload, uid = one.metadata.annotations.get(PAYLOAD_ANNOTATION), one.metadata.uid
        age = self._clock() - one.metadata.creation_timestamp.timestamp()
        with self._lock:
            is_known = payload is None or uid in self._whole or one.metadata.name in self._making
        if is_known or payload is None or (age < HALF_MADE_SECONDS and not is_late):
            return False
        try:
            is_whole = self._payloads.has(payload, one.metadata)
        except Forbidden:
            return False  # made by another Role, for another kind: nobody knows
        if is_whole:
            self._whole.add(uid)
        return not is_whole

    def _job_path(self, name: str) -> str:
        return f"{self._path('batch/v1', 'jobs')}/{name}"

    def _path(self, version: str, kind: str) -> str:
        group = "/api" if "/" not in version else "/apis"
        return f"{group}/{version}/namespaces/{self._api.namespace}/{kind}"
