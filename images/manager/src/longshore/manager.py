"""The loop: items ← source, jobs ← engine, actions ← plan, apply.

Owns when to look and what to do about what went wrong; decides nothing else (plan.py does) and keeps nothing that the
Jobs don't say, but for how long an item has been absent. Only the loop catches what it did not expect: it says so
once, and tries again.
"""

import threading
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field, replace
from itertools import chain
from typing import Final

from longshore import state
from longshore.acknowledging import Acknowledger
from longshore.control import Control, Mode
from longshore.engines.base import Engine
from longshore.explain import reason_of
from longshore.ledger import Ledger, LedgerUnavailable
from longshore.order import Line, Turns, line_of, turns_taken
from longshore.patience import Postponed, backoff
from longshore.plan import (
    Absences,
    Acknowledge,
    Acks,
    Action,
    Create,
    Drop,
    Enter,
    Forget,
    Limits,
    Observed,
    Strike,
    Verdict,
    count_absences,
    in_turn,
    judge,
    plan,
    waiting_items,
)
from longshore.queuefile import Queue
from longshore.records import Records
from longshore.scaling import Rule
from longshore.source import Items
from longshore.starting import Starter
from longshore.state import Job, Jobs, State, record_of
from longshore_kit.contract import ItemList
from longshore_kit.errors import EngineError, EngineUnavailable, SettingsError, SourceUnavailable
from longshore_kit.logs import Logger

LISTING_MAX_SECONDS: Final = 60.0
"""No Job is made from a listing that is older: the process was paused, or the source has gone."""
LONG_POLL_SECONDS: Final = 20.0
POLL_SECONDS: Final = 2.0
"""The pause between two listings where the source does not hold its answer."""
TICK_SECONDS: Final = 1.0
"""The longest pause between two looks; a change ends it at once."""
ASK_AGAIN_SECONDS: Final = 300.0
"""How often a source is asked whether it wants to be told what is done."""
_BACKOFF_MAX: Final = 30.0


@dataclass(frozen=True)
class Clock:
    """Two clocks, since each can lie: the wall's may be set, the other stands still while a machine sleeps."""

    wall: Callable[[], float] = time.time
    monotonic: Callable[[], float] = time.monotonic


@dataclass(frozen=True)
class Listing:
    """One good listing, and when it was asked for."""

    items: ItemList
    number: int
    """Counts good listings, unchanged ones too."""
    wall: float
    monotonic: float
    wants_acks: bool = False
    """Whether the source wants to be told of what is done."""

    def age(self, clock: Clock) -> float:
        """Seconds since it was asked for, by the clock that says more."""
        return max(clock.wall() - self.wall, clock.monotonic() - self.monotonic)


@dataclass(frozen=True)
class Seen:
    """What is known of the source."""

    listing: Listing | None = None
    """The latest good one."""
    error: str = ""
    """Why the last attempt gave none; empty when it gave one."""
    polls: int = 0
    """Attempts so far."""
    failed_polls: int = 0


