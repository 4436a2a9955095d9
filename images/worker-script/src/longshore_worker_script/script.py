"""The step `run`: the user's script on the item's file, as a process of its own that leaves nothing behind.

Owns the process and its group, what it sees, and what its end means. Values of the item reach it as files and
variables; no text of an item is ever part of a command line. Its output passes through as it comes, and its last lines
are kept.
"""

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Final

from longshore_kit.contract import RESULT_FILE_VARIABLE, RESULT_MAX_BYTES, ExitCode
from longshore_kit.errors import ItemFailed, ItemRejected, SettingsError
from longshore_worker_script.workplace import Workplace

STOP_SECONDS: Final = 20.0
"""What the script gets to end in after SIGTERM; a pod has 30 s by default."""
_PIPE_SECONDS: Final = 5.0
TAIL_BYTES: Final = RESULT_MAX_BYTES
_CREDENTIALS: Final = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
_OWN: Final = ("SCRIPT", "SCRIPT_FILE")


def run_script(file: Path, place: Workplace, environ: Mapping[str, str], *, pass_credentials: bool) -> str:
    """
    Run the script to its end: its result, in its own words or its last lines.

    Raises:
        ItemRejected: it ended with 65. SettingsError: with 64. ItemFailed: with anything else but 0.
    """
    place.output.mkdir(parents=True, exist_ok=True)
    hidden = {*_OWN, *(() if pass_credentials else _CREDENTIALS)}
    own = {
        **{name: value for name, value in environ.items() if name not in hidden},
        "INPUT_FILE": str(place.input_file),
        "OUTPUT_DIR": str(place.output),
        RESULT_FILE_VARIABLE: str(place.result_file),
    }
    try:
        process = subprocess.Popen(
            command_of(file),
            cwd=place.folder,
            env=own,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as exc:
        raise SettingsError(f"the script can't be started: {exc.strerror}: {exc.filename}") from exc
    tails: list[_Tail] = []
    try:
        tails = [_Tail(process.stdout, sys.stdout.buffer), _Tail(process.stderr, sys.stderr.buffer)]
        code = process.wait()
    except BaseException:
        _stop(process)
        raise
    finally:
        # What it has started and left running would hold the pipes, and the item, for ever.
        _signal_group(process, signal.SIGKILL)
        until = time.monotonic() + _PIPE_SECONDS
        out, err = [tail.text(until) for tail in tails] or ("", "")
    return _outcome(code, out, err, place)


def command_of(file: Path) -> list[str]:
    """
    What runs a script: what its first line names, else bash. It need not be executable, as files of ConfigMaps aren't.

    Raises:
        SettingsError: it can't be read.
    """
    try:
        with file.open("rb") as script:
            first = script.readline(1024)
    except OSError as exc:
        raise SettingsError(f"SCRIPT_FILE={file}: can't be read: {exc.strerror}") from exc
    words = shlex.split(first[2:].decode(errors="replace")) if first.startswith(b"#!") else []
    return [*(words or ["bash"]), str(file)]


def _outcome(code: int, out: str, err: str, place: Workplace) -> str:
    said = _end_of(place.result_file)
    if code == 0:
        return said.strip() or out
    why = said.strip() or err or out or "it said nothing"
    match code:
        case ExitCode.REJECTED:
            raise ItemRejected(why)
        case ExitCode.USAGE:
            raise SettingsError(why)
        case _ if code < 0:
            raise ItemFailed(f"the script was killed by {_signal_name(-code)}: {why}")
        case _:
            raise ItemFailed(f"the script ended with exit code {code}: {why}")


def _end_of(file: Path) -> str:
    """The end of what the script says of itself, which it may well have written without an end."""
    try:
        with file.open("rb") as result:
            result.seek(max(0, file.stat().st_size - TAIL_BYTES))
            return result.read(TAIL_BYTES).decode(errors="replace")
    except OSError:
        return ""


def _signal_name(number: int) -> str:
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _stop(process: subprocess.Popen[bytes]) -> None:
    _signal_group(process, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(STOP_SECONDS)


def _signal_group(process: subprocess.Popen[bytes], number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, number)


class _Tail:
    """Passes a pipe on as it comes, and keeps its end."""

    def __init__(self, pipe: IO[bytes] | None, to: IO[bytes]) -> None:
        self._pipe: Final = pipe
        self._to: Final = to
        self._kept = b""
        self._thread: Final = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def text(self, until: float) -> str:
        """The last lines, once the pipe has ended; something in a session of its own may hold it for ever."""
        self._thread.join(max(0.0, until - time.monotonic()))
        return _last_lines(self._kept)

    def _read(self) -> None:
        assert self._pipe is not None  # noqa: S101 - it was asked for
        with self._pipe as pipe:
            while piece := os.read(pipe.fileno(), 65536):
                self._to.write(piece)
                self._to.flush()
                self._kept = (self._kept + piece)[-TAIL_BYTES:]


def _last_lines(kept: bytes) -> str:
    text = kept.decode(errors="replace")
    if len(kept) == TAIL_BYTES:
        # The first line of what is left may be half a line.
        text = text.partition("\n")[2] or text
    return text.strip()
