"""Waiting for what another thread does, where it gives no event to wait for."""

import time
from collections.abc import Callable


def until(is_so: Callable[[], bool]) -> None:
    """Wait for another thread; ten seconds are far more than it ever takes."""
    end = time.monotonic() + 10
    while not is_so():
        assert time.monotonic() < end, "waited for in vain"
        time.sleep(0.002)  # what is waited for is a list that grows, say
