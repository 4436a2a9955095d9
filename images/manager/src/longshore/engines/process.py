"""Jobs as folders of this machine and workers as its processes: the engine that needs nothing but Python.

    <state>/jobs/<2 hex>/<job name>/    manifest.json  item.json  status.json  lock  alive  control  worker.log  files/

Owns the folders: they appear whole, by a rename that fails where the name is taken, which is what makes an item's
name its lock. Each live Job has a supervisor (`supervisor.py`) that outlives the manager. Refuses, by name, every
field of a manifest that a plain process can't honour. What it takes on trust: a volume's readOnly, and
resources.requests.
"""

import contextlib
import errno
import json
import os
import re
import shutil
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

from longshore.engines import supervisor
from longshore.engines.process_fields import command, containers, is_refused, problems, program_problems
from longshore.engines.supervisor import (
    ALIVE,
    CONTROL,
    DELETING,
    FILES,
    ITEM,
    LOCK,
    LOG,
    LOGS,
    MANIFEST,
    RESULT,
    STATUS,
    Status,
)
from longshore.manifests import (
    DATA_ANNOTATION,
    DIGEST_ANNOTATION,
    ITEM_ANNOTATION,
    ITEM_FILE,
    REFUSED_ANNOTATION,
    Bundle,
    Layout,
    Manifest,
    first_seen_of,
    is_item_refused,
)
from longshore.state import Job, Jobs, State
from longshore_kit.errors import EngineError, EngineUnavailable, ManifestRefused

BACKOFF_SECONDS: Final = 1.0
"""The pause after the first failure, doubled after each further one; a cluster's is 10 s."""
_RACY_SECONDS: Final = 3.0
"""A folder's time that is this young may not show the latest change: the clock of a file system ticks coarsely."""
_ABANDONED_SECONDS: Final = 3600.0
LOG_BYTES: Final = 64 * 1024
"""What is shown of a log: its end."""
_SHARD: Final = re.compile("[0-9a-f]{2}")
_CLOSE: Final = b"\0"
"""Written to the engine's own pipe: stop watching. A supervisor writes anything else."""


@dataclass(frozen=True)
class _Shard:
    """One folder of Jobs as it was last looked at. What is finished in it is read once, and handed out as it was."""

    modified_ns: int
    is_settled: bool
    """Whether its time can be believed to show the next change."""
    finished: dict[str, Job]
    """By the item's name."""
    identities: dict[str, tuple[int, int]]
    """Of the finished ones' folders, by the Job's name."""
    unfinished: set[str]
    """Names of Jobs that are looked at anew each time."""


