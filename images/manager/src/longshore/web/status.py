"""A survey → what the page shows: counts, rows, the decision, the source. Pure; every value can be JSON.

Owns which items are shown in which order, a page at a time, and why one waits. Names are given twice: as they are, to
ask for, and as `label`, in which nothing is left that a page, a terminal or a log would obey or hide.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

from longshore.explain import (
    Line,
    explain_job,
    explain_record,
    explain_waiting,
    last_line,
    reason_of,
    safe,
    seen_lines,
)
from longshore.holding import held_back
from longshore.manager import LISTING_MAX_SECONDS, Survey
from longshore.patience import Postponed
from longshore.plan import Limits
from longshore.state import Job, Record, State
from longshore.web.history import Series

PAGE_ROWS: Final = 50
"""Items on one page of a list."""
FIRST_ROWS: Final = 10
"""Running and failed ones that are shown without being asked for."""
LOG_LINES: Final = 20
"""The last ones of what a worker wrote."""
_LINE_MOST: Final = 2_000
_LIVE: Final = (State.RUNNING, State.STARTING)
_ORDER: Final = (State.RUNNING, State.STARTING, State.FAILED, State.WAITING, State.DONE)
"""What a person looks for first."""


@dataclass(frozen=True)
class Row:
    """One item in a list."""

    name: str
    label: str
    """Its name, safe to show."""
    state: State
    since: float | None = None
    """When it came into its state; None: not known."""
    attempt: int = 0
    attempts: int = 0
    stage: str = ""
    job: str = ""
    worker: str = ""
    """The pod, or what else runs it, where that is known."""
    reason: str = ""
    """The last line of why it is where it is, safe to show."""
    work_seconds: float | None = None
    """What its workers took, all attempts."""


@dataclass(frozen=True)
class Rows:
    """One page of a list of items."""

    items: Sequence[Row]
    page: int
    pages: int
    total: int


@dataclass(frozen=True)
class SourceState:
    """The source, as last asked."""

    is_up: bool
    error: str = ""
    listed: int | None = None
    """Items in the latest good listing; None before the first."""
    listed_at: float | None = None
    settling: int = 0
    """Items that it holds back until they are whole."""


@dataclass(frozen=True)
class Scaling:
    """The law's decision, and what it was made on."""

    sentence: str
    parallelism: int
    minimum: int
    maximum: int
    waiting: int
    live: int
    law: str = "fixed"
    arrivals_per_minute: float | None = None
    """All that is new: what the book's law goes by."""
    steady_per_minute: float | None = None
    """The same, batches aside: what the staffing law goes by."""
    work_seconds: float | None = None
    place_seconds: float | None = None
    offered: float | None = None
    drain_seconds: float | None = None


@dataclass(frozen=True)
class BreakerState:
    """Whether starting goes on."""

    is_open: bool
    sentence: str
    since: float | None = None
    next_probe: float | None = None


@dataclass(frozen=True)
class Status:
    """All that one refresh of the page needs but the lists."""

    queue: str
    version: str
    now: float
    looked_at: float | None
    """When the manager last saw its Jobs; None: not yet."""
    trouble: str
    """Why it does not see them now; empty when it does."""
    mode: str
    counts: Mapping[str, int]
    source: SourceState
    scaling: Scaling
    breaker: BreakerState | None
    hold: str
    """Why nothing is started at all just now; empty while things are."""
    series: Series
    running: Sequence[Row]
    """The first that are at work, the longest first."""
    failed: Sequence[Row]
    """The latest that failed."""
    actions: Sequence[str] = ()
    """What may be asked for with the token: retry, pause, resume."""


@dataclass(frozen=True)
class Detail:
    """One item."""

    row: Row
    sentence: str
    """What state, since when, why, and what to do."""
    log: Sequence[str]
    """The last lines that its worker wrote, safe to show."""
    log_error: str = ""
    """Why they can't be read just now."""


@dataclass(frozen=True)
class Told:
    """What the manager knows beside its survey."""

    postponed: Mapping[str, Postponed] = field(default_factory=dict)
    """Items that could not be started."""
    fullness: Postponed | None = None
    """Why none is started."""


