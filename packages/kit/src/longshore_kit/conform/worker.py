"""The worker contract as rules that any command is tried by, started as the process engine starts it: locally.

Owns the processes: each in a session of its own, whose last member is gone before the next one starts. The worker is
started a dozen times for one item, which the contract allows: execution is at least once. docs/worker-contract.md.
"""

import contextlib
import json
import os
import signal
import subprocess
import tempfile
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Final

from longshore_kit import contract
from longshore_kit.conform.rules import CheckResult, NothingToCheck, NotOffered, NotTried, Violation, check, see

_STOP_MOMENTS: Final = (0.1, 0.25, 0.45)
"""When SIGTERM comes, in parts of an untouched run: while it starts, and in its midst."""
_FINISHED_PART: Final = 0.8
"""An end with 0 this early, in parts of the fastest untouched run, was no end of the work; the rest is for noise."""
_CATCHABLE_SECONDS: Final = 0.2
"""Below it, the moments above lie within what starting a process varies by."""
_SETTLE_SECONDS: Final = 1.0
"""What the kernel may take to end children that end with their parent."""
_LAST_WORDS: Final = 300
_NAME_A_PROGRAM: Final = "name a program that can be started here"
_OUR_VARIABLES: Final = (
    contract.ITEM_FILE_VARIABLE,
    contract.ITEM_NAME_VARIABLE,
    contract.QUEUE_VARIABLE,
    contract.RESULT_FILE_VARIABLE,
)


@dataclass(frozen=True)
class _Ended:
    """How one start ended."""

    start: str
    """What was started, and how, for a message."""
    code: int
    """The exit code; negative: the signal that ended it."""
    seconds: float
    result: bytes | None
    words: str
    """The end of what it wrote to stdout and stderr."""
    left: tuple[str, ...]
    """Processes of its session that outlived it."""
    in_time: bool = True

    def violation(self, expected: str, to_do: str, got: str = "") -> Violation:
        """That this is not how a worker ends."""
        said = f", saying {self.words!r}" if self.words else ""
        return Violation(self.start, expected=expected, got=f"{got or _code(self.code)}{said}", to_do=to_do)


