"""What a process has started, however deep and detached: becoming its reaper, and ending it.

Owns the three system calls behind it, with nothing but the standard library: a supervisor starts in milliseconds.
Linux only; elsewhere nobody becomes a reaper, and who asks is told so.
https://man7.org/linux/man-pages/man2/PR_SET_CHILD_SUBREAPER.2const.html
"""

import contextlib
import ctypes
import os
import signal
import sys
import time
from pathlib import Path
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_PR_SET_CHILD_SUBREAPER: Final = 36
_PAUSE: Final = 0.05


def become_reaper() -> bool:
    """Whether what our descendants leave behind becomes our child, which Linux can do."""
    return _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with(parent: int) -> None:
    """
    To be called in a child that has not begun yet: it is killed when its parent, `parent`, ends in whatever way.

    It alone, not its children; and the kernel forgets it when the child executes a set-user-ID program. The parent is
    the thread that has started it. https://man7.org/linux/man-pages/man2/PR_SET_PDEATHSIG.2const.html
    """
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    # The parent may have ended before the kernel was told.
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


def end_descendants() -> None:
    """Kill all that is left below us, until there is none; a reaper's only: others don't see what has left them."""
    while True:
        try:
            ended, _ = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if ended == 0:
            for child in _children():
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(child, signal.SIGKILL)
            time.sleep(_PAUSE)  # until the kernel has ended it; there is no event for a grandchild's end


def _prctl(option: int, value: int) -> bool:
    if sys.platform != "linux":
        return False
    with contextlib.suppress(OSError, AttributeError):
        return bool(ctypes.CDLL(None).prctl(option, value, 0, 0, 0) == 0)
    return False


def _children() -> list[int]:
    """Our living children."""
    own = os.getpid()
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, IndexError, ValueError):
            state, parent = path.read_text(errors="replace").rpartition(")")[2].split()[:2]
            if int(parent) == own and state != "Z":
                found.append(int(path.parent.name))
    return found
