"""SIGTERM and SIGINT as one event, also for a process that is PID 1.

The kernel ignores a signal without a handler for PID 1, which is what a container's entry point is; so everything
that runs as one installs these handlers first.
"""

import os
import signal
import threading
from collections.abc import Callable
from types import FrameType


def stop_on_signals(on_stop: Callable[[], None] | None = None) -> threading.Event:
    """
    An event that SIGTERM and SIGINT set; call it in the main thread, first of all.

    `on_stop` is called once after it, in a thread of its own, so it may use locks. A second SIGINT ends the process at
    once, with exit code 130, for a person who won't wait.
    """
    stopping = threading.Event()
    asked = False
    listen, tell = os.pipe()

    # A handler runs between two steps of the main thread, which may hold the very lock that an event needs: all that
    # it may do is write to a pipe.
    def handle(number: int, _frame: FrameType | None) -> None:
        nonlocal asked
        if asked and number == signal.SIGINT:
            os._exit(128 + signal.SIGINT)
        if not asked:
            asked = True
            os.write(tell, b"s")

    def wait_for_it() -> None:
        os.read(listen, 1)
        stopping.set()
        if on_stop is not None:
            on_stop()

    threading.Thread(target=wait_for_it, name="stop-on-signals", daemon=True).start()
    signal.signal(signal.SIGTERM, handle)
    signal.signal(signal.SIGINT, handle)
    return stopping
