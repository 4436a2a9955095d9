"""A queue on this machine: its state folder, its engine and its ambassador, from one queue file.

Owns where things lie (`.longshore/<queue>` beside the queue file), which engine has the queue's Jobs, and the
ambassador's process: a shipped one is handed
a listening socket, so that its address is known before it runs and survives its restarts; one of the user's own is told
a port. Both end with us.
"""

import contextlib
import enum
import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Final

from longshore.control import FileControl
from longshore.engines.base import LocalEngine
from longshore.engines.process import ProcessEngine
from longshore.explain import last_line
from longshore.ledger import FileLedger
from longshore.manifests import Bundle, bundle_for, sample_item
from longshore.names import job_name
from longshore.once import written_once
from longshore.queuefile import Queue
from longshore.source import HttpSource
from longshore.sources import CustomSource, source_variables
from longshore_kit.errors import SettingsError
from longshore_kit.logs import Logger

STATE_FOLDER: Final = ".longshore"
AMBASSADOR_LOG: Final = "ambassador.log"
MANAGERS_LOCK: Final = "managers.lock"
_ENGINE: Final = "engine"
"""The file that says which engine the queue's Jobs are with."""
_NO_RESTART: Final = frozenset({64, 126, 127})
"""It refuses its settings, or there is no such program: starting again does not help, editing does."""
_LISTEN_SECONDS: Final = 10.0
"""What an ambassador of the user's own gets to listen in; after that its source is unavailable, and is asked again."""
_LISTEN_PAUSE: Final = 0.05
_RESTART_SECONDS: Final = 2.0
_STARTED_SECONDS: Final = 10.0
"""An ambassador that has lived for so long has overcome what ended the one before."""
_WORDS_BYTES: Final = 4096
_GRACE_SECONDS: Final = 5.0


class EngineKind(enum.StrEnum):
    """What runs the workers of a queue on this machine."""

    PROCESS = "process"
    """Programs of this machine."""
    DOCKER = "docker"
    """Containers of a Docker daemon."""


@dataclass(frozen=True)
class LocalQueue:
    """One queue of this machine."""

    queue: Queue
    state_folder: Path
    mounts: Mapping[str, str]
    """Each volume's folder on this machine, by the volume's name."""
    kind: EngineKind = EngineKind.PROCESS

    def engine(self, environ: Mapping[str, str]) -> LocalEngine:
        """
        A fresh engine on the queue's Jobs; close it.

        Raises:
            EngineUnavailable: the Docker daemon does not answer.
            SettingsError: its client is not installed.
        """
        if self.kind is EngineKind.PROCESS:
            return ProcessEngine(self.state_folder, working_folder=self.queue.folder, mounts=self.mounts)
        try:
            from longshore.engines.docker import DockerApi, DockerEngine  # noqa: PLC0415 - the client is an extra
        except ModuleNotFoundError as exc:
            raise SettingsError(
                f"{exc.name} is not installed: a queue on Docker needs longshore with its extra [docker]"
            ) from exc
        return DockerEngine(
            DockerApi.from_environment(environ),
            self.queue.name,
            state_folder=self.state_folder,
            working_folder=self.queue.folder,
            volumes=tuple(self.queue.spec.volumes),
        )

    def ledger(self) -> FileLedger:
        """The queue's ledger."""
        return FileLedger(self.state_folder / "ledger.jsonl")

    def control(self) -> FileControl:
        """Whether it starts items, as a person has said."""
        return FileControl(self.state_folder)

    def sample_bundle(self, engine: LocalEngine) -> Bundle:
        """What an item would start, for looking at before there is one."""
        item = sample_item(self.queue.spec.worker)
        return bundle_for(self.queue, item, engine.layout(job_name(self.queue.name, item.name)))

    def prepare(self) -> None:
        """
        Make the state folder, out of sight of git.

        Raises:
            SettingsError: it can't be made.
        """
        ignore = self.state_folder.parent / ".gitignore"
        try:
            self.state_folder.mkdir(parents=True, exist_ok=True)
            if self.state_folder.parent.name == STATE_FOLDER and not ignore.exists():
                ignore.write_text("*\n", encoding="utf-8")
        except OSError as exc:
            raise SettingsError(
                f"the state folder {self.state_folder} can't be made: {exc.strerror}; choose one with --state-folder"
            ) from exc

    def expect_state_folder(self) -> None:
        """
        Look whether the state folder can be made, or written to; make nothing.

        Raises:
            SettingsError: it can't.
        """
        there = next(one for one in (self.state_folder, *self.state_folder.parents) if one.exists())
        if not there.is_dir():
            raise SettingsError(f"the state folder {self.state_folder} can't be made: {there} is no folder")
        if not os.access(there, os.W_OK | os.X_OK):
            raise SettingsError(
                f"the state folder {self.state_folder} can't be written to: {there} is not for us to write to; "
                "choose one with --state-folder"
            )

    def remember_engine(self) -> None:
        """
        Have every later command about the queue use its engine: Jobs are nowhere else.

        Raises:
            SettingsError: another start, of a moment ago, has chosen another one; or it can't be written down.
        """
        path = self.state_folder / _ENGINE
        with _told_as_unwritable(path):
            written_once(path, f"{self.kind}\n")
        _expect(self.kind, _remembered(self.state_folder))

    def is_managed(self) -> bool:
        """Whether any manager runs now; looking leaves no trace that a manager could take for another one."""
        try:
            with (self.state_folder / MANAGERS_LOCK).open("rb") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        except FileNotFoundError:
            pass
        return False

    @contextlib.contextmanager
    def managing(self) -> Iterator["Managing"]:
        """
        While held, this process counts as one of the queue's managers.

        Raises:
            SettingsError: there is no writing in the state folder.
        """
        path = self.state_folder / MANAGERS_LOCK
        with _told_as_unwritable(path):
            lock = path.open("ab")
        with lock:
            fcntl.flock(lock, fcntl.LOCK_SH)
            yield Managing(lock)


