"""One item through the whole queue, to see that it works here: what `helm test` runs.

Owns an ambassador with one item, and a queue like the release's beside it: the same engine, loop, pod template,
volumes, limits and rights, under a name that no queue has. Refuses to run the queue's own worker image: it would be
given an item that is made up. Its worker is a command of the manager's image, so the worker's image stays untried.
"""

import hashlib
import secrets
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

from longshore.cluster_ledger import ClusterLedger
from longshore.engines.base import Engine
from longshore.engines.kubernetes import Api, KubernetesEngine
from longshore.explain import duration, explain_job, safe
from longshore.manager import Manager, Survey
from longshore.manifests import mounts_at_root
from longshore.podtemplate import CONTAINER
from longshore.queuefile import Queue, Worker, load
from longshore.service import ManagerSettings, manager_of
from longshore.state import Job, State
from longshore_kit.ambassador.app import Waiting, create_app
from longshore_kit.ambassador.server import WebServer, bound
from longshore_kit.contract import Item, ItemList
from longshore_kit.errors import EngineError, EngineUnavailable, ItemNotFound, SettingsError
from longshore_kit.logs import configure
from longshore_kit.programs import volume_variable
from longshore_kit.signals import stop_on_signals

WORKER_COMMAND: Final = ("python3", "-m", "longshore.trial_worker")
"""What the trial's worker runs, in the manager's image."""
PENDING_MOST_SECONDS: Final = 180
"""`helm test` waits for five minutes by default, and its pod's own start comes first."""
WORK_SECONDS: Final = 30
MARGIN_SECONDS: Final = 30
"""For everything but the worker's start and its work."""
GONE_SECONDS: Final = 30.0
"""A Job that is deleted waits for its pod, which has this long to end."""
FAILURES_MAX: Final = 3
"""So often in a row the same thing must fail to be the reason; once may be an API server that restarts."""
_SLIM_TICKS: Final = 3
"""Ticks after which a done Job has been given its result, and its pod been deleted: the manager's last two rights."""
_PAUSE_SECONDS: Final = 2.0
_LOOK_SECONDS: Final = 1.0
_NAME_MAX: Final = 63
_THREADS: Final = 4
_AGAIN: Final = "helm test, again"

Say: TypeAlias = Callable[[str], None]
"""Prints a line for a person."""


def trial_name(queue: str) -> str:
    """
    The name of a queue's trial: longer than any queue's may be, so that no manager ever takes its Jobs for its own.

    `thumbs-test` alone could well be the next release.
    """
    return f"{queue}-test-{hashlib.sha256(queue.encode()).hexdigest()}"[:_NAME_MAX]


def trial_queue(queue: Queue, image: str) -> Queue:
    """`queue` as it is tried: one attempt of the trial's worker, in the pod and with the volumes of the queue's own."""
    worker = queue.spec.worker.model_copy(
        # The variables are those of the queue's own worker, and may refer to values that only its items have.
        update={"image": image, "command": WORKER_COMMAND, "args": (), "env": {}, **_in_one(queue.spec.worker)}
    )
    pending = min(queue.spec.retry.pending_seconds, PENDING_MOST_SECONDS)
    retry = queue.spec.retry.model_copy(
        # A deadline counts from when a node has taken the pod: pulling the image is part of it.
        update={"attempts": 1, "deadline_seconds": pending + WORK_SECONDS, "pending_seconds": pending}
    )
    spec = queue.spec.model_copy(update={"worker": worker, "retry": retry})
    return replace(queue, name=trial_name(queue.name), spec=spec)


def _in_one(worker: Worker) -> dict[str, object]:
    """A chain as one container: it sees all volumes that stages see, and is laid out as the last of them."""
    if not worker.stages:
        return {}
    pod: dict[str, Any] = worker.pod_template.get("spec", {})
    last: dict[str, Any] = next((one for one in pod.get("containers", []) if one["name"] == worker.stages[-1].name), {})
    without = {key: value for key, value in pod.items() if key != "initContainers"}
    pod = {**without, "containers": [{**last, "name": CONTAINER}]}
    return {"stages": (), "volumes": worker.all_volumes, "pod_template": {**worker.pod_template, "spec": pod}}


@dataclass(frozen=True)
class OneItem:
    """A source that lists one item."""

    item: Item

    def list_items(self) -> ItemList:
        """It."""
        return ItemList((self.item.name,))

    def get_item(self, name: str) -> Item:
        """It, by its name."""
        if name != self.item.name:
            raise ItemNotFound(f"there is one item here, {self.item.name!r}")
        return self.item


def item_for(queue: Queue, token: str) -> Item:
    """
    The item of one trial: it says which folders its worker must have, and whether it must be able to write there.

    Each trial has a name of its own: what the last one's deletion still takes along is none of this one's.
    """
    name = f"one-item-{token}"
    volumes = {volume_variable(one): not queue.spec.volumes[one].read_only for one in queue.spec.worker.all_volumes}
    return Item(name, {"name": name, "volumes": volumes})


