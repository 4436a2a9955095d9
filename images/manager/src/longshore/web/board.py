"""What the page is made from at this moment: the last survey, the hours before it, and what only a manager knows.

Written by the loop's thread, read by any number of the web server's. A look costs the same whether one person has the
page open or ten: what is made of a survey is kept until there is a newer one, and for a second in any case.
"""

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from longshore.explain import safe
from longshore.manager import Survey
from longshore.patience import Postponed
from longshore.plan import Limits
from longshore.state import Job, State
from longshore.web.history import History
from longshore.web.status import Detail, Rows, Snapshot, Status, Told, log_lines
from longshore_kit.errors import EngineError

KEPT_SECONDS: Final = 1.0
"""A survey's lists are used for so long, however many ticks there are meanwhile."""
LOGS_AT_ONCE: Final = 4
"""Logs that are read at a time, each of another Job: a slow API server must not take every thread of the page's."""


def _nothing() -> Mapping[str, str]:
    return {}


def _no_troubles() -> Mapping[str, Postponed]:
    return {}


@dataclass(frozen=True)
class Inside:
    """What is asked of the manager and its engine, each when it is needed, from any thread."""

    log: Callable[[Job], str] = lambda _: ""
    """The end of what a Job's worker wrote; may raise EngineError."""
    workers: Callable[[], Mapping[str, str]] = _nothing
    """Names of pods by their Jobs' uid; may raise EngineError."""
    troubles: Callable[[], Mapping[str, Postponed]] = _no_troubles
    """Items that could not be started."""
    fullness: Callable[[], Postponed | None] = lambda: None
    """Why no item is started."""
    retry_command: Callable[[str], str] = lambda _: "longshore retry"
    """What to type to have an item tried again."""
    now: Callable[[], float] = field(default=time.time)


class Board:
    """One manager's board."""

    def __init__(self, queue: str, limits: Limits, *, version: str, inside: Inside | None = None) -> None:
        self._queue: Final = queue
        self._limits: Final = limits
        self._version: Final = version
        self._inside: Final = inside or Inside()
        self._history: Final = History()
        self._lock: Final = threading.Lock()
        self._reading: Final[set[str]] = set()
        """Jobs, by their uid, whose logs are being read."""
        self._reading_lock: Final = threading.Lock()
        self._survey = Survey(items=None)
        self._trouble = ""
        self._snapshot: Snapshot | None = None
        self._made_at = 0.0

    def note(self, survey: Survey) -> None:
        """The loop has looked; costs as much as that changed."""
        self._history.note(survey)
        self._survey, self._trouble = survey, ""

    def note_failure(self, failure: Exception) -> None:
        """The loop could not look."""
        self._trouble = safe(str(failure) or type(failure).__name__)

    def status(self, actions: tuple[str, ...] = ()) -> Status:
        """Everything but the lists."""
        now, snapshot = self._inside.now(), self._look()
        return Status(
            queue=self._queue,
            version=self._version,
            now=now,
            looked_at=snapshot.survey.at or None,
            trouble=self._trouble,
            mode=str(snapshot.survey.mode),
            counts=snapshot.counts,
            source=snapshot.source(),
            scaling=snapshot.scaling(),
            breaker=snapshot.breaker(),
            hold=snapshot.hold(now, self._told()),
            series=self._history.series(now),
            running=snapshot.first(State.RUNNING),
            failed=snapshot.first(State.FAILED),
            actions=actions,
        )

    def rows(self, only: State | None, search: str, page: int) -> Rows:
        """A page of items."""
        return self._look().rows(only, search, page)

    def detail(self, item: str) -> Detail | None:
        """One item, with the last lines of its log; None: there is none of this name."""
        snapshot = self._look()
        if (one := snapshot.find(item)) is None:
            return None
        text, error = self._log(one) if isinstance(one, Job) else ("", "")
        sentence = snapshot.sentence(one, self._inside.now(), self._inside.retry_command(item), self._told())
        return Detail(snapshot.row(one), sentence, log_lines(text), error)

    def gone(self, items: Iterable[str]) -> frozenset[str]:
        """Those that their source lists no more: nothing would try them again."""
        listed = self._look().survey.items
        return frozenset(items).difference(listed.names) if listed else frozenset()

    def _log(self, job: Job) -> tuple[str, str]:
        """The end of a Job's log, and why it can't be read now."""
        with self._reading_lock:
            if job.uid in self._reading:
                return "", "busy: this log is being read already; tried again"
            if len(self._reading) >= LOGS_AT_ONCE:
                return "", f"busy: {LOGS_AT_ONCE} other logs are being read; tried again"
            self._reading.add(job.uid)
        try:
            return self._inside.log(job), ""
        except (EngineError, OSError) as exc:
            return "", safe(str(exc))
        finally:
            with self._reading_lock:
                self._reading.remove(job.uid)

    def _told(self) -> Told:
        return Told(self._inside.troubles(), self._inside.fullness())

    def _look(self) -> Snapshot:
        # Held while it is made: who asks meanwhile would only make the same.
        with self._lock:
            snapshot, now = self._snapshot, time.monotonic()
            is_old = snapshot is None or (snapshot.survey is not self._survey and now - self._made_at >= KEPT_SECONDS)
            if snapshot is None or is_old:
                snapshot = self._snapshot = Snapshot(self._survey, self._limits, self._workers())
                self._made_at = now
            return snapshot

    def _workers(self) -> Mapping[str, str]:
        try:
            return self._inside.workers()
        except EngineError:
            return {}  # a courtesy: the Jobs are shown all the same