@dataclass
class _Child:
    """A supervisor that this process started, and that outlives it: a Popen would warn of just that."""

    pid: int
    ended: bool = False

    @classmethod
    def start(cls, command: list[str], log: int) -> "_Child":
        """Start it in a session of its own, with its output in `log` and no input."""
        actions = [
            (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
            (os.POSIX_SPAWN_DUP2, log, 1),
            (os.POSIX_SPAWN_DUP2, log, 2),
        ]
        return cls(os.posix_spawn(command[0], command, os.environ, file_actions=actions, setsid=True))

    def has_ended(self) -> bool:
        """Whether it has; reaps it."""
        if not self.ended:
            try:
                self.ended = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except ChildProcessError:  # somebody else in this process reaped it
                self.ended = True
        return self.ended


class ProcessEngine:
    """The Jobs under one state folder. Several processes may use it at once; several threads may `create`."""

    def __init__(
        self,
        state_folder: Path,
        *,
        working_folder: Path,
        mounts: Mapping[str, str],
        backoff_seconds: float = BACKOFF_SECONDS,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.state_folder: Final = state_folder
        self._jobs_folder: Final = state_folder / "jobs"
        self._working_folder: Final = working_folder
        self._mounts: Final = dict(mounts)
        self._backoff_seconds: Final = backoff_seconds
        self._clock: Final = clock
        self._shards: dict[str, _Shard] = {}
        self._supervisors: dict[str, _Child] = {}
        self._starting: Final = threading.Lock()
        self._changes, self._notify = os.pipe()
        os.set_blocking(self._notify, False)
        os.set_inheritable(self._notify, True)  # by supervisors; subprocess closes it for everything else
        self._listeners: Final[list[Callable[[], None]]] = []
        self._watcher: threading.Thread | None = None

    # --- the seam

    def layout(self, job_name: str) -> Layout:
        """As `Engine.layout`: everything lies where it lies on this machine."""
        folder = self._folder(job_name)
        return Layout(
            item_folder=str(folder / FILES),
            result_file=str(folder / FILES / RESULT),
            mounts=self._mounts,
            working_folder=str(self._working_folder),
            work_folder=str(folder / FILES / supervisor.WORK),
            stages_folder=str(folder / FILES / supervisor.STAGES),
        )

    def check(self, bundle: Bundle) -> None:
        """As `Engine.check`; also whether its program is there."""
        _refuse([*problems(bundle.job), *program_problems(bundle.job)])

    def jobs(self) -> Jobs:
        """As `Engine.jobs`. What is finished is read once; of what lives, one small file each is read again."""
        found: dict[str, Job] = {}
        try:
            for shard in self._looked_at():
                found.update(shard.finished)
                found.update((job.item, job) for job in self._unfinished_in(shard))
        except OSError as exc:
            raise EngineUnavailable(f"{self._jobs_folder}: {exc}") from exc
        return found

    def still_there(self, jobs: Sequence[Job]) -> Sequence[Job]:
        """As `Engine.still_there`."""
        known = self.jobs()
        return [one for one in jobs if (now := known.get(one.item)) and now.uid == one.uid and not now.deleting]

    def create(self, bundle: Bundle) -> bool:
        """As `Engine.create`."""
        _refuse(list(problems(bundle.job)))
        target = self._folder(bundle.name)
        try:
            _make_host_paths(bundle.job)
        except OSError as exc:
            raise ManifestRefused(f"the folder of a volume can't be made: {exc}") from exc
        try:
            made = self._make_folder(bundle, target)
        except OSError as exc:
            raise EngineUnavailable(f"{target}: the Job could not be made: {exc}") from exc
        if not made:
            self._expect_same_item(bundle, target)
        elif not is_refused(bundle.job):
            try:
                self._supervise(bundle.name)
            except OSError as exc:
                raise EngineUnavailable(f"{target}: the Job's supervisor could not be started: {exc}") from exc
        return made

    def delete(self, job: Job) -> None:
        """As `Engine.delete`; of a Job that lives, `tend` does the rest once its worker is gone."""
        folder = self._folder(job.name)
        try:
            if _read_manifest(folder)["metadata"]["uid"] == job.uid:
                (folder / DELETING).touch()
                os.utime(folder.parent)  # so that every manager sees the mark, also one that knows the Job as finished
                self._poke(job.name)
                self._finish_deletion(job)
        except FileNotFoundError:
            return
        except OSError as exc:
            raise EngineUnavailable(f"{folder}: the Job could not be deleted: {exc}") from exc

    def tend(self) -> Sequence[str]:
        """As `Engine.tend`."""
        with self._starting:
            self._supervisors = {name: child for name, child in self._supervisors.items() if not child.has_ended()}
        try:
            for shard in self._looked_at():
                for job in self._unfinished_in(shard):
                    self._tend_to(job)
            self._sweep()
        except OSError as exc:
            raise EngineUnavailable(f"{self._jobs_folder}: {exc}") from exc
        return ()

    def _tend_to(self, job: Job) -> None:
        if job.deleting:
            self._poke(job.name)
            self._finish_deletion(job)
        elif job.is_live and job.name not in self._supervisors and _is_free(self._folder(job.name)):
            self._supervise(job.name)

    def log(self, job: Job, stage: str = "") -> str:
        """As `Engine.log`: of a worker that runs, and of a failed one."""
        stage = stage or job.stage
        path = self._folder(job.name) / (f"{LOGS}/{stage}" if stage else LOG)
        return supervisor.tail(path, LOG_BYTES, errors="replace")

    def watch(self, on_change: Callable[[], None]) -> None:
        """As `Engine.watch`: at once for Jobs started here; what another process started is seen at the next look."""

        self._listeners.append(on_change)
        if self._watcher is None:
            self._watcher = threading.Thread(target=self._listen, name="process-engine-watch", daemon=True)
            self._watcher.start()

    def close(self) -> None:
        """As `Engine.close`."""
        if self._watcher:
            os.write(self._notify, _CLOSE)
            self._watcher.join()
        os.close(self._notify)
        os.close(self._changes)

    def _listen(self) -> None:
        # What a supervisor wrote may come together with the end, in one read.
        while _CLOSE not in os.read(self._changes, 4096):
            for on_change in self._listeners:
                on_change()

    # --- only here: a person who stops a queue on this machine expects its workers to stop

    def stop_workers(self, jobs: Iterable[Job]) -> bool:
        """
        Ask these Jobs' workers to stop, for another start to take them up; False once none of them is left.
        SIGTERM first, SIGKILL when their grace is over. Call it again until it says so.
        """
        return any([self._is_stopping(job) for job in jobs])  # noqa: C419 - every one of them, not up to the first

    def _is_stopping(self, job: Job) -> bool:
        is_asked = self._poke(job.name)
        ours = self._supervisors.get(job.name)
        # Ours may have just been started, and neither hold the lock nor hear us yet.
        return is_asked or (ours is not None and not ours.has_ended()) or not _is_free(self._folder(job.name))

    def is_supervised_here(self, job: Job) -> bool:
        """Whether this very object started the Job's supervisor."""
        return job.name in self._supervisors

    # --- looking

    def _folder(self, job_name: str) -> Path:
        # 256 shards by the hash in the name: a change makes 1/256 of the names be read again, not all of them.
        return self._jobs_folder / job_name[-16:-14] / job_name

    def _looked_at(self) -> Iterator[_Shard]:
        try:
            names = os.listdir(self._jobs_folder)  # noqa: PTH208 - names are what is wanted, not paths
        except FileNotFoundError:
            return
        for name in filter(_SHARD.fullmatch, names):  # some systems leave files of their own in every folder
            self._shards[name] = self._shard(self._jobs_folder / name, self._shards.get(name))
            yield self._shards[name]

    def _shard(self, folder: Path, known: _Shard | None) -> _Shard:
        modified_ns = os.stat(folder).st_mtime_ns  # noqa: PTH116 - half the cost, and done 256 times per look
        if known and known.is_settled and known.modified_ns == modified_ns:
            return known
        is_settled = self._clock() - modified_ns / 1e9 > _RACY_SECONDS
        names = set(os.listdir(folder))  # noqa: PTH208 - as above
        same = {
            name: identity
            for name, identity in (known.identities.items() if known else ())
            if name in names and _identity_or_none(folder / name) == identity
        }
        finished = {item: job for item, job in (known.finished.items() if known else ()) if job.name in same}
        return _Shard(modified_ns, is_settled, finished, same, names - same.keys())

    def _unfinished_in(self, shard: _Shard) -> list[Job]:
        """Jobs that were not finished when the shard was last looked at, as they are now."""
        looked = [self._look(name, shard) for name in sorted(shard.unfinished)]
        return [job for job in looked if job is not None]

    def _look(self, name: str, shard: _Shard) -> Job | None:
        folder = self._folder(name)
        try:
            # The identity first: if the folder changes in between, the next listing reads it again.
            identity = _identity(folder)
            job = _job_of(folder)
        except FileNotFoundError:
            return None  # deleted between the listing and this look
        if job.is_finished:
            shard.unfinished.discard(name)
            shard.finished[job.item] = job
            shard.identities[name] = identity
        return job

    # --- making

    def _make_folder(self, bundle: Bundle, target: Path) -> bool:
        if target.exists():
            return False
        aside = self._fresh_folder("new-")
        try:
            manifest = json.loads(json.dumps(bundle.job))
            manifest["metadata"] |= {"uid": str(uuid.uuid4()), "creationTimestamp": _timestamp(self._clock())}
            for container in containers(manifest):
                container.update(command(container))
            supervisor.write_aside(aside / MANIFEST, json.dumps(manifest, ensure_ascii=False), durable=False)
            supervisor.write_aside(aside / ITEM, _item_data(bundle), durable=False)
            status = Status(since=_seconds(manifest["metadata"]["creationTimestamp"]))
            supervisor.write_aside(aside / STATUS, json.dumps(asdict(status)), durable=True)
            (aside / LOCK).touch()
            (aside / ALIVE).touch()
            os.mkfifo(aside / CONTROL)
            target.parent.mkdir(parents=True, exist_ok=True)
            made = _rename_new(aside, target)
            supervisor.sync_folder(target.parent)
            return made
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def _expect_same_item(self, bundle: Bundle, folder: Path) -> None:
        try:
            annotations = _read_manifest(folder)["metadata"]["annotations"]
        except FileNotFoundError:
            return
        if annotations[DIGEST_ANNOTATION] != bundle.job["metadata"]["annotations"][DIGEST_ANNOTATION]:
            raise EngineError(
                f"the Job {bundle.name} is there for another item, {annotations[ITEM_ANNOTATION]!r}: "
                f"rename {bundle.item!r}"
            )

    def _supervise(self, name: str) -> None:
        folder = self._folder(name)
        arguments = [str(folder), str(self._backoff_seconds), str(self._notify)]
        with self._starting, contextlib.suppress(FileNotFoundError), (folder / "supervisor.log").open("ab") as log:
            if name not in self._supervisors:
                self._supervisors[name] = _Child.start(
                    [sys.executable, "-I", supervisor.__file__, *arguments], log.fileno()
                )

    # --- ending

    def _poke(self, name: str) -> bool:
        """Tell the Job's supervisor to stop its worker: False if there is none."""
        try:
            control = os.open(self._folder(name) / CONTROL, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FileNotFoundError:
            return False
        except OSError as exc:
            if exc.errno == errno.ENXIO:  # nobody reads it
                return False
            raise
        with contextlib.suppress(BrokenPipeError, BlockingIOError):
            os.write(control, supervisor.STOP)
        os.close(control)
        return True

    def _finish_deletion(self, job: Job) -> None:
        folder = self._folder(job.name)
        lock = supervisor.take_lock(folder)
        if lock is None:
            return
        try:
            alive = supervisor.end_leftovers(folder, job.uid, is_suspect=_was_running(folder))
            if alive is None:
                return
            os.close(alive)
            # Aside first: the name is free at once, and whole; a folder half deleted would be neither.
            gone = self._fresh_folder("gone-") / job.name
            folder.rename(gone)
            shutil.rmtree(gone.parent, ignore_errors=True)
        finally:
            os.close(lock)

    def _fresh_folder(self, prefix: str) -> Path:
        aside = self.state_folder / "aside"
        aside.mkdir(parents=True, exist_ok=True)
        return Path(tempfile.mkdtemp(prefix=prefix, dir=aside))

    def _sweep(self) -> None:
        """Remove what managers that were killed left aside."""
        aside = self.state_folder / "aside"
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(aside):
                if self._clock() - entry.stat().st_mtime > _ABANDONED_SECONDS:
                    shutil.rmtree(entry.path, ignore_errors=True)


def _refuse(found: Sequence[str]) -> None:
    if found:
        raise ManifestRefused("\n".join(f"the process engine {problem}" for problem in found))


def _rename_new(aside: Path, target: Path) -> bool:
    try:
        aside.rename(target)  # a folder never replaces one that has something in it
    except OSError as exc:
        if exc.errno in {errno.ENOTEMPTY, errno.EEXIST}:
            return False
        raise
    return True


def _is_free(folder: Path) -> bool:
    lock = supervisor.take_lock(folder)
    if lock is None:
        return False
    os.close(lock)
    return True


def _identity(folder: Path) -> tuple[int, int]:
    """Changes with everything that can happen to a finished Job: being marked for deletion, being made anew."""
    stat = os.stat(folder)  # noqa: PTH116 - as in _shard
    return stat.st_ino, stat.st_mtime_ns


def _identity_or_none(folder: Path) -> tuple[int, int] | None:
    try:
        return _identity(folder)
    except FileNotFoundError:
        return None


def _read_manifest(folder: Path) -> Manifest:
    manifest: Manifest = json.loads((folder / MANIFEST).read_bytes())
    return manifest


def _was_running(folder: Path) -> bool:
    """Whether a worker ran when its supervisor was lost; also where nobody can tell."""
    try:
        return (supervisor.read_status(folder) or Status(phase="running")).phase == "running"
    except (ValueError, TypeError):
        return True


def _job_of(folder: Path) -> Job:
    try:
        manifest = _read_manifest(folder)
        metadata, annotations = manifest["metadata"], manifest["metadata"]["annotations"]
        created = _seconds(metadata["creationTimestamp"])
    except (ValueError, KeyError, TypeError) as exc:
        # Whose Job it is stands nowhere else, so there is no item to show it at.
        raise EngineUnavailable(
            f"{folder / MANIFEST} is damaged ({exc!r}): remove {folder} to have its item started anew"
        ) from exc
    status = _status_of(folder, created)
    state = _STATES[status.phase]
    message = status.message
    if REFUSED_ANNOTATION in annotations:
        state, message = State.FAILED, annotations[REFUSED_ANNOTATION]
    elif state is State.RUNNING and _is_free(folder):
        state, message = State.STARTING, "its worker was lost and will be started again"
    return Job(
        name=metadata["name"],
        item=annotations[ITEM_ANNOTATION],
        uid=metadata["uid"],
        state=state,
        created=created,
        since=status.since,
        attempt=status.attempt,
        attempts=manifest["spec"]["backoffLimit"] + 1,
        reason=message,
        exit_code=status.exit_code,
        processing_seconds=status.processing_seconds,
        stage=status.stage,
        stage_seconds=tuple(status.stage_seconds.items()),
        deleting=(folder / DELETING).exists(),
        first_seen=first_seen_of(annotations),
        is_item_refused=is_item_refused(annotations),
    )


def _status_of(folder: Path, created: float) -> Status:
    """What became of it so far; a Job with a damaged folder has failed, and says so."""
    try:
        status = supervisor.read_status(folder)
    except (ValueError, TypeError) as exc:
        return Status("failed", created, message=f"{folder / STATUS} is damaged: {exc}")
    if status is None:
        return Status(
            "failed", created, message=f"{folder / STATUS} is missing: nobody can tell how far its worker came"
        )
    if not status.is_final:
        for name in (LOCK, ALIVE, CONTROL):
            if not (folder / name).exists():
                return Status("failed", status.since, status.attempt, message=f"{folder / name} is missing")
    return status


_STATES: Final[Mapping[supervisor.Phase, State]] = {
    "starting": State.STARTING,
    "backoff": State.STARTING,
    "stopped": State.STARTING,
    "running": State.RUNNING,
    "complete": State.DONE,
    "failed": State.FAILED,
}


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _timestamp(at: float) -> str:
    return datetime.fromtimestamp(at, UTC).isoformat(timespec="microseconds")


def _item_data(bundle: Bundle) -> str:
    if bundle.payload:
        data = bundle.payload.get("data") or bundle.payload["stringData"]
        return str(data[ITEM_FILE])
    annotations = bundle.job["spec"]["template"]["metadata"].get("annotations", {})
    return str(annotations.get(DATA_ANNOTATION, "{}"))


def _make_host_paths(job: Manifest) -> None:
    for volume in job["spec"]["template"]["spec"].get("volumes", []):
        if volume.get("hostPath", {}).get("type") == "DirectoryOrCreate":
            Path(volume["hostPath"]["path"]).mkdir(parents=True, exist_ok=True)
