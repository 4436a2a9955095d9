"""A program of the user's own on a leash: it ends when we do, however we end, with all that it has started.

    python -m longshore.leash PROGRAM ARGUMENT…

Owns the program's process group and its end. Our own end is that of standard input, which a killed parent leaves too; a
program in any language needs to know nothing of it.
"""

import contextlib
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from typing import Final

from longshore_kit.signals import stop_on_signals

_GRACE_SECONDS: Final = 2.0
_NOT_FOUND: Final = 127
"""As a shell says that there is no such program."""


def main(command: list[str]) -> int:
    """Run it to its end, or to ours: its exit code, and 128 and the signal's number where one ended it."""
    stopping = stop_on_signals()
    try:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, start_new_session=True)
    except OSError as exc:
        sys.stderr.write(f"{command[0]}: can't be started: {exc.strerror}\n")
        return _NOT_FOUND
    for wait in (_until_parent_ends, stopping.wait):
        threading.Thread(target=_end_after, args=(wait, child), daemon=True).start()
    code = child.wait()
    _signal_group(child, signal.SIGKILL)
    return code if code >= 0 else 128 - code


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