class WorkerContract:
    """
    The rules for a worker that is started by `command`. As a base class for pytest set the attributes, or properties.
    """

    command: Sequence[str] = ()
    item: str = "conform"
    """The item's name."""
    data: Mapping[str, Any] = {}
    """The item's data: of an item that this worker can do."""
    environ: Mapping[str, str] = {"PATH": os.defpath}
    """The whole environment, but for the contract's own variables."""
    reads_item_file: bool = True
    """False for a command that is given the item's values as arguments: nothing is asked of it about the file."""
    grace_seconds: float = 30.0
    """From SIGTERM to SIGKILL, as Kubernetes has it by default."""
    timeout_seconds: float = 300.0
    """For one run that nobody stops."""
    was_done: ClassVar[bool] = False
    """Whether any rule has seen the item done; of the class, since pytest makes an instance per rule."""

    def test_good_item_ends_with_0(self) -> None:
        """A good item is done, which exit code 0 says."""
        self._expect_done(self._run())

    def test_done_item_is_done_again(self) -> None:
        """An item that was done can be done once more: a worker may be started twice for one item."""
        # Before this rule too it may have been done, and then it must not fail now either.
        if not self.was_done:
            self._good_run()
        self._expect_done(self._run("again, after it was done"))

    def test_item_that_is_no_json_is_not_done(self) -> None:
        """An item file that holds no JSON never ends with exit code 0."""
        self._expect_file_reader()
        ended = self._run("with an item file that is no JSON", item_file=b'{"path": ')
        if ended.code == 0:
            raise ended.violation("an exit code other than 0", "end with 65: the item is bad, and no retry helps")

    def test_missing_item_file_is_not_done(self) -> None:
        """Without WORK_ITEM_FILE in the environment nothing ends with exit code 0."""
        self._expect_file_reader()
        ended = self._run(f"without {contract.ITEM_FILE_VARIABLE}", item_file=None)
        if ended.code == 0:
            raise ended.violation("an exit code other than 0", "end with 64: it was started wrongly")

    def test_stopped_worker_does_not_say_done(self) -> None:
        """After SIGTERM a worker ends within its grace, and with exit code 0 only if its item is finished."""
        # Twice: the first run may have more to do than those that are stopped.
        fastest = min(self._good_run().seconds, self._good_run().seconds)
        if fastest < _CATCHABLE_SECONDS:
            raise NotTried(f"it ends before it can be stopped: after {fastest:.2f} s")
        for moment in _STOP_MOMENTS:
            self._expect_honest_stop(fastest, moment * fastest)

    def test_result_is_short_text(self) -> None:
        """What is written to LONGSHORE_RESULT_FILE is UTF-8 of at most 4096 bytes."""
        ended = self._good_run()
        if not ended.result:
            raise NotOffered("it writes no result")
        if len(ended.result) > contract.RESULT_MAX_BYTES:
            got, to_do = f"{len(ended.result)} bytes", "write less: the rest is cut off, and not where you would"
            raise ended.violation(f"a result of at most {contract.RESULT_MAX_BYTES} bytes", to_do, got)
        try:
            ended.result.decode()
        except UnicodeDecodeError as exc:
            raise ended.violation("a result in UTF-8", "encode it", str(exc)) from exc

    def test_nothing_is_left_running(self) -> None:
        """When a worker has ended, no process that it started is left."""
        ended = self._run()
        if not ended.in_time:
            raise NotTried(f"it needs an item that can be done; {see(self.test_good_item_ends_with_0)}")
        if ended.left:
            raise ended.violation(
                "no process of its own after its end",
                "wait for each child: in a container it is killed in the midst of its work",
                ", ".join(ended.left),
            )

    def _expect_done(self, ended: _Ended) -> None:
        if not ended.in_time:
            raise ended.violation(
                f"an end within {self.timeout_seconds:g} s", "give it a smaller item", "none, so it was killed"
            )
        if ended.code != 0:
            raise ended.violation("exit code 0", "see what it says; is the item good, and the environment whole?")

    def _good_run(self) -> _Ended:
        ended = self._run()
        if ended.code != 0:
            raise NotTried(f"it needs an item that can be done; {see(self.test_good_item_ends_with_0)}")
        return ended

    def _expect_file_reader(self) -> None:
        if not self.reads_item_file:
            raise NotOffered("it takes its item from its arguments, and reads no item file")

    def _expect_honest_stop(self, fastest: float, after: float) -> None:
        ended = self._run(f"stopped by SIGTERM after {after:.2f} s", stop_after=after)
        if not ended.in_time:
            raise ended.violation(
                f"an end within its grace of {self.grace_seconds:g} s", "handle SIGTERM", "none, so it was killed"
            )
        if ended.code != 0 or ended.seconds >= _FINISHED_PART * fastest:
            return
        # A machine that was busy before makes an honest end look early: measured anew before it is blamed.
        fastest = min(fastest, self._good_run().seconds)
        if ended.seconds < _FINISHED_PART * fastest:
            raise ended.violation(
                "an exit code other than 0",
                "end with 143, or by the signal itself: 0 makes the item done, and its work is lost",
                f"exit code 0 after {ended.seconds:.2f} s, where the work takes {fastest:.2f} s",
            )

    def _run(self, how: str = "", *, item_file: bytes | None = b"default", stop_after: float | None = None) -> _Ended:
        """One start, to its end and that of all it started."""
        with tempfile.TemporaryDirectory(prefix="longshore-conform-") as folder:
            place = Path(folder)
            content = json.dumps(dict(self.data)).encode() if item_file == b"default" else item_file
            start = " ".join([*self.command, *([how] if how else [])])
            with (place / "output").open("wb") as output:
                started = time.monotonic()
                process = self._start(self._environ(place, content), output.fileno())
                try:
                    in_time = self._wait(process, stop_after)
                    seconds = time.monotonic() - started
                    left = _left_of(process.pid)
                finally:
                    _kill_session(process)
            result = place / "result"
            type(self).was_done |= process.returncode == 0
            return _Ended(
                start=start,
                code=process.returncode,
                seconds=seconds,
                result=result.read_bytes() if result.is_file() else None,
                words=(place / "output").read_bytes()[-_LAST_WORDS:].decode(errors="replace").strip(),
                left=left,
                in_time=in_time,
            )

    def _start(self, environ: Mapping[str, str], output: int) -> subprocess.Popen[bytes]:
        if not self.command:
            raise NothingToCheck("the command", ValueError("it is empty"), to_do=_NAME_A_PROGRAM)
        try:
            return subprocess.Popen(
                list(self.command),
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        # Only a start tells: the program may be there without being one, or its interpreter may be missing.
        except (OSError, ValueError) as exc:
            raise NothingToCheck(self.command[0], exc, to_do=_NAME_A_PROGRAM) from exc

    def _environ(self, place: Path, item_file: bytes | None) -> dict[str, str]:
        environ = {name: value for name, value in self.environ.items() if name not in _OUR_VARIABLES}
        environ[contract.ITEM_NAME_VARIABLE] = self.item
        environ[contract.QUEUE_VARIABLE] = "conform"
        environ[contract.RESULT_FILE_VARIABLE] = str(place / "result")
        if item_file is not None:
            path = place / "item.json"
            path.write_bytes(item_file)
            path.chmod(0o444)
            environ[contract.ITEM_FILE_VARIABLE] = str(path)
        return environ

    def _wait(self, process: subprocess.Popen[bytes], stop_after: float | None) -> bool:
        """Whether it ended in time, by itself or after SIGTERM, which goes to it alone, as the kubelet's does."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.timeout_seconds if stop_after is None else stop_after)
            return True
        if stop_after is None:
            return False
        process.send_signal(signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(self.grace_seconds)
            return True
        return False


def check_worker(
    command: Sequence[str],
    *,
    data: Mapping[str, Any] | None = None,
    environ: Mapping[str, str],
    item: str = "conform",
    reads_item_file: bool = True,
) -> list[CheckResult]:
    """
    What comes of every rule for the worker that `command` starts, given an item with `data`.

    `environ` is all of its environment but for the contract's variables. A command that takes the item's values as
    arguments, filled in by the caller, is checked with `reads_item_file=False`.

    Raises:
        NothingToCheck: `command` can't be started.
    """

    class Tried(WorkerContract):
        """Of this check alone, as a class remembers what was done."""

    tried = Tried()
    tried.command, tried.data, tried.environ, tried.item = command, data or {}, environ, item
    tried.reads_item_file = reads_item_file
    return check(tried)


def _left_of(session: int) -> tuple[str, ...]:
    """Processes of the session that are still there after a moment to end in."""
    until = time.monotonic() + _SETTLE_SECONDS
    while (left := _members(session)) and time.monotonic() < until:
        time.sleep(0.02)  # the kernel tells nobody of the end of processes that are not one's children
    return tuple(left.values())


def _members(session: int) -> dict[int, str]:
    """Living processes of a session, by number; without /proc only whether there are any."""
    proc = Path("/proc")
    if not (proc / "self/stat").exists():
        try:
            os.killpg(session, 0)
        except (ProcessLookupError, PermissionError):
            return {}
        return {session: f"processes of group {session}"}
    found = {}
    for folder in proc.glob("[0-9]*"):
        # A process may end while it is looked at.
        with contextlib.suppress(OSError, IndexError, ValueError):
            before, _, after = (folder / "stat").read_bytes().rpartition(b")")
            state, _parent, _group, its_session = after.split()[:4]
            if int(its_session) == session and int(folder.name) != session and state not in {b"Z", b"X"}:
                found[int(folder.name)] = f"{before.partition(b'(')[2].decode(errors='replace')} ({folder.name})"
    return found


def _kill_session(process: subprocess.Popen[bytes]) -> None:
    """Whatever is left of it: a check leaves nothing behind."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    # A child may have made a group of its own.
    for number in _members(process.pid):
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(number, signal.SIGKILL)


def _code(code: int) -> str:
    if code < 0:
        with contextlib.suppress(ValueError):
            return f"an end by {signal.Signals(-code).name}"
    return f"exit code {code}"
