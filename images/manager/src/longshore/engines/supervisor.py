"""One Job on this machine: runs its worker, attempt by attempt, and writes down how it ended.

What the Job controller and the kubelet are on a cluster, this small process is for one Job of the process engine. It
outlives the manager, so that a manager's end stops no worker. Owns the Job's `status.json`; everything else in the
folder it only reads. Runs as a script with little more than the standard library, since one is started per Job.

A Job is at most once alive. The supervisor holds `lock`, so that there is one of it. It is the reaper of all that its
worker starts, however deep and detached: an attempt has ended when no descendant is left. If it is killed itself, its
successor ends what is left before it starts anything: what carries the Job's uid in its environment, and what holds
`alive`, which workers inherit, until nothing does.
"""

import contextlib
import fcntl
import json
import os
import select
import shutil
import signal
import stat
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any, Final, Literal, get_args

from longshore.descendants import become_reaper, end_descendants
from longshore_kit.expansion import expand, expand_all

MANIFEST: Final = "manifest.json"
ITEM: Final = "item.json"
STATUS: Final = "status.json"
LOCK: Final = "lock"
ALIVE: Final = "alive"
CONTROL: Final = "control"
LOG: Final = "worker.log"
LOGS: Final = "logs"
"""Of a chain in the log's place: a folder with one log per stage."""
DELETING: Final = "deleting"
"""The files of a Job's folder."""

FILES: Final = "files"
"""The folder in it that a worker is shown, made anew for each attempt: whatever a worker does there hurts nothing."""
RESULT: Final = "result"
"""In that folder, beside a copy of the item's data."""
WORK: Final = "work"
STAGES: Final = "stages"
"""In that folder, of a chain: what its stages share, and where their item files are made."""

UID_VARIABLE: Final = "LONGSHORE_JOB_UID"
"""Marks every process of a Job's worker, so that it can be told from one that only has its number."""
STOP: Final = b"s"
"""Written to the control pipe: stop the worker, it will be started again."""
CHANGED: Final = b"."
"""Written to the manager's pipe at every change."""

_LOCK_TRIES: Final = 40
_LOCK_PAUSE: Final = 0.05  # 2 s in all: a look holds the lock for microseconds, another supervisor for good
_BACKOFF_MAX: Final = 360.0  # the Job controller's own
_TAIL_BYTES: Final = 2048  # the kubelet's, where a worker leaves no message
_TAIL_LINES: Final = 80
_RESULT_BYTES: Final = 4096
_KEPT_LOG_BYTES: Final = 256 * 1024
"""Of a failed worker's log; a cluster keeps 10 MB, but for a while only."""
_NOT_FOUND: Final = 127
_NOT_EXECUTABLE: Final = 126
_BROKEN: Final = 125
_RETRY_SECONDS: Final = 1.0

Phase = Literal["starting", "running", "backoff", "stopped", "complete", "failed"]


@dataclass(frozen=True)
class Status:
    """What `status.json` holds. Times are seconds since the epoch."""

    phase: Phase = "starting"
    since: float = 0.0
    attempt: int = 0
    failures: int = 0
    reason: str = ""
    """One word for programs, as in a Job's conditions."""
    message: str = ""
    """For people: the worker's own words where it left any. Of a complete Job: its result."""
    exit_code: int | None = None
    processing_seconds: float = 0.0
    stage: str = ""
    """Of a chain: the container that runs, or with which the last attempt ended."""
    stage_seconds: dict[str, float] = field(default_factory=dict)
    """What each container of the last attempt took, of those that have ended."""

    @property
    def is_final(self) -> bool:
        """Whether nothing will run any more."""
        return self.phase in {"complete", "failed"}


def read_status(folder: Path) -> Status | None:
    """
    The Job's status; None where the file is missing.

    Raises:
        ValueError, TypeError: it is damaged.
    """
    try:
        status = Status(**json.loads((folder / STATUS).read_bytes()))
    except FileNotFoundError:
        return None
    if status.phase not in get_args(Phase):
        raise ValueError(f"there is no phase {status.phase!r}")
    return status


