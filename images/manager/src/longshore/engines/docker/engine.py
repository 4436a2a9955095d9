"""The Docker engine: a Job is a record on a daemon, and its containers, which managers start one after the other.

Owns what a Job controller and a kubelet do in a cluster. Nothing runs here while no manager does: containers go on,
and the next step waits for the next look. One manager at a time takes steps (`docker.lock` in the state folder); any
number may look and create. Touches only what carries the queue's labels and this state folder's.
"""

import contextlib
import fcntl
import json
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from longshore import __version__
from longshore.engines.docker import fields, objects, steps
from longshore.engines.docker.api import DockerApi
from longshore.engines.docker.images import Images
from longshore.engines.docker.objects import (
    CONTAINER_LABEL,
    INDEX_LABEL,
    JOB_LABEL,
    LOGS,
    MANIFEST_FILE,
    OUTCOME_LABEL,
    RUN_LABEL,
    UID_LABEL,
    Facts,
    Family,
    Outcome,
    Piece,
    Ran,
    containers_of,
    seconds_of,
)
from longshore.engines.docker.steps import Begin, Clear, Conclude, Rest, Step, Stop
from longshore.manifests import (
    DATA_ANNOTATION,
    DIGEST_ANNOTATION,
    ITEM_ANNOTATION,
    ITEM_FILE,
    REFUSED_ANNOTATION,
    Bundle,
    Layout,
    Manifest,
    mounts_at_root,
)
from longshore.podtemplate import ITEM_VOLUME
from longshore.state import Job, Jobs
from longshore_kit import envfile
from longshore_kit.contract import RESULT_MAX_BYTES
from longshore_kit.errors import EngineError, EngineUnavailable, ManifestRefused

LOCK: Final = "docker.lock"
BACKOFF_SECONDS: Final = 1.0
"""The pause after the first failure, doubled after each further one; a cluster's is 10 s."""
LOG_BYTES: Final = 64 * 1024
_TAIL_BYTES: Final = 2048
_TAIL_LINES: Final = 80
_RESULT: Final = "message"
_RESULT_FILE: Final = f"/longshore-result/{_RESULT}"
_FILES: Final = "/longshore-files"
"""Where the container that is never started has all volumes of a run, each in a folder of its name."""
_AT_ONCE: Final = 4
"""Jobs that are seen to at one time: a daemon starts containers no faster with more."""
_ROUNDS: Final = 6
"""Steps that a Job takes in one `tend` at most: begin, end, clear, and begin again, say."""
_ABANDONED_SECONDS: Final = 3600.0
_LISTEN_SECONDS: Final = 2.0


