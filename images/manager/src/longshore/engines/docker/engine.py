"""The Docker engine: a Job is a record on a daemon, and its containers, which managers start one after the other.

Owns what a Job controller does in a cluster. Nothing is done here while no manager runs: containers go on, and the
next step waits for the next look. One manager at a time takes steps (`docker.lock` in the state folder); any number
may look and create. Touches only what carries the queue's labels and this state folder's.
"""

import contextlib
import fcntl
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, wait
from functools import partial
from pathlib import Path
from typing import Final

from longshore import __version__
from longshore.engines.docker import fields, objects, steps
from longshore.engines.docker.api import DockerApi
from longshore.engines.docker.objects import (
    FOLDER_LABEL,
    JOB_LABEL,
    MANIFEST_FILE,
    RUN_LABEL,
    STATE_LABEL,
    UID_LABEL,
    Facts,
    Family,
    Part,
    Piece,
    Ran,
    containers_of,
    seconds_of,
)
from longshore.engines.docker.pieces import publish, remove
from longshore.engines.docker.runs import RESULT_FILE, Runs
from longshore.engines.docker.steps import Begin, Clear, Conclude, Rest, Step, Stop
from longshore.manifests import (
    DATA_ANNOTATION,
    DIGEST_ANNOTATION,
    ITEM_ANNOTATION,
    ITEM_FILE,
    QUEUE_LABEL,
    REFUSED_ANNOTATION,
    Bundle,
    Layout,
    Manifest,
    mounts_at_root,
)
from longshore.once import written_once
from longshore.state import Job, Jobs
from longshore_kit.errors import EngineError, EngineUnavailable, ManifestRefused
from longshore_kit.logs import get_logger

LOCK: Final = "docker.lock"
IDENTITY: Final = "docker-state"
"""The file with what tells this state folder's Jobs apart from others on the daemon, wherever the folder is moved."""
BACKOFF_SECONDS: Final = 1.0
"""The pause after the first failure, doubled after each further one; a cluster's is 10 s."""
_AT_ONCE: Final = 4
"""Jobs that are seen to at one time: a daemon starts containers no faster with more."""
_ROUNDS: Final = 6
"""Steps that a Job takes in one `tend` at most: begin, end, clear, and begin again, say."""
_ABANDONED_SECONDS: Final = 600.0
_LISTEN_SECONDS: Final = 2.0