@contextlib.contextmanager
def _told_as_unwritable(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as exc:
        raise SettingsError(
            f"{path} can't be written: {exc.strerror}; make room, or the right to write there, or choose another "
            "folder with --state-folder"
        ) from exc


@dataclass(frozen=True)
class Managing:
    """A manager's part in its queue's folder."""

    lock: IO[bytes]

    def is_last(self) -> bool:
        """Whether no other process manages this queue now."""
        try:
            fcntl.flock(self.lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            fcntl.flock(self.lock, fcntl.LOCK_SH)
            return False
        fcntl.flock(self.lock, fcntl.LOCK_SH)  # who looks must not have to wait for our end
        return True


def open_queue(queue: Queue, state_folder: Path | None, engine: EngineKind | None = None) -> LocalQueue:
    """
    The queue with its places on this machine; nothing is made yet.

    Raises:
        SettingsError: its Jobs are with another engine than the one that is asked for.
    """
    mounts = {
        name: os.path.normpath(queue.folder / volume.host_path.path) if volume.host_path else f"/{name}"
        for name, volume in queue.spec.volumes.items()
    }
    # Workers run in the queue file's folder, wherever we were started.
    folder = state_folder.resolve() if state_folder else queue.folder / STATE_FOLDER / queue.name
    known = _remembered(folder)
    _expect(engine, known)
    return LocalQueue(queue, folder, mounts, engine or known or EngineKind.PROCESS)


def _expect(wanted: EngineKind | None, known: EngineKind | None) -> None:
    if wanted and known and wanted is not known:
        raise SettingsError(
            f"the Jobs of this queue are with the engine {known}, and so is what is known of its items: leave "
            f"--engine out, or begin anew with --engine {wanted} --state-folder FOLDER"
        )


def _remembered(folder: Path) -> EngineKind | None:
    """The engine that a queue was run with; None: it was never run."""
    path = folder / _ENGINE
    try:
        return EngineKind(path.read_text(encoding="utf-8").strip())
    except FileNotFoundError:
        # Before there was a choice, Jobs were folders here.
        return EngineKind.PROCESS if (folder / "jobs").exists() else None
    except (OSError, ValueError) as exc:
        raise SettingsError(f"{path} says no engine, process or docker: {exc}") from exc


class _Output:
    """What an ambassador writes: kept in a file, or for nobody but us; and the end of what the latest one wrote."""

    def __init__(self, path: Path | None) -> None:
        self._file: Final = _opened(path) if path else _temporary()
        self._began_at = 0

    def begin(self) -> IO[bytes]:
        """The file, for one more ambassador, whose words count from here."""
        self._began_at = self._size()
        return self._file

    def words(self) -> str:
        """The end of what the latest has written; nothing once it is closed. From any thread."""
        if self._file.closed:
            return ""
        # Not by seeking: the ambassador writes to the same open file.
        end = self._size()
        begin = max(self._began_at, end - _WORDS_BYTES)
        return os.pread(self._file.fileno(), end - begin, begin).decode(errors="replace").strip()

    def close(self) -> None:
        """Let go of it."""
        self._file.close()

    def _size(self) -> int:
        return os.fstat(self._file.fileno()).st_size


def _opened(path: Path) -> IO[bytes]:
    with _told_as_unwritable(path):
        return path.open("a+b")


def _temporary() -> IO[bytes]:
    try:
        file = tempfile.TemporaryFile()  # noqa: SIM115 - `close` does it
    except OSError as exc:
        raise SettingsError(f"no temporary file can be made, for what the ambassador says: {exc}") from exc
    # As with one that is kept: whoever writes, writes at the end.
    fcntl.fcntl(file, fcntl.F_SETFL, fcntl.fcntl(file, fcntl.F_GETFL) | os.O_APPEND)
    return file


class Ambassador:
    """The queue's ambassador as a child process, started again when it ends by itself."""

    def __init__(self, local: LocalQueue, environ: Mapping[str, str], log: Logger, *, keeps_log: bool = True) -> None:
        self._local: Final = local
        self._keeps_log: Final = keeps_log
        """Whether its log is to be found in the state folder afterwards; else nothing is left of it."""
        self._output: _Output | None = None
        self._environ: Final = dict(environ)
        self._log: Final = log
        self._stop: Final = threading.Event()
        self._process: subprocess.Popen[bytes] | None = None
        self._listener: socket.socket | None = None
        self._keeper: threading.Thread | None = None
        self.misuse = ""
        """Why it refused to start: settings that no restart makes right."""
        self._trouble = ""
        self._spawned_at = 0.0

    @property
    def log_path(self) -> Path:
        """Where it writes its log."""
        return self._local.state_folder / AMBASSADOR_LOG

    def start(self) -> str:
        """
        Its URL. It may not answer yet, but requests wait for it.

        Raises:
            SettingsError: the queue's source has no ambassador on this machine, or there is no room for its log.
        """
        source = self._local.queue.spec.source
        if source.custom and source.custom.url:
            return source.custom.url
        self._output = _Output(self.log_path if self._keeps_log else None)
        self._listener = socket.create_server(("127.0.0.1", 0))
        port = self._listener.getsockname()[1]
        if source.custom:
            # It knows nothing of sockets that are handed on, and will listen there itself.
            self._listener.close()
            self._listener = None
            command = self._own_command(source.custom)
            # Its end is the leash's to see to: a program that heeds this variable would see that it has no input.
            own = {"LISTEN_PORT": str(port), "EXIT_WITH_PARENT": "false"}
        else:
            command = [self._program(f"longshore-ambassador-{source.kind}")]
            own = {"LISTEN_FD": str(self._listener.fileno()), "QUEUE_FILE": str(self._local.queue.file or "")}
        self._spawn(command, own)
        self._keeper = threading.Thread(target=self._keep, args=(command, own), name="ambassador-keeper", daemon=True)
        self._keeper.start()
        if source.custom:
            self._wait_for(port)
        return f"http://127.0.0.1:{port}"

    def stop(self) -> None:
        """Stop it, and wait until it has ended."""
        self._stop.set()
        if self._process:
            self._process.terminate()
        if self._keeper:
            self._keeper.join()
        if self._listener:
            self._listener.close()
        if self._output:
            self._output.close()

    def _program(self, name: str) -> str:
        beside = str(Path(sys.executable).parent)
        program = shutil.which(name, path=beside) or shutil.which(name)
        if program is None:
            raise SettingsError(f"source.kind: {name} is not installed here: install it beside longshore")
        return program

    def _wait_for(self, port: int) -> None:
        """Until it listens there, or ends, or so long: a socket of ours would have kept who asks waiting."""
        until = time.monotonic() + _LISTEN_SECONDS
        while time.monotonic() < until and self._process is not None and self._process.poll() is None:
            with socket.socket() as asking:
                if asking.connect_ex(("127.0.0.1", port)) == 0:
                    return
            self._stop.wait(_LISTEN_PAUSE)

    def _own_command(self, custom: CustomSource) -> list[str]:
        if not custom.command:
            raise SettingsError(
                f"source.custom: there are no images here: set custom.command to the program that {custom.image!r} runs"
            )
        return [sys.executable, "-m", "longshore.leash", *custom.command, *custom.args]

    def _spawn(self, command: Sequence[str], own: Mapping[str, str]) -> None:
        variables = source_variables(self._local.queue.spec.source, self._local.mounts)
        common = {"HEALTH_PORT": "0", "EXIT_WITH_PARENT": "true", "LOG_FORMAT": "json"}
        file = self._output.begin() if self._output else None
        self._spawned_at = time.monotonic()
        self._process = subprocess.Popen(
            command,
            env={**self._environ, **variables, **common, **own},
            cwd=self._local.queue.folder,
            stdin=subprocess.PIPE,  # its end, however we end, ends the ambassador
            stdout=file,
            stderr=file,
            pass_fds=(self._listener.fileno(),) if self._listener else (),
            start_new_session=True,  # Ctrl-C is for us; the ambassador serves until we are done
        )

    def _keep(self, command: Sequence[str], own: Mapping[str, str]) -> None:
        while self._process is not None:
            code = self._end_of(self._process)
            if self._stop.is_set():
                return
            if code in _NO_RESTART:
                self.misuse = self._output.words() if self._output else ""
                if self._listener:
                    self._listener.close()  # who has asked gets no answer, at once
                return
            self._trouble = self._ending(code)
            self._log.warning("ambassador ended; starting it again", exit_code=code, log=str(self.log_path))
            if self._stop.wait(_RESTART_SECONDS):
                return
            self._spawn(command, own)

    def _end_of(self, process: subprocess.Popen[bytes]) -> int:
        """Wait for it to end; once we are stopping, only for its grace."""
        while True:
            try:
                code = process.wait(timeout=_GRACE_SECONDS)
            except subprocess.TimeoutExpired:
                if self._stop.is_set():
                    process.kill()
            else:
                if process.stdin:
                    process.stdin.close()
                return code

    def trouble(self) -> str:
        """Why it may not answer just now; empty: nothing is known to be wrong with it."""
        process = self._process
        if process is not None and process.poll() is not None and not self._stop.is_set():
            return self._ending(process.returncode)
        return self._trouble if time.monotonic() - self._spawned_at < _STARTED_SECONDS else ""

    def _ending(self, code: int) -> str:
        last = last_line(self._output.words()) if self._output else ""
        log = f"; its log: {self.log_path}" if self._keeps_log else ""
        return f"its ambassador ended with exit code {code}{f': {last}' if last else ''}{log}"


@contextlib.contextmanager
def asked(local: LocalQueue, environ: Mapping[str, str], log: Logger) -> Iterator[HttpSource]:
    """
    The queue's source, through an ambassador of our own for the moment of a look, which leaves nothing behind.

    Raises:
        SettingsError: the queue's source has no ambassador here, or it refuses its settings.
    """
    ambassador = Ambassador(local, environ, log, keeps_log=False)
    with contextlib.ExitStack() as stack:
        stack.callback(ambassador.stop)
        yield stack.enter_context(contextlib.closing(HttpSource(ambassador.start(), trouble=ambassador.trouble)))
        if ambassador.misuse:
            raise SettingsError(f"the ambassador refuses its settings:\n{ambassador.misuse}")