class Snapshot:
    """One survey, looked at: each list is made when it is first asked for, and once."""

    def __init__(self, survey: Survey, limits: Limits, workers: Mapping[str, str] | None = None) -> None:
        self.survey: Final = survey
        self.limits: Final = limits
        self._workers: Final = workers or {}
        self._ordered: Final[dict[State, Sequence[str]]] = {}

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """Items by state; those included of which nobody knows the name any more."""
        counts = {str(state): len(names) for state, names in self._names.items()}
        records, jobs = self.survey.records, self.survey.jobs
        for state in (State.DONE, State.FAILED):
            counts[state] = self._jobs_of[state] + records.count(state, jobs)
        return counts

    @cached_property
    def _jobs_of(self) -> Mapping[State, int]:
        return Counter(job.state for job in self.survey.jobs.values())

    @cached_property
    def _places(self) -> Mapping[str, int]:
        """Of the items that are still to be started, in their turns: how many come before each."""
        return {name: place for place, name in enumerate(self.survey.in_turn())}

    @cached_property
    def _names(self) -> Mapping[State, list[str]]:
        """Every item that has a name, in one pass, as there may be 100,000: in no order."""
        jobs, records = self.survey.jobs, self.survey.records
        found: dict[State, list[str]] = {state: [] for state in State}
        for job in jobs.values():
            found[job.counted].append(job.item)
        for item, record in records.named.items():
            if item not in jobs:
                found[record.state].append(item)
        waiting, done = found[State.WAITING], found[State.DONE]
        for name in dict.fromkeys(self.survey.items.names if self.survey.items else ()):
            if name in jobs or name in records.named:
                continue
            (done if name in records else waiting).append(name)
        return found

    def of_state(self, state: State) -> Sequence[str]:
        """Names of a state's items, in the order in which they are shown: those that wait in that of their turns."""
        if state not in self._ordered:
            if state is State.WAITING:
                # What is held back by somebody else, with a Job, waits too, and was here before.
                held = sorted((one.item for one in self.survey.jobs.values() if one.is_suspended), key=self._since)
                self._ordered[state] = [*held, *self._places]
            else:
                # What runs longest is looked for first; of what has ended, the latest.
                self._ordered[state] = sorted(self._names[state], key=self._since, reverse=state not in _LIVE)
        return self._ordered[state]

    def rows(self, only: State | None = None, search: str = "", page: int = 1) -> Rows:
        """A page of the items whose names contain `search`, whatever their case; a page beyond the last is the last."""
        states = (only,) if only else _ORDER
        wanted = search.casefold()
        found = (
            [name for state in states for name in self.of_state(state) if wanted in name.casefold()] if wanted else ()
        )
        total = len(found) if wanted else sum(len(self._names[state]) for state in states)
        pages = max(1, -(-total // PAGE_ROWS))
        page = min(max(1, page), pages)
        first, last = (page - 1) * PAGE_ROWS, page * PAGE_ROWS
        names = found[first:last] if wanted else self._slice(states, first, last)
        return Rows([self.row(self._known(name)) for name in names], page, pages, total)

    def row(self, one: str | Job | Record) -> Row:
        """What is shown of an item."""
        if isinstance(one, str):
            return Row(one, safe(one), State.WAITING)
        if isinstance(one, Record):
            return Row(one.item, safe(one.item), one.state, since=one.at, reason=last_line(one.reason))
        return Row(
            one.item,
            safe(one.item),
            one.counted,
            since=one.since,
            attempt=one.attempt,
            attempts=one.attempts,
            stage=safe(one.stage),
            job=one.name,
            worker=safe(self._workers.get(one.uid, "")),
            reason=reason_of(one),
            work_seconds=round(one.processing_seconds, 3),
        )

    def find(self, item: str) -> str | Job | Record | None:
        """The item of this name; None: there is none."""
        found = self._known(item)
        return None if found == item and not self.is_listed(item) else found

    def is_listed(self, item: str) -> bool:
        """Whether the latest good listing has it."""
        return self.survey.items is not None and item in self.survey.items.names

    def sentence(self, one: str | Job | Record, now: float, retry_command: str, told: Told) -> str:
        """Where the item stands, since when, and why."""
        if isinstance(one, Job):
            return explain_job(one, now, retry_command)
        if isinstance(one, Record):
            return explain_record(one, now, retry_command)
        live, ahead = sum(self._jobs_of[state] for state in _LIVE), self._places.get(one, 0)
        trouble = self.hold(now, told) or self._postponed(one, now, told)
        most = self.limits.rule.maximum
        limit = self.survey.verdict.decision.parallelism if self.survey.verdict else most
        return explain_waiting(one, Line(ahead, live, limit, most=most, trouble=trouble))

    def hold(self, now: float, told: Told) -> str:
        """Why nothing is started at all just now; empty while things are."""
        breaker = self.survey.verdict.breaker if self.survey.verdict else None
        if held := held_back(self.survey.mode, breaker, now=now):
            return held
        if told.fullness:
            return f"no Job can be made just now: {safe(told.fullness.reason)}"
        listed_at = self.survey.listed_at
        if self.survey.source_error and listed_at is not None and now - listed_at > LISTING_MAX_SECONDS:
            return f"nothing is started while the source is unavailable: {safe(self.survey.source_error)}"
        return ""

    def source(self) -> SourceState:
        """The source, as last asked."""
        survey = self.survey
        return SourceState(
            is_up=survey.items is not None and not survey.source_error,
            error=safe(survey.source_error),
            listed=len(survey.items.names) if survey.items else None,
            listed_at=survey.listed_at,
            settling=survey.items.pending_count or 0 if survey.items else 0,
        )

    def scaling(self) -> Scaling:
        """The law's decision; before the first look only what it is bound by."""
        if self.survey.verdict is None:
            rule, waiting = self.limits.rule, self.counts[State.WAITING]
            live = sum(self.counts[state] for state in _LIVE)
            return Scaling("nothing was decided yet", 0, rule.minimum, rule.maximum, waiting, live)
        decision = self.survey.verdict.decision
        load, rule = decision.load, decision.rule
        return Scaling(
            decision.sentence(),
            decision.parallelism,
            rule.minimum,
            rule.maximum,
            load.waiting,
            load.live,
            law=rule.law,
            arrivals_per_minute=round(load.arrivals * 60, 3),
            steady_per_minute=round(load.steady * 60, 3),
            work_seconds=load.processing_seconds,
            place_seconds=load.place_seconds,
            offered=decision.offered,
            drain_seconds=rule.drain_seconds,
        )

    def breaker(self) -> BreakerState | None:
        """The breaker; None before the first look."""
        if self.survey.verdict is None:
            return None
        seen = self.survey.verdict.breaker
        return BreakerState(seen.is_open, safe(seen.sentence()), seen.since, seen.next_probe)

    def first(self, state: State) -> Sequence[Row]:
        """The first of a state: what is shown without being asked for."""
        return [self.row(self._known(name)) for name in self.of_state(state)[:FIRST_ROWS]]

    def _known(self, name: str) -> str | Job | Record:
        """What is known of an item; its name alone: only that."""
        return self.survey.jobs.get(name) or self.survey.records.get(name) or name

    def _since(self, name: str) -> float:
        job = self.survey.jobs.get(name)
        if job is not None:
            return job.since
        record = self.survey.records.named.get(name)
        return record.at or 0.0 if record else 0.0

    def _slice(self, states: Iterable[State], first: int, last: int) -> Iterator[str]:
        for state in states:
            number = len(self._names[state])
            if first < number and last > 0:
                yield from self.of_state(state)[max(0, first) : last]
            first, last = first - number, last - number

    def _postponed(self, item: str, now: float, told: Told) -> str:
        known = told.postponed.get(item)
        if known is None:
            return ""
        return f"it could not be started: {known.reason.rstrip('.')}; tried again in {max(0, known.until - now):.0f} s"


def log_lines(text: str) -> Sequence[str]:
    """The last lines of a worker's log, with nothing in them that a page, a terminal or a log would obey."""
    lines = list(seen_lines(text))
    while lines and not lines[-1].strip():
        lines.pop()
    return [line[:_LINE_MOST] for line in lines[-LOG_LINES:]]