class DockerEngine:
    """The Jobs of one queue on a daemon. Several processes may use it at once; several threads may `create`."""

    def __init__(
        self,
        api: DockerApi,
        queue: str,
        *,
        state_folder: Path,
        working_folder: Path,
        volumes: Sequence[str],
        backoff_seconds: float = BACKOFF_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`volumes`: the queue's, by their names; `working_folder`: where its relative folders count from."""
        self._api: Final = api
        self._state_folder: Final = state_folder
        self._working_folder: Final = working_folder
        self._volumes: Final = tuple(volumes)
        self._backoff_seconds: Final = backoff_seconds
        self._clock: Final = clock
        self._queue: Final = queue
        self._owner: Final = objects.owner_labels(queue, _identity(state_folder))
        self._filters: Final = tuple(f"{name}={value}" for name, value in self._owner.items())
        self._runs: Final = Runs(api, working_folder)
        self._pool: Final = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="docker")
        self._manifests: Final[dict[str, Manifest]] = {}
        """By the Job's uid, as long as it has not ended."""
        self._rans: Final[dict[tuple[str, str], Ran]] = {}
        """By a container's id and its state in the listing: what has not changed is not asked for again."""
        self._jobs: Final[dict[tuple[str, ...], Job]] = {}
        """Of Jobs that have ended, by the pieces that they are made of."""
        self._stopping: Final[dict[str, threading.Thread]] = {}
        self._why_not: Final[dict[str, tuple[float, str]]] = {}
        """Since when a Job's next container can't be started, as seen from here, and why; by the Job's uid."""
        self._has_swept = False
        self._closed: Final = threading.Event()
        self._end_listening: Callable[[], None] = lambda: None

    # --- the seam

    def layout(self, job_name: str) -> Layout:  # noqa: ARG002 - every container has them at the same places
        """As `Engine.layout`."""
        return Layout(result_file=RESULT_FILE, mounts=mounts_at_root(self._volumes))

    def check(self, bundle: Bundle) -> None:
        """As `Engine.check`; also whether the folders, files and shipped images are there, which nobody fetches."""
        _refuse(list(fields.problems(bundle.job)))
        _refuse(list(self._place_problems(bundle.job)))

    def jobs(self) -> Jobs:
        """As `Engine.jobs`. A finished Job's value is the same object at each look."""
        found: dict[str, Job] = {}
        known: dict[tuple[str, ...], Job] = {}
        for family in self._families()[0]:
            key = (family.record.id, *(one.id for one in (*family.outcomes, *family.marks)))
            job = self._jobs[key] if family.is_final and key in self._jobs else self._look(family)
            if family.is_final:
                known[key] = job
            found[job.item] = job
        self._jobs.clear()
        self._jobs.update(known)
        return found

    def still_there(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """As `Engine.still_there`."""
        known = self.jobs()
        return [one for one in jobs if (now := known.get(one.item)) and now.uid == one.uid and not now.deleting]

    def create(self, bundle: Bundle) -> bool:
        """As `Engine.create`: the name is taken by the daemon's own rename."""
        _refuse(list(fields.problems(bundle.job)))
        if self._is_there(bundle):
            return False
        if REFUSED_ANNOTATION not in bundle.job["metadata"]["annotations"]:
            self._make_folders(bundle.job)
        facts = Facts.of(bundle.job, self._clock())
        labels = objects.record_labels(bundle.job, facts, str(uuid.uuid4())) | self._owner
        labels[FOLDER_LABEL] = str(self._state_folder)
        files = {MANIFEST_FILE: json.dumps(bundle.job).encode(), ITEM_FILE: _item_data(bundle)}
        if publish(self._api, labels, files):
            return True
        if not self._is_there(bundle):
            # Whoever had the name has let it go in between.
            raise EngineUnavailable(f"the name {bundle.name} was just taken, and let go again")
        return False

    def delete(self, job: Job) -> None:
        """As `Engine.delete`; `tend` does the rest once its worker is gone."""
        for family in self._families(f"{JOB_LABEL}={job.name}")[0]:
            if family.record.uid != job.uid or family.is_deleting:
                continue
            if family.is_final and not (family.containers or family.leftovers):
                # Nothing runs, so the name may be free at once; an outcome without its record is nobody's.
                remove(self._api, [family.record, *family.outcomes])
                with contextlib.suppress(EngineError):
                    for volume in self._api.volumes([*self._filters, f"{UID_LABEL}={job.uid}"]):
                        self._api.remove_volume(volume["Name"])
            else:
                publish(self._api, objects.part_labels(family.record, Part.DELETING), {})

    def tend(self) -> Sequence[str]:
        """As `Engine.tend`: every Job takes as many steps as it can."""
        with self._steps_are_ours() as are_ours:
            if not are_ours:
                return ()
            troubles: dict[str, str] = {}
            for _ in range(_ROUNDS):
                found = self._pieces()
                if not self._see_to_all(found, troubles):
                    break
            else:
                # The last round has moved something as well: a busy queue is swept too, by what is there now.
                found = self._pieces()
            self._sweep(found, troubles)
            return [f"{what}: {trouble}" for what, trouble in troubles.items()]

    def log(self, job: Job, stage: str = "") -> str:
        """As `Engine.log`: of a worker that runs, and of a failed one."""
        for family in self._families(f"{JOB_LABEL}={job.name}")[0]:
            name = stage or job.stage or next(reversed(family.facts.containers), "")
            return self._runs.log(family, name).decode(errors="replace")
        return ""

    def watch(self, on_change: Callable[[], None]) -> None:
        """As `Engine.watch`: by the daemon's events."""
        threading.Thread(target=self._listen, args=(on_change,), name="docker-watch", daemon=True).start()

    def close(self) -> None:
        """As `Engine.close`."""
        self._closed.set()
        try:
            self._end_listening()
            self._pool.shutdown(wait=True, cancel_futures=True)
        finally:
            self._api.close()

    # --- only of this machine: a person who stops a queue expects its workers to stop

    def stop_workers(self, jobs: Iterable[Job]) -> bool:
        """As `LocalEngine.stop_workers`."""
        uids = {job.uid for job in jobs}
        with self._steps_are_ours() as are_ours:
            if not are_ours:
                return True
            troubles: dict[str, str] = {}
            ours = [one for one in self._families()[0] if one.record.uid in uids]
            are_stopping = [self._tried(one.item, partial(self._stop_run, one), troubles) for one in ours]
            return any(are_stopping) or bool(troubles)

    def is_supervised_here(self, job: Job) -> bool:  # noqa: ARG002 - as in the process engine
        """False: containers are the daemon's, and another manager that runs takes their next steps."""
        return False

    def _stop_run(self, family: Family) -> bool:
        """Have what runs of a Job go, without cost of an attempt: whether something is left. Nothing begins here."""
        rans = self._rans_of(family)
        step = self._next(family, rans)
        if rans and not family.is_final and not isinstance(step, Conclude | Clear):
            self._runs.write_down(family, steps.stopped(family, rans, self._clock()))
            return True
        return isinstance(step, Clear | Conclude) and not self._take(family, step, rans)

    # --- looking

    def _families(self, *more: str) -> tuple[list[Family], list[Piece]]:
        return objects.families(self._pieces(*more))

    def _pieces(self, *more: str) -> list[Piece]:
        return [Piece.of(one) for one in self._api.containers([*self._filters, *more])]

    def _look(self, family: Family) -> Job:
        job = objects.job_of(family, self._rans_of(family))
        _, why = self._why_not.get(family.record.uid, (0.0, ""))
        return objects.waiting(job, why) if why else job

    def _rans_of(self, family: Family) -> list[Ran]:
        """How far the containers of its run came; what is gone since the listing counts as not there."""
        found = [self._ran(one) for one in family.containers]
        return [one for one in found if one is not None]

    def _ran(self, piece: Piece) -> Ran | None:
        key = (piece.id, piece.state)
        if key in self._rans:
            return self._rans[key]
        inspected = self._api.inspect(piece.id)
        if inspected is None:
            return None
        ran = Ran.of(piece, inspected)
        # As the listing knew it: what changed in between is another key's.
        if ran.code is not None or (ran.is_running and piece.state == "running"):
            self._rans[key] = ran
        return ran

    def _manifest(self, family: Family) -> Manifest:
        uid = family.record.uid
        if uid not in self._manifests:
            data = self._api.read(family.record.id, f"/{MANIFEST_FILE}")
            if data is None:
                raise EngineError(f"the container {family.record.name} has no {MANIFEST_FILE}: delete the item's Job")
            self._manifests[uid] = json.loads(data)
        return self._manifests[uid]

    # --- making

    def _is_there(self, bundle: Bundle) -> bool:
        """Whether the Job is there; refuses to take another's for it."""
        found = self._api.inspect(bundle.name)
        if found is None:
            return False
        labels = found["Config"]["Labels"] or {}
        if any(labels.get(name) != value for name, value in self._owner.items()):
            whose = labels.get(FOLDER_LABEL)
            told = f"the queue whose state is in {whose}" if whose else "somebody else"
            raise EngineError(
                f"the container {bundle.name} is there, and belongs to {told}: set another queue.name, or remove it"
            )
        if labels.get(DIGEST_ANNOTATION) != bundle.job["metadata"]["annotations"][DIGEST_ANNOTATION]:
            raise EngineError(
                f"the Job {bundle.name} is there for another item, {labels.get(ITEM_ANNOTATION)!r}: "
                f"rename {bundle.item!r}"
            )
        return True

    def _make_folders(self, job: Manifest) -> None:
        for folder in fields.host_folders(job, str(self._working_folder)).values():
            if folder.get("type") == "DirectoryOrCreate":
                try:
                    Path(folder["path"]).mkdir(parents=True, exist_ok=True)
                except OSError as exc:
                    raise ManifestRefused(f"the folder of a volume can't be made: {exc}") from exc

    def _place_problems(self, job: Manifest) -> Iterator[str]:
        for labels in (one.get("Labels") or {} for one in self._api.containers([f"{QUEUE_LABEL}={self._queue}"])):
            if (folder := labels.get(FOLDER_LABEL)) and labels.get(STATE_LABEL) != self._owner[STATE_LABEL]:
                yield (
                    f"finds Jobs of another queue {self._queue!r} on the daemon, whose state is in {folder}: "
                    "set another queue.name, or remove them"
                )
                break
        for name, folder in fields.host_folders(job, str(self._working_folder)).items():
            path = Path(folder["path"])
            if path.exists() and not path.is_dir():
                yield f"finds a file, and no folder, at {path} for volume {name!r}: set its hostPath.path"
            elif not path.exists() and folder.get("type") != "DirectoryOrCreate":
                yield f"finds no folder {path} for volume {name!r}: make one, or set its hostPath.path"
        for image in sorted(
            {fields.image_of(one, __version__) for one in containers_of(job) if fields.is_shipped(one)}
        ):
            if self._api.image(image) is None:
                yield f"finds no image {image} here: build the shipped ones with `make images`"
        for secret in sorted({one for container in containers_of(job) for one in fields.secrets_of(container)}):
            if not (path := self._runs.secret_file(secret)).is_file():
                yield f"finds no file {path} for the secret {secret!r}: make one with lines NAME=value"

    # --- one step after the other

    @contextlib.contextmanager
    def _steps_are_ours(self) -> Iterator[bool]:
        """Whether no other manager takes steps now; none does while this is held."""
        self._state_folder.mkdir(parents=True, exist_ok=True)
        with (self._state_folder / LOCK).open("ab") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
            else:
                yield True

    def _see_to_all(self, found: Sequence[Piece], troubles: dict[str, str]) -> bool:
        """A step of every Job: whether there may be another at once."""
        families, orphans = objects.families(found)
        for family in families:
            troubles.pop(family.item, None)
        under_way = [
            self._pool.submit(self._tried, family.item, partial(self._see_to, family), troubles) for family in families
        ]
        # All of them, also where one finds no daemon: nothing may go on when the lock is let go.
        wait(under_way)
        have_moved = [one.result() for one in under_way]
        for orphan in orphans:
            self._tried(orphan.name, partial(self._see_off, orphan), troubles)
        return any(have_moved)

    def _see_off(self, orphan: Piece) -> bool:
        """Remove what is left of a Job whose record somebody has removed; what runs gets its grace."""
        if orphan.may_run:
            self._stop([orphan])
            return False
        return self._remove([orphan])

    def _tried(self, what: str, do: Callable[[], bool], troubles: dict[str, str]) -> bool:
        """Do it; where that can't be, keep in mind why: one Job, or one container, must not stop the others."""
        try:
            return do()
        except EngineUnavailable:
            raise
        except (EngineError, OSError, ValueError, KeyError, TypeError) as exc:
            troubles[what] = str(exc) if isinstance(exc, EngineError) else repr(exc)
            return False

    def _see_to(self, family: Family) -> bool:
        rans = self._rans_of(family)
        return self._take(family, self._next(family, rans), rans)

    def _next(self, family: Family, rans: Sequence[Ran]) -> Step:
        return steps.next_step(family, rans, self._clock(), self._backoff_seconds)

    def _take(self, family: Family, step: Step, rans: Sequence[Ran]) -> bool:
        """Take a step: whether there may be another at once."""
        match step:
            case Rest():
                return False
            case Begin():
                return self._begin(family, step)
            case Stop():
                self._stop(step.pieces)
                return False
            case Conclude():
                outcome = self._runs.conclude(family, rans, self._clock(), is_late=step.is_late)
                self._runs.write_down(family, outcome)
                return True
            case Clear():
                return self._clear(family, step)

    def _begin(self, family: Family, step: Begin) -> bool:
        uid, now = family.record.uid, self._clock()
        why = self._runs.why_not_begun(family, step, self._manifest(family))
        if not why:
            self._why_not.pop(uid, None)
            return True
        since, _ = self._why_not.get(uid, (now, ""))
        self._why_not[uid] = (since, why)
        if now - since < family.facts.pending_seconds:
            return False
        self._runs.write_down(family, steps.never_started(family, why, now))
        return True

    def _stop(self, pieces: Iterable[Piece]) -> None:
        """Have containers end, beside the loop: the daemon waits for their grace."""
        for piece in pieces:
            known = self._stopping.get(piece.id)
            # One that could not be stopped is asked again at the next look.
            if piece.may_run and not (known and known.is_alive()):
                arguments = (piece.id, piece.grace_seconds)
                self._stopping[piece.id] = threading.Thread(target=self._wait_for_end, args=arguments, daemon=True)
                self._stopping[piece.id].start()

    def _wait_for_end(self, container: str, grace_seconds: int) -> None:
        with contextlib.suppress(EngineError):
            self._api.stop(container, grace_seconds)

    def _clear(self, family: Family, step: Clear) -> bool:
        """Remove pieces: whether all are gone."""
        running = [one for one in step.pieces if one.may_run]
        self._stop(running)
        # Containers first: what they have for volumes and files is of use as long as one may run.
        remove(self._api, (one for one in step.pieces if not one.may_run and one.part == Part.CONTAINER))
        if running:
            return False
        rest = [one for one in step.pieces if one.part != Part.CONTAINER]
        # The mark last: without its record it is nobody's, and goes with the next look.
        rest += [*family.outcomes, family.record, *family.marks] if step.with_job else []
        return self._remove(rest)

    def _remove(self, pieces: Iterable[Piece]) -> bool:
        remove(self._api, pieces)
        self._has_swept = False
        return True

    def _sweep(self, found: Sequence[Piece], troubles: dict[str, str]) -> None:
        """Remove volumes of runs that are over, and what managers that were killed have half made."""
        families, _ = objects.families(found)
        self._forget(found, {one.record.uid for one in families if not one.is_final})
        if self._has_swept:
            return
        self._has_swept = True
        in_use = {(one.record.uid, str(run)) for one in families for run in _runs_in_use(one)}
        for volume in self._api.volumes(self._filters):
            labels, name = volume["Labels"] or {}, volume["Name"]
            if (labels.get(UID_LABEL), labels.get(RUN_LABEL)) not in in_use:
                self._has_swept &= self._tried(name, partial(self._remove_volume, name), troubles)
        for piece in found:
            if piece.is_half_made and self._is_abandoned(piece):
                self._tried(piece.name, partial(self._remove, [piece]), troubles)

    def _remove_volume(self, name: str) -> bool:
        self._api.remove_volume(name)
        return True

    def _is_abandoned(self, piece: Piece) -> bool:
        """Whether it is so old that nobody is making it any more."""
        made = self._api.inspect(piece.id)
        return made is not None and self._clock() - (seconds_of(made["Created"]) or 0) > _ABANDONED_SECONDS

    def _forget(self, pieces: Iterable[Piece], uids: set[str]) -> None:
        ids = {one.id for one in pieces}
        for key in [key for key in self._rans if key[0] not in ids]:
            del self._rans[key]
        for kept in (self._manifests, self._why_not):
            for uid in [uid for uid in kept if uid not in uids]:
                del kept[uid]
        for one in [one for one, thread in self._stopping.items() if not thread.is_alive()]:
            del self._stopping[one]

    # --- changes

    def _listen(self, on_change: Callable[[], None]) -> None:
        log = get_logger("longshore.docker")
        while not self._closed.is_set():
            try:
                events, self._end_listening = self._api.changes(self._filters)
                if self._closed.is_set():
                    self._end_listening()
                for _ in events:
                    on_change()
            except Exception as exc:  # noqa: BLE001 - a thread that dies would leave silence, and looking goes on anyway
                log.debug("no events of the daemon for a while", reason=repr(exc))
            # It ended: the daemon went away, so what happens there is seen by looking alone.
            self._closed.wait(_LISTEN_SECONDS)


def _identity(state_folder: Path) -> str:
    """What a state folder's Jobs carry: made once, and gone with it."""
    state_folder.mkdir(parents=True, exist_ok=True)
    return written_once(state_folder / IDENTITY, f"{uuid.uuid4()}\n").strip()


def _runs_in_use(family: Family) -> set[int]:
    return {family.run, *(one.run for one in family.leftovers)}


def _refuse(found: Sequence[str]) -> None:
    if found:
        raise ManifestRefused("\n".join(f"the Docker engine {problem}" for problem in found))


def _item_data(bundle: Bundle) -> bytes:
    if bundle.payload:
        data = bundle.payload.get("data") or bundle.payload["stringData"]
        return str(data[ITEM_FILE]).encode()
    annotations = bundle.job["spec"]["template"]["metadata"].get("annotations", {})
    return str(annotations.get(DATA_ANNOTATION, "{}")).encode()
