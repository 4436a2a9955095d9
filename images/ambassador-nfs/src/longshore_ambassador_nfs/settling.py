"""When a file is finished: nothing says so on a file system, so it is when nobody has written to it for a while."""

import os
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Sighting:
    """How a file looked that may still be written."""

    size_bytes: int
    modified_ns: int
    since: float
    """Since when it has looked like that, in seconds of the monotonic clock."""


class Settling:
    """
    The rule: a file is finished when its modification time is `seconds` old.

    That time is the file server's, and a clock that runs ahead there must not hide a file for ever: a file is
    finished too when it has not changed for `seconds` of our own monotonic clock. (A server's clock that is behind
    shortens `seconds` by as much; there is no telling from here.)
    """

    def __init__(self, seconds: float, *, clock: Callable[[], float], monotonic: Callable[[], float]) -> None:
        self.seconds = seconds
        self._clock = clock
        self._monotonic = monotonic

    def look(self, status: os.stat_result, before: Sighting | None) -> Sighting | None:
        """What to remember of a file until the next look; None when it is finished."""
        if self._clock() - status.st_mtime >= self.seconds:
            return None
        now = self._monotonic()
        if before is None or (before.size_bytes, before.modified_ns) != (status.st_size, status.st_mtime_ns):
            return Sighting(status.st_size, status.st_mtime_ns, since=now)
        return None if now - before.since >= self.seconds else before
