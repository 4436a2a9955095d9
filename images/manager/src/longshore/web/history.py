"""How many items finished in each of the last minutes, and how long they had waited: what the page's plots show.

Counted from Jobs' own times, and from records that have one: a manager that was just started begins with what is kept
of the hours before. From then on each tick adds what it changed, so that a tick costs no more for 100,000 finished
items. Owns no clock and no file.
"""

import math
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from longshore.manager import Survey
from longshore.state import Job, Jobs, State

MINUTES: Final = 360
"""Six hours: a night's batch is seen whole, and it is 20 kB at most."""
STEP_SECONDS: Final = 60
_FINISHED: Final = frozenset({State.DONE, State.FAILED})


@dataclass
class _Minute:
    done: int = 0
    failed: int = 0
    waits: int = 0
    """Of how many the wait is known."""
    wait_seconds: float = 0.0

    def add(self, state: State, wait: float | None) -> None:
        if state is State.DONE:
            self.done += 1
        else:
            self.failed += 1
        if wait is not None:
            self.waits += 1
            self.wait_seconds += wait


@dataclass(frozen=True)
class Series:
    """One number for each minute, the oldest first; the last minute is not over yet."""

    since: float
    """When the first minute began, in seconds since the epoch."""
    done: tuple[int, ...]
    """Items that were done in it."""
    failed: tuple[int, ...]
    """Items that failed for good in it."""
    waits: tuple[int, ...]
    """Of how many of them the wait is known: not of those that only the ledger knows."""
    wait_seconds: tuple[float, ...]
    """What those waited, summed: all the time that no worker was at them."""
    step_seconds: int = STEP_SECONDS


class History:
    """The last hours of one queue. `note` is for the loop's thread, `series` for any."""

    def __init__(self) -> None:
        self._lock: Final = threading.Lock()
        self._minutes: dict[int, _Minute] = {}
        self._jobs: Jobs | None = None

    def note(self, survey: Survey) -> None:
        """Take in what a tick saw."""
        with self._lock:
            if self._jobs is None:
                self._begin(survey)
            else:
                before = self._jobs
                self._add(job for job in survey.changes if not _is_same(before.get(job.item), job))
            self._jobs = survey.jobs
            oldest = _minute(survey.at) - MINUTES
            for minute in [one for one in self._minutes if one < oldest]:
                del self._minutes[minute]

    def series(self, now: float) -> Series:
        """What is known of the last hours, up to and with the minute of `now`."""
        last = _minute(now)
        empty = _Minute()
        with self._lock:
            shown = [self._minutes.get(minute, empty) for minute in range(last - MINUTES + 1, last + 1)]
            return Series(
                since=float((last - MINUTES + 1) * STEP_SECONDS),
                done=tuple(one.done for one in shown),
                failed=tuple(one.failed for one in shown),
                waits=tuple(one.waits for one in shown),
                wait_seconds=tuple(round(one.wait_seconds, 1) for one in shown),
            )

    def _begin(self, survey: Survey) -> None:
        since = survey.at - MINUTES * STEP_SECONDS
        self._add(job for job in survey.jobs.values() if job.since >= since)
        for record in survey.records.named.values():
            if record.at is not None and record.at >= since and record.item not in survey.jobs:
                self._of(record.at).add(record.state, None)

    def _add(self, jobs: Iterable[Job]) -> None:
        for job in jobs:
            if job.state in _FINISHED:
                self._of(job.since).add(job.state, job.waited_seconds)

    def _of(self, at: float) -> _Minute:
        return self._minutes.setdefault(_minute(at), _Minute())


def _minute(at: float) -> int:
    return math.floor(at / STEP_SECONDS)


def _is_same(known: Job | None, job: Job) -> bool:
    """Whether this very Job had finished so already."""
    return known is not None and (known.uid, known.state) == (job.uid, job.state)
