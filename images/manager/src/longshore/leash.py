"""A program of the user's own on a leash: it ends when we do, with all that it has started, in whatever session.

    python -m longshore.leash PROGRAM ARGUMENT…

Owns the program's end. Our own is that of standard input, which a killed parent leaves too; a program in any language
needs to know nothing of it. Promised where Linux lets us: elsewhere what has left the program's group is not found. Who
kills us with SIGKILL kills the program too, and not what it has started.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from functools import partial
from typing import Final

from longshore.descendants import become_reaper, die_with, end_descendants
from longshore_kit.signals import stop_on_signals

_GRACE_SECONDS: Final = 2.0
_ENDING: Final = (signal.SIGTERM, signal.SIGINT)
_NOT_FOUND: Final = 127
"""As a shell says that there is no such program."""


def main(command: list[str]) -> int:
    """Run it to its end, or to ours: its exit code, and 128 and the signal's number where one ended it."""
    is_reaper = become_reaper()
    # One that comes between the program's start and its handler would end us alone.
    signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
    try:
        # Before any thread is there: what runs between fork and exec must not wait for a lock that one of them held.
        child = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=partial(_begin, os.getpid()),  # noqa: PLW1509 - see above
        )
    except OSError as exc:
        sys.stderr.write(f"{command[0]}: can't be started: {exc.strerror}\n")
        return _NOT_FOUND
    stopping = stop_on_signals()
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    for wait in (_until_parent_ends, stopping.wait):
        threading.Thread(target=_end_after, args=(wait, child), daemon=True).start()
    code = child.wait()
    _signal_group(child, signal.SIGKILL)
    if is_reaper:
        end_descendants()
    return code if code >= 0 else 128 - code


def _begin(parent: int) -> None:
    die_with(parent)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)


def _until_parent_ends() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 4096):
            pass


def _end_after(wait: Callable[[], object], child: subprocess.Popen[bytes]) -> None:
    wait()
    _signal_group(child, signal.SIGTERM)
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(_GRACE_SECONDS)
    _signal_group(child, signal.SIGKILL)


def _signal_group(child: subprocess.Popen[bytes], number: signal.Signals) -> None:
    # The group outlives its leader as long as one of it lives, and its number is nobody else's until then.
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