def take_lock(folder: Path, name: str = LOCK) -> int | None:
    """One of the Job's locks, as a file descriptor to close; None while it is held, or the Job is gone."""
    try:
        lock = os.open(folder / name, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        # The folder may have been deleted, and made anew, between the two.
        if os.fstat(lock).st_ino == (folder / name).stat().st_ino:
            return lock
    except (BlockingIOError, FileNotFoundError):
        pass
    os.close(lock)
    return None


class _Supervisor:
    def __init__(self, folder: Path, backoff_seconds: float, notify: int) -> None:
        self.folder = folder
        self.backoff_seconds = backoff_seconds
        self.notify = notify
        self.job: dict[str, Any] = json.loads((folder / MANIFEST).read_bytes())
        self.pod: dict[str, Any] = self.job["spec"]["template"]["spec"]
        self.is_chain = "initContainers" in self.pod
        self.containers: list[dict[str, Any]] = [*self.pod.get("initContainers", ()), *self.pod["containers"]]
        self.container = self.containers[0]
        self.status = read_status(folder) or Status()
        self.control = os.open(folder / CONTROL, os.O_RDWR | os.O_NONBLOCK | os.O_CLOEXEC)
        self.woken, wake = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC) if hasattr(os, "pipe2") else _pipe()
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        self.stopping = False
        self.is_reaper = become_reaper()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._on_signal)
        signal.signal(signal.SIGCHLD, lambda *_: None)

        self.alive = -1

    def run(self) -> None:
        if self.status.is_final or self._is_told_to_stop():
            return
        self.alive = self._end_leftovers()
        if self.status.phase == "running":
            # The supervisor was lost, and the worker with it: a disruption, which costs no attempt.
            self._write(phase="backoff", reason="Lost", message="its worker was lost and is started again")
        while not self.status.is_final:
            if not self._wait_for_turn() or not self._attempt():
                self._write(phase="stopped", reason="Stopped", message="stopped; it will be started again")
                return

    def _wait_for_turn(self) -> bool:
        """Wait out the back-off after failures: False when told to stop meanwhile."""
        if self.status.phase == "backoff" and self.status.reason != "Lost":
            pause = min(self.backoff_seconds * 2.0 ** min(self.status.failures - 1, 30), _BACKOFF_MAX)
            # By the wall's clock only what passed before this supervisor began, and never more than the pause.
            passed = min(max(0.0, time.time() - self.status.since), pause)
            self._sleep_until(time.monotonic() + pause - passed)
        return not self._is_told_to_stop()

    def _attempt(self) -> bool:
        """One attempt, from start to its outcome on disk: False when it was stopped and has no outcome."""
        deadline = time.monotonic() + self.pod["activeDeadlineSeconds"]
        attempt = self.status.failures + 1
        first = self._beginning(self.containers[0], {})
        self._write(phase="running", attempt=attempt, reason="", message="", exit_code=None, **first)
        if self._is_told_to_stop():
            return False
        try:
            self._lay_out()
        except OSError as exc:
            self._failed(_NOT_EXECUTABLE, "StartError", f"the worker's folder could not be made: {exc}")
            return True
        for container in self.containers:
            if container is not self.containers[0]:
                self._write(**self._beginning(container, self.status.stage_seconds))
            if not self._run(container, deadline):
                return self.status.phase != "running"
        return True

    def _beginning(self, container: dict[str, Any], seconds: dict[str, float]) -> dict[str, Any]:
        """What the status says while a container of a chain runs."""
        self.container = container
        return {"stage": container["name"], "stage_seconds": seconds} if self.is_chain else {}

    def _run(self, container: dict[str, Any], deadline: float) -> bool:
        """One container, to its end: whether the next may begin. Else the outcome is on disk, or it was stopped."""
        started = time.monotonic()
        try:
            worker = self._start()
        except OSError as exc:
            code = _NOT_FOUND if isinstance(exc, FileNotFoundError) else _NOT_EXECUTABLE
            self._failed(code, "StartError", f"{self._argv()[0]!r} could not be started: {exc.strerror}")
            return False
        except ValueError as exc:  # an argument that no process can be given
            self._failed(_NOT_EXECUTABLE, "StartError", f"the worker could not be started: {exc}")
            return False
        why = self._wait(worker, deadline)
        code = _exit_code(worker)
        self._end_descendants()
        took = time.monotonic() - started
        seconds = {**self.status.stage_seconds, **({container["name"]: round(took, 3)} if self.is_chain else {})}
        self.status = replace(
            self.status,
            processing_seconds=round(self.status.processing_seconds + took, 3),
            stage_seconds=seconds,
        )
        if code == 0 and why != "deadline" and container is not self.containers[-1]:
            _remove(self.folder / FILES / RESULT)  # the next one's is its own
            return why == "exit"
        self._outcome(code, why)
        return False

    def _lay_out(self) -> None:
        """The worker's own folder, with the item's data, as no attempt has touched it."""
        files = self.folder / FILES
        _remove(files)
        files.mkdir()
        shutil.copyfile(self.folder / ITEM, files / ITEM)
        (files / ITEM).chmod(0o444)
        _remove(self.folder / LOGS)
        if self.is_chain:
            for folder in (self.folder / LOGS, files / WORK, files / STAGES):
                folder.mkdir()

    def _outcome(self, code: int, why: str) -> None:
        """Write down what became of the attempt; one that was stopped has no outcome."""
        if why == "deadline":
            limit = self.pod["activeDeadlineSeconds"]
            self._failed(code, "DeadlineExceeded", f"stopped after {limit} s, the deadline of an attempt")
        elif code == 0:
            self._write(phase="complete", reason="Completed", message=self._result(), exit_code=0)
            for name in (LOG, LOGS, FILES):
                _remove(self.folder / name)
        elif why != "stop":
            self._failed(code, "Error", self._reason())

    def _failed(self, code: int, reason: str, message: str) -> None:
        failures = self.status.failures + 1
        final = code in self._no_retry() and reason == "Error"
        phase: Phase = "failed" if final or failures > self.job["spec"]["backoffLimit"] else "backoff"
        message = message or f"exit code {code}, without a word"
        self._write(phase=phase, failures=failures, reason=reason, message=message, exit_code=code)
        if phase == "failed":
            for log in [self.folder / LOG, *(self.folder / LOGS).glob("*")]:
                _cut(log, _KEPT_LOG_BYTES)
            _remove(self.folder / FILES)

    def note_broken(self, words: str) -> None:
        """The attempt failed by a fault of the supervisor's own."""
        if not self.status.is_final:
            self._failed(_BROKEN, "SupervisorError", f"the supervisor broke: {words.strip().splitlines()[-1]}")

    def _no_retry(self) -> list[int]:
        rules = self.job["spec"].get("podFailurePolicy", {}).get("rules", [])
        return [
            code
            for rule in rules
            if rule["action"] == "FailJob"
            for code in rule.get("onExitCodes", {}).get("values", [])
        ]

    def _log(self) -> Path:
        return self.folder / LOGS / self.container["name"] if self.is_chain else self.folder / LOG

    def _start(self) -> subprocess.Popen[bytes]:
        _remove(self._log())
        with self._log().open("xb") as log:
            return subprocess.Popen(
                self._argv(),
                env=self._environment(),
                cwd=self.container.get("workingDir"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                pass_fds=(self.alive,),
            )

    def _variables(self) -> dict[str, str]:
        return expand_all((one["name"], one.get("value", "")) for one in self.container.get("env", []))

    def _environment(self) -> dict[str, str]:
        return {**os.environ, **self._variables(), UID_VARIABLE: self.job["metadata"]["uid"]}

    def _argv(self) -> list[str]:
        variables = self._variables()
        return [expand(text, variables) for text in [*self.container["command"], *self.container.get("args", [])]]

    def _wait(self, worker: subprocess.Popen[bytes], deadline: float) -> str:
        """Wait for the worker's end, or bring it about: why it ended, `exit`, `deadline` or `stop`."""
        why = "exit"
        kill_at = float("inf")
        while not _has_exited(worker):
            now = time.monotonic()
            if why == "exit" and (now >= deadline or self._is_told_to_stop()):
                why = "deadline" if now >= deadline else "stop"
                _signal_group(worker, signal.SIGTERM)
                kill_at = now + self.pod.get("terminationGracePeriodSeconds", 30)
            elif now >= kill_at:
                _signal_group(worker, signal.SIGKILL)
                kill_at = now + 1
            self._sleep_until(min(kill_at, deadline if why == "exit" else kill_at), once=True)
        # The group's number can't be another's yet: its leader is dead, but not reaped.
        _signal_group(worker, signal.SIGKILL)
        return why

    def _sleep_until(self, moment: float, *, once: bool = False) -> None:
        """Sleep until `moment`, by the monotonic clock, until told to stop or, with `once`, until anything happens."""
        while (left := moment - time.monotonic()) > 0:
            ready, _, _ = select.select([self.woken, self.control], [], [], min(left, 3600))
            if self.woken in ready:
                _drain(self.woken)
            if self.control in ready and STOP in _drain(self.control):
                self.stopping = True
            if once or self._is_told_to_stop():
                return

    def _is_told_to_stop(self) -> bool:
        return self.stopping or (self.folder / DELETING).exists()

    def _on_signal(self, *_: object) -> None:
        self.stopping = True

    def _result(self) -> str:
        """What the worker left in its result file."""
        return tail(self.folder / FILES / RESULT, _RESULT_BYTES).strip()

    def _reason(self) -> str:
        """The worker's own words on its failure: its result, else the end of its log."""
        log = tail(self._log(), _TAIL_BYTES).strip().splitlines()
        return self._result() or "\n".join(log[-_TAIL_LINES:])

    def _write(self, **changes: Any) -> None:  # noqa: ANN401 - the fields of Status
        if changes.get("phase", self.status.phase) != self.status.phase:
            changes["since"] = round(time.time(), 3)
        self.status = replace(self.status, **changes)
        text = json.dumps(asdict(self.status))
        while not _is_written(self.folder / STATUS, text, durable=self.status.is_final) and self._may_wait_for_room():
            # A full disk, most likely; there is no event for room on one.
            self._sleep_until(time.monotonic() + _RETRY_SECONDS)
        with contextlib.suppress(OSError):
            os.write(self.notify, CHANGED)

    def _may_wait_for_room(self) -> bool:
        """Whether what can't be written is worth more than an end: an outcome would be lost, all else is done again."""
        is_outcome = self.status.is_final and not (self.folder / DELETING).exists()
        return is_outcome or not self._is_told_to_stop()

    # --- nothing of an attempt outlives it

    def _end_leftovers(self) -> int:
        """Of the worker of a supervisor that was lost: waits until nothing is left, and returns `alive`, locked."""
        is_suspect = self.status.phase == "running"
        while (alive := end_leftovers(self.folder, self.job["metadata"]["uid"], is_suspect=is_suspect)) is None:
            time.sleep(_LOCK_PAUSE)  # the kernel closes the files of the dead in its own time
        return alive

    def _end_descendants(self) -> None:
        """Whatever the worker started and left, in whichever session: what lost its parent is our child by now."""
        if not self.is_reaper:
            os.close(self.alive)
            self.alive = self._end_leftovers()
            return
        end_descendants()


def write_aside(path: Path, text: str, *, durable: bool) -> None:
    """Replace a file in one step; `durable`: so that a power cut does not undo it."""
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        with aside.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            # Else a power cut may leave the new name with nothing in it.
            os.fsync(file.fileno())
        aside.replace(path)
    except OSError:
        _remove(aside)
        raise
    if durable:
        sync_folder(path.parent)


def tail(path: Path, size: int, *, errors: str = "ignore") -> str:
    """The end of a file, of a regular one only: a pipe, a link or a folder in its place says nothing."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW)
    except OSError:
        return ""
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            return ""
        return os.pread(descriptor, size, max(0, status.st_size - size)).decode(errors=errors)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """Have the names in a folder survive a power cut."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def end_leftovers(folder: Path, uid: str, *, is_suspect: bool) -> int | None:
    """
    Kill what an earlier worker of this Job left running, however deep: one pass.

    Returns `alive`, locked, as a proof that nothing is left, for the next worker to inherit; None: look again soon.
    `is_suspect`: its supervisor was lost, so look also for what does not hold `alive` any more.
    """
    alive = take_lock(folder, ALIVE)
    if alive is not None and not is_suspect:
        return alive
    found = list(_leftovers(folder / ALIVE, uid))
    for process in found:
        with contextlib.suppress(OSError, ProcessLookupError):
            os.kill(process, signal.SIGKILL)
    if not found:
        return alive
    if alive is not None:
        os.close(alive)
    return None


def _leftovers(alive: Path, uid: str) -> Iterator[int]:
    """Processes that carry the Job's uid, or hold `alive` open."""
    import psutil  # noqa: PLC0415 - 20 ms that only a Job whose supervisor was lost has to pay

    lock = alive.stat()
    for process in psutil.process_iter():
        if process.pid == os.getpid():
            continue
        is_marked = False
        with contextlib.suppress(psutil.Error, OSError):
            is_marked = process.environ().get(UID_VARIABLE) == uid
        if is_marked or _holds(process, lock):
            yield process.pid


def _holds(process: Any, lock: os.stat_result) -> bool:  # noqa: ANN401 - a psutil.Process, which is imported late
    with contextlib.suppress(Exception):  # psutil's errors and the system's: it ended, or is not for us to look at
        for file in process.open_files():
            with contextlib.suppress(OSError):
                found = os.stat(file.path)  # noqa: PTH116 - as psutil says it
                if (found.st_dev, found.st_ino) == (lock.st_dev, lock.st_ino):
                    return True
    return False


def _is_written(path: Path, text: str, *, durable: bool) -> bool:
    try:
        write_aside(path, text, durable=durable)
    except OSError:
        # Without its folder the Job is gone, and there is nobody to tell.
        return not path.parent.is_dir()
    return True


def _remove(path: Path) -> None:
    """Whatever is there: workers may have put anything in the place of a file."""
    try:
        path.unlink()
    except FileNotFoundError:
        return
    except OSError:
        shutil.rmtree(path, ignore_errors=True)


def _has_exited(worker: subprocess.Popen[bytes]) -> bool:
    """Whether the worker has ended, without reaping it where the system lets us: its number stays taken."""
    if not hasattr(os, "waitid"):
        return worker.poll() is not None
    return os.waitid(os.P_PID, worker.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


def _exit_code(worker: subprocess.Popen[bytes]) -> int:
    code = worker.wait()
    return code if code >= 0 else 128 - code


def _signal_group(worker: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(worker.pid, number)


def _cut(path: Path, size: int) -> None:
    """Keep the end of a file only."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > size:
            # In one step: who reads along never sees half of it.
            write_aside(path, tail(path, size), durable=False)


def _drain(pipe: int) -> bytes:
    with contextlib.suppress(BlockingIOError):
        return os.read(pipe, 4096)
    return b""


def _pipe() -> tuple[int, int]:
    ends = os.pipe()
    for end in ends:
        os.set_blocking(end, False)
    return ends


def _run(one: _Supervisor) -> None:
    try:
        one.run()
    except Exception:  # noqa: BLE001 - a bug of ours is told, and
        # is an attempt's end like any other: it must not start a worker again and again.
        words = traceback.format_exc()
        sys.stderr.write(words)
        one.note_broken(words)


def main(arguments: list[str]) -> int:
    """`supervisor.py FOLDER BACKOFF_SECONDS NOTIFY_FD`: 0 whenever there was nothing to do or it was done."""
    folder, backoff_seconds, notify = Path(arguments[0]), float(arguments[1]), int(arguments[2])
    os.set_inheritable(notify, False)
    for _ in range(_LOCK_TRIES):
        lock = take_lock(folder)
        if lock is not None:
            _run(_Supervisor(folder, backoff_seconds, notify))
            return 0
        if not folder.exists():
            return 0
        time.sleep(_LOCK_PAUSE)  # a lock can't be waited for and given up at once
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