@dataclass
class _Stopping:
    thread: threading.Thread
    error: str = ""


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
        self._owner: Final = objects.owner_labels(queue, str(state_folder))
        self._filters: Final = tuple(f"{name}={value}" for name, value in self._owner.items())
        self._images: Final = Images(api)
        self._pool: Final = ThreadPoolExecutor(_AT_ONCE, thread_name_prefix="docker")
        self._manifests: Final[dict[str, Manifest]] = {}
        self._rans: Final[dict[tuple[str, str], Ran]] = {}
        self._jobs: Final[dict[tuple[str, ...], Job]] = {}
        self._stopping: Final[dict[str, _Stopping]] = {}
        self._why_not: Final[dict[str, str]] = {}
        """Why a Job's next container can't be started yet, by the Job's uid."""
        self._has_swept = False
        self._closed: Final = threading.Event()
        self._end_listening: Callable[[], None] = lambda: None

    # --- the seam

    def layout(self, job_name: str) -> Layout:  # noqa: ARG002 - every container has them at the same places
        """As `Engine.layout`."""
        return Layout(result_file=_RESULT_FILE, mounts=mounts_at_root(self._volumes))

    def check(self, bundle: Bundle) -> None:
        """As `Engine.check`; also whether the folders, files and shipped images are there, which nobody fetches."""
        _refuse([*fields.problems(bundle.job), *self._place_problems(bundle.job)])

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
        files: dict[str, bytes | None] = {MANIFEST_FILE: json.dumps(bundle.job).encode(), ITEM_FILE: _item_data(bundle)}
        if self._publish(labels, files):
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
                self._remove([family.record, *family.outcomes])
            else:
                self._publish(objects.part_labels(family.record, objects.DELETING), {})

    def tend(self) -> Sequence[str]:
        """As `Engine.tend`: every Job takes as many steps as it can."""
        with self._steps_are_ours() as are_ours:
            if not are_ours:
                return ()
            return self._tend()

    def log(self, job: Job, stage: str = "") -> str:
        """As `Engine.log`: of a worker that runs, and of a failed one."""
        for family in self._families(f"{JOB_LABEL}={job.name}")[0]:
            wanted = stage or job.stage or family.facts.containers[-1]
            for piece in family.containers:
                if piece.container == wanted:
                    return self._api.log(piece.id, LOG_BYTES).decode(errors="replace")
            if family.outcomes:
                return (self._api.read(family.outcomes[-1].id, f"/{LOGS}/{wanted}") or b"").decode(errors="replace")
        return ""

    def watch(self, on_change: Callable[[], None]) -> None:
        """As `Engine.watch`: by the daemon's events."""
        threading.Thread(target=self._listen, args=(on_change,), name="docker-watch", daemon=True).start()

    def close(self) -> None:
        """As `Engine.close`."""
        self._closed.set()
        self._end_listening()
        self._pool.shutdown(wait=True, cancel_futures=True)
        self._api.close()

    # --- only of this machine: a person who stops a queue expects its workers to stop

    def stop_workers(self, jobs: Iterable[Job]) -> bool:
        """As `ProcessEngine.stop_workers`."""
        uids = {job.uid for job in jobs}
        with self._steps_are_ours() as are_ours:
            if not are_ours:
                return True
            families = [one for one in self._families()[0] if one.record.uid in uids]
            for family in families:
                rans = self._rans_of(family)
                if rans and not family.is_final and not isinstance(self._next(family, rans), Conclude):
                    self._write_down(family, steps.stopped(family, rans, self._clock()))
            return any([self._is_stopping(one) for one in self._families()[0] if one.record.uid in uids])  # noqa: C419 - all

    def is_supervised_here(self, job: Job) -> bool:  # noqa: ARG002 - as in the process engine
        """False: containers are the daemon's, and another manager that runs takes their next steps."""
        return False

    def _is_stopping(self, family: Family) -> bool:
        """Have what is left of a stopped run go: whether something is. Nothing begins here."""
        step = self._next(family, rans := self._rans_of(family))
        return isinstance(step, Clear | Conclude) and not self._take(family, step, rans)

    # --- looking

    def _families(self, *more: str) -> tuple[list[Family], list[Piece]]:
        found = [Piece.of(one) for one in self._api.containers([*self._filters, *more])]
        return objects.families(found)

    def _look(self, family: Family) -> Job:
        job = objects.job_of(family, self._rans_of(family))
        why = self._why_not.get(family.record.uid, "")
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
        ran = Ran.of(piece.container, inspected)
        # As the listing knew it: what changed in between is another key's.
        if ran.code is not None or (ran.is_running and piece.state == "running"):
            self._rans[key] = ran
        return ran

    def _forget(self, pieces: Iterable[Piece], uids: set[str]) -> None:
        ids = {one.id for one in pieces}
        for key in [key for key in self._rans if key[0] not in ids]:
            del self._rans[key]
        for kept in (self._manifests, self._why_not):
            for uid in [uid for uid in kept if uid not in uids]:
                del kept[uid]
        for one in [one for one, stopping in self._stopping.items() if not stopping.thread.is_alive()]:
            del self._stopping[one]

    def _manifest(self, family: Family) -> Manifest:
        uid = family.record.uid
        if uid not in self._manifests:
            data = self._api.read(family.record.id, f"/{MANIFEST_FILE}")
            if data is None:
                raise EngineError(f"the container {family.record.name} has no {MANIFEST_FILE}: delete the item's Job")
            self._manifests[uid] = json.loads(data)
        return self._manifests[uid]

    # --- making

    def _publish(self, labels: dict[str, str], files: dict[str, bytes | None]) -> bool:
        """Have something be there as a whole, under the name that its labels say: False if that is taken."""
        aside = f"{labels[JOB_LABEL][:40]}.new-{uuid.uuid4()}"
        if not self._api.create_empty(aside, labels):
            raise EngineError(f"the name {aside} is taken")
        try:
            if files:
                self._api.put(aside, "/", files)
            is_first = self._api.rename(aside, objects.name_of(labels))
        except EngineError:
            with contextlib.suppress(EngineError):
                self._api.remove(aside)
            raise
        if not is_first:
            self._api.remove(aside)
        return is_first

    def _is_there(self, bundle: Bundle) -> bool:
        """Whether the Job is there; refuses to take another's for it."""
        found = self._api.inspect(bundle.name)
        if found is None:
            return False
        labels = found["Config"]["Labels"] or {}
        if any(labels.get(name) != value for name, value in self._owner.items()):
            whose = labels.get(objects.FOLDER_LABEL)
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
        for name, folder in fields.host_folders(job, str(self._working_folder)).items():
            path = Path(folder["path"])
            if path.exists() and not path.is_dir():
                yield f"finds a file, and no folder, at {path} for volume {name!r}: set its hostPath.path"
            elif not path.exists() and folder.get("type") != "DirectoryOrCreate":
                yield f"finds no folder {path} for volume {name!r}: make one, or set its hostPath.path"
        for image in sorted(
            {fields.image_of(one, __version__) for one in containers_of(job) if fields.is_shipped(one)}
        ):
            if not self._api.has_image(image):
                yield f"finds no image {image} here: build the shipped ones with `make images`"
        for secret in sorted({one for container in containers_of(job) for one in fields.secrets_of(container)}):
            if not (path := self._secret_file(secret)).is_file():
                yield f"finds no file {path} for the secret {secret!r}: make one with lines NAME=value"

    def _secret_file(self, secret: str) -> Path:
        return self._working_folder / f"{secret}.env"

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

    def _tend(self, only: set[str] | None = None) -> Sequence[str]:
        troubles: dict[str, str] = {}
        for _ in range(_ROUNDS):
            families, orphans = self._families()
            chosen = [one for one in families if only is None or one.record.uid in only]
            moved = list(self._pool.map(lambda one: self._see_to(one, troubles), chosen))
            self._remove(orphans)
            if not any(moved):
                break
        if only is None:
            self._sweep()
        return [f"{item}: {trouble}" for item, trouble in troubles.items()]

    def _see_to(self, family: Family, troubles: dict[str, str]) -> bool:
        """Take a Job's next step: whether there may be another at once."""
        troubles.pop(family.item, None)
        try:
            return self._take(family, self._next(family, rans := self._rans_of(family)), rans)
        except EngineUnavailable:
            raise
        except (EngineError, OSError, ValueError, KeyError) as exc:
            troubles[family.item] = str(exc) if isinstance(exc, EngineError) else repr(exc)
            return False

    def _next(self, family: Family, rans: Sequence[Ran]) -> Step:
        return steps.next_step(family, rans, self._clock(), self._backoff_seconds)

    def _take(self, family: Family, step: Step, rans: Sequence[Ran]) -> bool:
        match step:
            case Rest():
                return False
            case Begin():
                return self._begin(family, step)
            case Stop():
                self._stop(family, step.pieces)
                return False
            case Conclude():
                self._conclude(family, rans, is_late=step.is_late)
                return True
            case Clear():
                return self._clear(family, step)

    def _begin(self, family: Family, step: Begin) -> bool:
        why = self._why_not_begun(family, step)
        if not why:
            self._why_not.pop(family.record.uid, None)
            return True
        self._why_not[family.record.uid] = why
        if self._clock() - step.since < family.facts.pending_seconds:
            return False
        self._write_down(family, steps.never_started(family, why, self._clock()))
        return True

    def _why_not_begun(self, family: Family, step: Begin) -> str:
        """Start a container; why that can't be yet, in words."""
        manifest = self._manifest(family)
        container = containers_of(manifest)[step.index]
        # Of all that the run will need: a chain whose last image is missing does not even begin.
        for one in containers_of(manifest):
            if why := self._images.why_missing(fields.image_of(one, __version__), may_pull=fields.may_pull(one)):
                return why
        image = fields.image_of(container, __version__)
        if why := fields.user_problem(manifest, container, self._api.user_of(image) or ""):
            return why
        try:
            secrets = self._secrets(container)
            if step.index == 0:
                self._lay_out(family, step.run, manifest)
            self._start(family, step, manifest, secrets)
        except EngineUnavailable:
            raise
        except (EngineError, OSError) as exc:
            return str(exc)
        return ""

    def _secrets(self, container: Manifest) -> dict[str, str]:
        found: dict[str, str] = {}
        for name in fields.secrets_of(container):
            path = self._secret_file(name)
            try:
                found |= envfile.variables(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError) as exc:
                raise EngineError(f"the file {path} of the secret {name!r} can't be read: {exc}") from exc
        return found

    def _lay_out(self, family: Family, run: int, manifest: Manifest) -> None:
        """The volumes of a run, with what belongs into them. May be done again: nothing of the run has started."""
        labels = objects.part_labels(family.record, "files", run)
        names = fields.own_volumes(manifest)
        for name in names:
            self._api.create_volume(family.name_of(run, name), labels)
        mounts = [
            {"type": "volume", "source": family.name_of(run, name), "target": f"{_FILES}/{name}"} for name in names
        ]
        files = family.name_of(run, "files")
        self._api.create_empty(files, labels, mounts)
        content: dict[str, bytes | None] = dict.fromkeys(names)
        if ITEM_VOLUME in names:
            content[f"{ITEM_VOLUME}/{ITEM_FILE}"] = self._api.read(family.record.id, f"/{ITEM_FILE}")
        self._api.put(files, _FILES, content)
        results = {f"{fields.result_volume(index)}/{_RESULT}": b"" for index in range(len(containers_of(manifest)))}
        self._api.put(files, _FILES, dict(results), mode=0o666)

    def _start(self, family: Family, step: Begin, manifest: Manifest, secrets: dict[str, str]) -> None:
        container = containers_of(manifest)[step.index]
        more = {INDEX_LABEL: str(step.index), CONTAINER_LABEL: container["name"]}
        labels = objects.part_labels(family.record, "container", step.run, **more)
        around = fields.Surroundings(
            volumes={name: family.name_of(step.run, name) for name in fields.own_volumes(manifest)},
            folders=fields.host_folders(manifest, str(self._working_folder)),
            secrets=secrets,
        )
        template = manifest["spec"]["template"].get("metadata", {}).get("labels", {})
        options = {**fields.options_of(manifest, step.index, around), "labels": {**template, **labels}}
        name = objects.name_of(labels)
        mounts = fields.mounts_of(manifest, step.index, around)
        self._api.create(name, fields.image_of(container, __version__), options, mounts)
        try:
            self._api.start(name)
        except EngineUnavailable:
            raise
        except EngineError:
            inspected = self._api.inspect(name)
            # A program that is not there is an end like any other, which the container itself tells.
            if inspected is None or Ran.of("", inspected).code is None:
                raise

    # --- ending

    def _stop(self, family: Family, pieces: Iterable[Piece]) -> None:
        """Have containers end, beside the loop: the daemon waits for their grace."""
        for piece in pieces:
            if piece.may_run and piece.id not in self._stopping:
                grace = family.facts.grace_seconds
                thread = threading.Thread(target=self._wait_for_end, args=(piece.id, grace), daemon=True)
                self._stopping[piece.id] = _Stopping(thread)
                thread.start()

    def _wait_for_end(self, container: str, grace: int) -> None:
        # One that could not be stopped is asked again at a later look.
        with contextlib.suppress(EngineError):
            self._api.stop(container, grace)

    def _conclude(self, family: Family, rans: Sequence[Ran], *, is_late: bool) -> None:
        last, piece = rans[-1], family.containers[len(rans) - 1]
        files = family.name_of(family.run, "files")
        path = f"{_FILES}/{fields.result_volume(piece.index)}/{_RESULT}"
        words = (self._api.read(files, path, RESULT_MAX_BYTES) or b"").decode(errors="ignore").strip()
        if not words and last.code:
            tail = self._api.log(piece.id, _TAIL_BYTES).decode(errors="replace").strip().splitlines()
            words = "\n".join(tail[-_TAIL_LINES:])
        since = seconds_of(self._api.started_at()) if last.code else None
        outcome = steps.outcome_of(family, rans, words, self._clock(), is_late=is_late, daemon_since=since)
        self._write_down(family, outcome)

    def _write_down(self, family: Family, outcome: Outcome) -> None:
        labels = objects.part_labels(family.record, "outcome", family.run, **{OUTCOME_LABEL: outcome.as_text()})
        logs: dict[str, bytes | None] = {}
        if outcome.state != "done":
            logs = {f"{LOGS}/{one.container}": self._api.log(one.id, LOG_BYTES) for one in family.containers}
        self._publish(labels, logs)

    def _clear(self, family: Family, step: Clear) -> bool:
        """Remove pieces: whether all are gone."""
        running = [one for one in step.pieces if one.may_run]
        self._stop(family, running)
        # Containers first: what they have for volumes and files is of use as long as one may run.
        self._remove(one for one in step.pieces if not one.may_run and one.part == "container")
        if running:
            return False
        self._remove(one for one in step.pieces if one.part != "container")
        if step.with_job:
            self._remove(family.outcomes)
            # The mark last: without its record it is nobody's, and goes with the next look.
            self._remove([family.record, *family.marks])
        self._has_swept = False
        return True

    def _remove(self, pieces: Iterable[Piece]) -> None:
        for piece in pieces:
            if piece.may_run:
                # Of a Job whose record somebody removed by hand: nobody waits for it any more.
                self._wait_for_end(piece.id, 0)
            self._api.remove(piece.id)

    def _sweep(self) -> None:
        """Remove volumes of runs that are over, and what managers that were killed have half made."""
        found = [Piece.of(one) for one in self._api.containers(self._filters)]
        families, _ = objects.families(found)
        self._forget(found, {one.record.uid for one in families if not one.is_final})
        if self._has_swept:
            return
        in_use = {(one.record.uid, str(run)) for one in families for run in _runs_in_use(one)}
        for volume in self._api.volumes(self._filters):
            labels = volume["Labels"] or {}
            if (labels.get(UID_LABEL), labels.get(RUN_LABEL)) not in in_use:
                self._api.remove_volume(volume["Name"])
        for piece in found:
            if not piece.is_whole and self._is_abandoned(piece):
                self._api.remove(piece.id)
        self._has_swept = True

    def _is_abandoned(self, piece: Piece) -> bool:
        """Whether it is so old that nobody is making it any more."""
        made = self._api.inspect(piece.id)
        return made is not None and self._clock() - (seconds_of(made["Created"]) or 0) > _ABANDONED_SECONDS

    # --- changes

    def _listen(self, on_change: Callable[[], None]) -> None:
        while not self._closed.is_set():
            with contextlib.suppress(EngineError, ValueError, OSError):
                events, self._end_listening = self._api.changes(self._filters)
                for _ in events:
                    on_change()
            # It ended: the daemon went away, so what happens there is seen by looking alone.
            self._closed.wait(_LISTEN_SECONDS)


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