class SourcePoller:
    """Keeps the latest good listing, in a thread of its own, so that a slow source delays nothing but itself."""

    def __init__(self, items: Items, log: Logger, clock: Clock | None = None) -> None:
        self._items: Final = items
        self._log: Final = log
        self._clock: Final = clock or Clock()
        self._stop: Final = threading.Event()
        self._on_change: Callable[[], None] = lambda: None
        self._thread: threading.Thread | None = None
        self._wants_acks: bool | None = None
        self._asked_at = 0.0
        self.seen = Seen()
        """One value, exchanged whole: a reader never sees an error with the listing of another attempt."""

    def start(self, on_change: Callable[[], None]) -> None:
        """Begin; `on_change` is called, in the poller's thread, after each attempt that changed anything."""
        self._on_change = on_change
        self._thread = threading.Thread(target=self._run, name="source-poller", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """End soon; a request under way is not waited for."""
        self._stop.set()

    def poll(self, *, wait_seconds: float = 0) -> bool:
        """Ask once: whether there is a good listing."""
        before = self.seen
        polls, failed = before.polls + 1, before.failed_polls
        try:
            self.seen = Seen(self._listing(before.listing, wait_seconds), "", polls, failed)
        except SourceUnavailable as exc:
            self.seen = Seen(before.listing, str(exc), polls, failed + 1)
        except Exception as exc:  # noqa: BLE001 - the poller's own loop: a thread that dies of a bug would leave silence
            self.seen = Seen(before.listing, f"{type(exc).__name__}: {exc}", polls, failed + 1)
            if not before.error:
                self._log.exception("source not asked; trying again")
        self._report(before.error)
        return not self.seen.error

    def _listing(self, before: Listing | None, wait_seconds: float) -> Listing:
        # Held by the source it may have been true for a moment only: its age counts from when it could first be so.
        wall, monotonic = self._clock.wall(), self._clock.monotonic()
        items = self._items.list_items(wait_seconds=wait_seconds)
        held = min(wait_seconds, self._clock.monotonic() - monotonic)
        if self._wants_acks is None or self.seen.error or monotonic - self._asked_at > ASK_AGAIN_SECONDS:
            # Asked again after each outage, and now and then: it may be another ambassador by now.
            self._wants_acks, self._asked_at = self._items.wants_acks(), monotonic
        number = before.number + 1 if before else 1
        return Listing(items, number, wall + held, monotonic + held, self._wants_acks)

    def _report(self, error_before: str) -> None:
        if self.seen.error and not error_before:
            self._log.warning("source unavailable; nothing is started or forgotten meanwhile", reason=self.seen.error)
        elif error_before and not self.seen.error:
            self._log.info("source available again")

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            before, began = self.seen, self._clock.monotonic()
            is_good = self.poll(wait_seconds=LONG_POLL_SECONDS)
            if _tells(before) != _tells(self.seen):
                self._on_change()
            failures = 0 if is_good else failures + 1
            took = self._clock.monotonic() - began
            pause = backoff(failures, first=2.0, most=_BACKOFF_MAX) if failures else max(0.0, POLL_SECONDS - took)
            self._stop.wait(pause)


def _tells(seen: Seen) -> tuple[ItemList | None, str]:
    return seen.listing.items if seen.listing else None, seen.error


@dataclass(frozen=True)
class Tally:
    """What one manager has counted since it began."""

    polls: int = 0
    """How often the source was asked for its items."""
    failed_polls: int = 0
    """How often it did not answer, or not rightly."""
    arrived: int = 0
    """Items that came into the list, after the first one."""
    made: int = 0
    """Jobs that it made."""
    conflicts: int = 0
    """Jobs that it came to make and found made."""


@dataclass(frozen=True)
class Survey:
    """What one tick saw."""

    items: ItemList | None
    """The latest good listing, however old; None before the first."""
    jobs: Jobs = field(default_factory=dict)
    records: Records = field(default_factory=Records)
    changes: tuple[Job, ...] = ()
    """Jobs that came into another state since the tick before."""
    source_error: str = ""
    at: float = 0.0
    listed_at: float | None = None
    """When the latest good listing was true."""
    troubles: tuple[str, ...] = ()
    """What could not be done for single Jobs."""
    verdict: Verdict | None = None
    """How many may live, and whether starting more makes sense; None before the first look."""
    mode: Mode = Mode.RUNNING
    """What a person has said."""
    tally: Tally = Tally()
    first_seen: Mapping[str, float] = field(default_factory=dict)
    """When items came that were not in the first listing, as long as they are listed."""
    first_listed_at: float | None = None
    """When the first good listing was true; None before it."""
    line: Line | None = None
    """The listing in the order of its turns; None: as it is listed."""
    last_started: Mapping[str, float] = field(default_factory=dict)
    """When an item of a group was started last, by the group; only where there are groups."""
    is_telling: bool = False
    """Whether the source is being told just now of what is done."""

    @property
    def is_worked_through(self) -> bool:
        """Whether every item that is listed, or soon will be, is done or failed, and nothing runs."""
        if self.items is None or self.items.pending_count or any(job.is_live for job in self.jobs.values()):
            return False
        return all(item in self.jobs or item in self.records for item in self.items.names)

    def counts(self) -> dict[str, int]:
        """Items by state, every state: those that are listed, and those that have a Job or a record."""
        found: dict[str, int] = dict.fromkeys(State, 0)
        for job in self.jobs.values():
            found[job.counted] += 1
        for finished in (State.DONE, State.FAILED):
            found[finished] += self.records.count(finished, self.jobs)
        found[State.WAITING] += sum(1 for _ in self._waiting())
        return found

    def waits_since(self) -> float | None:
        """Since when the item waits that waits longest, as far as this manager knows; None while none does."""
        first = self.at if self.first_listed_at is None else self.first_listed_at
        held = (job.first_seen or job.created for job in self.jobs.values() if job.is_suspended)
        return min(chain(held, (self.first_seen.get(name, first) for name in self._waiting())), default=None)

    def in_turn(self) -> list[str]:
        """The items that wait, in the order in which they are started."""
        return in_turn(self.observed())

    def observed(self) -> Observed:
        """What can be judged by: what was seen, without what only the manager that looked knows."""
        return Observed(
            self.items,
            self.jobs,
            self.records,
            Absences(),
            self.at,
            line=self.line,
            last_started=self.last_started,
        )

    def _waiting(self) -> Iterator[str]:
        return waiting_items(self.items, self.jobs, self.records) if self.items else iter(())


class Manager:
    """One manager of one queue. Any number may run side by side; the engine's Jobs are all that they share."""

    def __init__(
        self,
        queue: Queue,
        *,
        items: Items,
        poller: SourcePoller,
        engine: Engine,
        ledger: Ledger,
        pool: Executor,
        log: Logger,
        control: Control,
        clock: Clock | None = None,
    ) -> None:
        self._control: Final = control
        self._poller: Final = poller
        self._engine: Final = engine
        self._ledger: Final = ledger
        self._log: Final = log
        self._clock: Final = clock or Clock()
        self._limits: Final = limits_of(queue)
        self._starter: Final = Starter(queue, items=items, engine=engine, ledger=ledger, pool=pool, log=log)
        self._acknowledger: Final = Acknowledger(items, pool=pool, log=log, now=self._clock.wall)
        self._absences = Absences()
        self._recorded_since: dict[str, float] = {}
        """Of finished Jobs that have a record beside them, by uid: since when both were seen."""
        self._counted = 0
        self._turns: Final = self._limits.turns
        self._line: Line | None = None
        self._first_seen: dict[str, float] = {}
        """When items came that were not there at this manager's first listing, as long as they are listed."""
        self._listed: frozenset[str] | None = None
        self._first_listed_at: float | None = None
        self._arrived = 0
        self._last_started: dict[str, float] | None = None
        """By the group; None before the first look, which has it from the Jobs."""
        self._said: tuple[Mode, bool, int] | None = None
        self._seen: Jobs | None = None
        self._wake: Final = threading.Event()
        self._complaints: frozenset[str] = frozenset()

    def run(
        self,
        stop: threading.Event,
        on_tick: Callable[[Survey], None],
        on_failure: Callable[[Exception], None] = lambda _: None,
    ) -> None:
        """Tick until `stop` is set (and `wake` called); `on_tick` gets what each saw, `on_failure` why one failed."""
        self._engine.watch(self.wake)
        self._poller.start(self.wake)
        failures = 0
        while not stop.is_set():
            self._wake.clear()
            survey = self._try_tick(on_failure)
            failures = failures + 1 if survey is None else 0
            if survey is not None:
                on_tick(survey)
            if not stop.is_set():
                self._wake.wait(backoff(failures + 1, first=TICK_SECONDS, most=_BACKOFF_MAX))
        self._poller.stop()

    def wake(self) -> None:
        """Look now. From any thread."""
        self._wake.set()

    def troubles(self) -> Mapping[str, Postponed]:
        """Items that could not be started just now, and why. From any thread."""
        return self._starter.troubles()

    def fullness(self) -> Postponed | None:
        """Why no item is started at all just now; None while they are. From any thread."""
        return self._starter.fullness()

    def tick(self) -> Survey:
        """
        Look once, and do what is to be done. Starts go on side by side after it has returned.

        Raises:
            EngineUnavailable: could not look; nothing was done.
            LedgerUnavailable: the same, of the records.
        """
        troubles = tuple(self._engine.tend())
        # Jobs first, records second: the other way round, one that moves from here to there would be in neither. What
        # is under way before both: when it ends in between, its Job is among those seen.
        under_way = self._starter.under_way
        jobs = self._engine.jobs()
        records = self._ledger.read()
        seen = self._poller.seen
        mode = self._control.mode()
        # After the mode was read: what is begun from now on asks for it again.
        is_quiet = not self._starter.under_way
        observed = replace(self._observe(seen.listing, jobs, records, under_way), may_start=mode.may_start)
        verdict = judge(observed, self._limits)
        self._report_verdict(verdict, mode)
        actions = plan(observed, self._limits, verdict)
        troubles += tuple(filter(None, (self._try(action, seen.listing) for action in actions)))
        if is_quiet and not mode.may_start:
            troubles += self._note_seen(mode)
        changes = () if self._seen is None else tuple(state.changes(self._seen, jobs))
        self._seen = jobs
        for job in changes:
            self._report(job)
        items, listed_at = (seen.listing.items, seen.listing.wall) if seen.listing else (None, None)
        return Survey(
            items,
            jobs,
            records,
            changes,
            seen.error,
            observed.at,
            listed_at,
            troubles,
            verdict,
            mode,
            tally=Tally(seen.polls, seen.failed_polls, self._arrived, self._starter.made, self._starter.conflicts),
            first_seen=self._first_seen,
            first_listed_at=self._first_listed_at,
            line=observed.line,
            last_started=dict(observed.last_started),
            is_telling=self._acknowledger.is_telling,
        )

    def _note_seen(self, mode: Mode) -> tuple[str, ...]:
        """Have whoever waits for it know; that nobody can be told is no reason to do nothing else."""
        try:
            if not self._control.is_seen(mode):
                self._control.note_seen(mode)
        except (EngineError, LedgerUnavailable) as exc:
            return (f"that the queue is {mode} can't be noted as seen: {exc}",)
        return ()

    def _observe(self, listing: Listing | None, jobs: Jobs, records: Records, under_way: frozenset[str]) -> Observed:
        now = self._clock.wall()
        fresh = listing if listing is not None and self._is_fresh(listing) else None
        observed = Observed(
            fresh.items if fresh else None,
            jobs,
            records,
            self._absences,
            now,
            under_way=under_way,
            postponed=self._starter.postponed(now),
            is_full=self._starter.is_full(now),
            acks=self._acks(listing, fresh),
            settled=self._settled(jobs, records, now),
            first_seen=self._first_seen,
            line=self._line,
            last_started=self._turns_taken(jobs),
        )
        if fresh and fresh.number != self._counted:
            self._counted = fresh.number
            self._absences = count_absences(self._absences, observed)
            listed = frozenset(fresh.items.names)
            self._starter.forget(listed)
            self._acknowledger.forget(listed.union(jobs))
            self._note_arrivals(listed, fresh.wall)
            self._line = line_of(fresh.items.names, self._turns, self._first_seen)
            self._forget_turns(jobs)
            observed = replace(
                observed,
                absences=self._absences,
                first_seen=self._first_seen,
                line=self._line,
                last_started=self._turns_taken(jobs),
            )
        return observed

    def _turns_taken(self, jobs: Jobs) -> Mapping[str, float]:
        """When each group had its last turn."""
        if self._last_started is None:
            self._last_started = turns_taken(((job.item, job.created) for job in jobs.values()), self._turns)
        return self._last_started

    def _forget_turns(self, jobs: Jobs) -> None:
        """Of groups of which nothing is listed or kept any more: days that are groups would never end."""
        if self._last_started and self._line:
            known = {*(self._line.groups or {}).values(), *map(self._turns.group_of, jobs)}
            self._last_started = {group: at for group, at in self._last_started.items() if group in known}

    def _note_arrivals(self, listed: frozenset[str], at: float) -> None:
        """What is new since the last listing has come since; of what the first one has, nobody knows when."""
        known = {item: seen for item, seen in self._first_seen.items() if item in listed}
        if self._listed is None:
            self._first_listed_at = at
        else:
            come = listed - self._listed - known.keys()
            self._arrived += len(come)
            known |= dict.fromkeys(come, at)
        self._first_seen, self._listed = known, listed

    def _acks(self, listing: Listing | None, fresh: Listing | None) -> Acks:
        if listing is None or not listing.wants_acks:
            return Acks(is_wanted=listing.wants_acks if listing else None)
        if fresh is None:
            return self._acknowledger.acks(is_wanted=True)
        return self._acknowledger.acks(is_wanted=True, listed=frozenset(fresh.items.names), asked_at=fresh.wall)

    def _settled(self, jobs: Jobs, records: Records, now: float) -> frozenset[str]:
        """Items that have had a finished Job and a record for so long that nobody acts on older records any more."""
        both = [
            job
            for job in (jobs.values() if len(records) else ())
            if job.is_finished and (record := records.get(job.item)) and record.state is job.state
        ]
        self._recorded_since = {job.uid: self._recorded_since.get(job.uid, now) for job in both}
        settle = self._ledger.settle_seconds
        return frozenset(job.item for job in both if now - self._recorded_since[job.uid] >= settle)

    def _is_fresh(self, listing: Listing) -> bool:
        return listing.age(self._clock) <= LISTING_MAX_SECONDS

    def _try(self, action: Action, listing: Listing | None) -> str:
        """Do it; why it could not be done, where only that: one Job that can't be deleted must not stop the others."""
        try:
            self._apply(action, listing)
        except EngineUnavailable:
            raise
        except (EngineError, LedgerUnavailable) as exc:
            return f"{type(action).__name__.lower()}: {exc}"
        return ""

    def _apply(self, action: Action, listing: Listing | None) -> None:
        match action:
            case Create(item):
                if self._turns.group_by and self._last_started is not None:
                    self._last_started[self._turns.group_of(item)] = self._clock.wall()
                self._starter.start(
                    item,
                    may_start=lambda: (
                        listing is not None and self._is_fresh(listing) and self._control.mode().may_start
                    ),
                    now=self._clock.wall,
                    on_end=self.wake,
                    first_seen=self._first_seen.get(item),
                )
            case Acknowledge(items):
                self._acknowledger.tell(items, self.wake)
            case Enter(jobs):
                self._enter(jobs)
            case Drop(job):
                self._engine.delete(job)
            case Forget(job, is_last_done):
                if is_last_done:
                    self._ledger.note_done(job.since)
                self._engine.delete(job)
                self._log.info("item forgotten; it has left the source", item=job.item)
            case Strike(keys):
                self._ledger.remove(keys)
                self._log.info("records dropped; their items have left the source", count=len(keys))

    def _enter(self, jobs: Sequence[Job]) -> None:
        def still() -> Collection[str]:
            """Those that nobody has deleted meanwhile, to have them tried again."""
            return [job.item for job in self._engine.still_there(jobs)]

        entered = self._ledger.enter([record_of(one) for one in jobs], still)
        if not self._ledger.settle_seconds:
            for job in jobs:
                if job.item in entered:
                    self._engine.delete(job)

    def _try_tick(self, on_failure: Callable[[Exception], None]) -> Survey | None:
        try:
            survey = self.tick()
        except (EngineError, LedgerUnavailable, SettingsError) as exc:
            self._complain("jobs not seen; nothing is started or deleted meanwhile", str(exc))
            on_failure(exc)
        except Exception as exc:  # noqa: BLE001 - the one place that catches what nobody expected: the queue must go on
            if self._complain("tick failed; trying again", repr(exc)):
                self._log.exception("tick failed; trying again")
            on_failure(exc)
        else:
            for trouble in survey.troubles:
                self._complain("job not seen to; the others are", trouble)
            self._complaints &= frozenset(survey.troubles)
            return survey
        return None

    def _complain(self, event: str, reason: str) -> bool:
        """One line per trouble, not one per tick: whether this one is new."""
        if reason in self._complaints:
            return False
        self._complaints |= {reason}
        self._log.error(event, reason=reason)
        return True

    def _report_verdict(self, verdict: Verdict, mode: Mode) -> None:
        """Log what was decided, when it is another than before."""
        breaker, decision = verdict.breaker, verdict.decision
        before, self._said = self._said, (mode, breaker.is_open, decision.parallelism)
        if before is None or mode is not before[0]:
            (self._log.info if before is None or mode.may_start else self._log.warning)("queue is " + mode)
        if breaker.is_open is not (before is not None and before[1]):
            if breaker.is_open:
                self._log.warning(
                    "breaker opened; one trial at a time", failures=breaker.failures, reason=breaker.reason
                )
            else:
                self._log.info("breaker closed")
        if before is None or decision.parallelism != before[2]:
            self._log.info("parallelism decided", parallelism=decision.parallelism, why=decision.sentence())

    def _report(self, job: Job) -> None:
        log = self._log.bind(item=job.item, job=job.name)
        match job.state:
            case State.FAILED:
                log.warning("item failed", reason=reason_of(job), attempts=job.attempt)
            case State.DONE:
                log.info("item done", seconds=round(job.processing_seconds, 1))
            case State.STARTING if job.attempt:
                log.info("item's attempt ended", attempt=job.attempt, exit_code=job.exit_code, reason=reason_of(job))
            case State.STARTING:
                log.info("item starting")
            case _:
                log.info(f"item {job.state}", attempt=job.attempt)


def judged(survey: Survey, queue: Queue, at: float) -> Verdict:
    """What a manager would decide on what was seen; arrivals that only it has seen are unknown to anybody else."""
    return judge(replace(survey.observed(), at=at), limits_of(queue))


def limits_of(queue: Queue) -> Limits:
    """The plan's numbers in the queue file."""
    scaling, keep = queue.spec.scaling, queue.spec.keep
    return Limits(
        rule=Rule(
            law=scaling.law,
            minimum=scaling.min,
            maximum=scaling.max,
            drain_seconds=scaling.drain_seconds,
            window=scaling.window,
            tolerance=scaling.tolerance,
        ),
        turns=Turns(queue.spec.queue.order, queue.spec.queue.group_by),
        breaker_failures=queue.spec.breaker.failures,
        keep_finished=keep.finished,
        keep_failed=keep.failed,
        ack_failed=queue.spec.retry.ack_failed,
    )