class Trial:
    """What the loop reports of the one item, until it has ended or nothing can come of it any more."""

    def __init__(self, item: str, *, say: Say, clock: Callable[[], float] = time.time) -> None:
        self._item: Final = item
        self._say: Final = say
        self._clock: Final = clock
        self._began: Final = clock()
        self._failures = 0
        self._done_ticks = 0
        self._job: Job | None = None
        self._done_at: float | None = None
        self._trouble = ""

    def note(self, survey: Survey, trouble: str = "") -> bool:
        """A tick went well, though the item may be in `trouble` for good: whether the trial is over."""
        self._failures, self._trouble = 0, trouble
        before, self._job = self._job, survey.jobs.get(self._item, self._job)
        if self._job and (before is None or before.state is not self._job.state):
            self._say(explain_job(self._job, self._clock(), _AGAIN))
        if self._job and self._job.state is State.DONE:
            self._done_at = self._done_at or self._clock()
            # Its worker leaves a result: before that is seen, its pod is not.
            self._done_ticks += bool(self._job.reason)
        is_failed = self._job is not None and self._job.state is State.FAILED
        return bool(trouble) or is_failed or self._done_ticks >= _SLIM_TICKS

    def fail(self, reason: str) -> bool:
        """A tick failed: whether that makes the trial over."""
        self._failures += 1
        self._trouble = reason
        return self._failures >= FAILURES_MAX

    def verdict(self) -> tuple[bool, str]:
        """Whether it went through, and the last line."""
        job = self._job
        if job and self._done_at is not None and self._done_ticks >= _SLIM_TICKS:
            return True, f"one item went through in {duration(self._done_at - self._began)}: {safe(job.reason)}"
        told = explain_job(job, self._clock(), _AGAIN) if job else ""
        if self._trouble:
            why = safe(self._trouble)
        elif job and job.state is State.FAILED:
            why = told
        else:
            why = f"not within {duration(self._clock() - self._began)}: {told or 'it got no Job'}"
        return False, f"one item did not go through: {why}"


def clear(engine: Engine, changed: threading.Event, *, monotonic: Callable[[], float] = time.monotonic) -> None:
    """
    Delete every Job of a trial, this one's or one's that was killed, and wait until they are gone.

    Raises:
        EngineError: they could not be seen or deleted, or are still there after a while.
    """
    until, failures = monotonic() + GONE_SECONDS, 0
    while True:
        changed.clear()
        try:
            jobs = engine.jobs()
            for job in jobs.values():
                if not job.deleting:
                    engine.delete(job)
        except EngineUnavailable:
            failures += 1
            if failures >= FAILURES_MAX:
                raise
            changed.wait(_PAUSE_SECONDS)
            continue
        if not jobs:
            return
        if monotonic() > until:
            names = ", ".join(job.name for job in jobs.values())
            raise EngineError(f"deleted, and still there after {duration(GONE_SECONDS)}: {names}")
        changed.wait(_LOOK_SECONDS)


def try_one(settings: ManagerSettings, say: Say) -> bool:
    """
    Send one item through; whether that went well. Call it in the main thread.

    Raises:
        SettingsError: the queue file, the image or the cluster's configuration is wrong.
    """
    configure(settings.log_format, level=settings.log_level)
    if not settings.trial_image:
        raise SettingsError("TRIAL_IMAGE is not set: expected the manager's own image, for the trial's worker to run")
    queue = trial_queue(load(settings.queue_file), settings.trial_image)
    api = Api.connect(namespace=settings.namespace or None)
    mounts = mounts_at_root(list(queue.spec.volumes))
    # At once: that a done Job's pod may be deleted is tried too.
    engine = KubernetesEngine(api, queue.name, mounts=mounts, slim_after_seconds=0)
    item = item_for(queue, secrets.token_hex(4))
    changed = threading.Event()
    engine.watch(changed.set)
    try:
        clear(engine, changed)
        with _ambassador(OneItem(item)) as url:
            ledger = ClusterLedger(api, queue.name)
            manager = manager_of(queue, url, engine, ledger, ledger, starts_at_once=1)
            went_well, words = _go_through(queue, item, manager, say)
    except EngineError as exc:
        went_well, words = False, f"one item did not go through: {safe(str(exc))}"
    say(words)
    return _cleared(engine, changed, say) and went_well


def _go_through(queue: Queue, item: Item, manager: Manager, say: Say) -> tuple[bool, str]:
    stopping = stop_on_signals(manager.wake)
    trial = Trial(item.name, say=say)

    def stop() -> None:
        stopping.set()
        manager.wake()

    def note(survey: Survey) -> None:
        known = manager.fullness() or manager.troubles().get(item.name)
        reason = known.reason if known and known.failures >= FAILURES_MAX else ""
        if trial.note(survey, reason or "; ".join(survey.troubles)):
            stop()

    def fail(exc: Exception) -> None:
        if trial.fail(str(exc)):
            stop()

    timer = threading.Timer(queue.spec.retry.pending_seconds + WORK_SECONDS + MARGIN_SECONDS, stop)
    timer.daemon = True
    timer.start()
    manager.run(stopping, note, fail)
    timer.cancel()
    return trial.verdict()


def _cleared(engine: Engine, changed: threading.Event, say: Say) -> bool:
    try:
        clear(engine, changed)
    except EngineError as exc:
        say(f"its Job could not be deleted: {safe(str(exc))}")
        return False
    return True


@contextmanager
def _ambassador(source: OneItem) -> Iterator[str]:
    """A whole ambassador of that one item, on loopback: its URL."""
    waiting = Waiting(at_once=_THREADS // 2)
    app = create_app(source, waiting=waiting)
    with WebServer(app, bound("LISTEN_PORT", 0, "127.0.0.1"), _THREADS) as server:
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            # Who waits for a change is answered, else the loop's last question would look like a source that is down.
            waiting.stopping.set()
