"""Observed → actions: the one pure function that decides, and the values it decides on.

Owns when an item gets its Job, when the source is told that it is done, when a finished Job becomes a record, and when
either is forgotten. Refuses to act on what it was not shown: no listing, no creation and no forgetting. Clock and
memory come in as arguments.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import nlargest
from typing import Final, TypeAlias

from longshore.breaker import Breaker, breaker_of, counts_against, is_believable
from longshore.order import Line, Turns
from longshore.records import Key, Records
from longshore.scaling import Decision, History, Life, Rule, decide
from longshore.state import Job, Jobs, State
from longshore_kit.contract import ItemList

FORGET_LISTINGS: Final = 3
FORGET_SECONDS: Final = 600.0
"""A finished item is forgotten when it has been absent from so many good listings, and for so long."""
SHRUNK_SECONDS: Final = 24 * 3600.0
"""A list that has shrunk by more than half at once is believed when it has stayed so for so long."""
_SEEN_MOST: Final = 5000
_ENTERED_WITH: Final = 20
"""One in so many of the Jobs that are kept is entered beyond those that must be: many are written as cheaply as one."""

_ENTERED_MAX: Final = 200
"""At once: each is looked at afresh before, and a tick must not take minutes. The rest follows with the next ones."""


@dataclass(frozen=True)
class Limits:
    """The numbers of the queue file that the plan keeps to."""

    rule: Rule = field(default_factory=Rule)
    """How many workers may live."""
    turns: Turns = field(default_factory=Turns)
    breaker_failures: int = 20
    keep_finished: int = 1000
    """Jobs of done items kept; what is beyond lives on in the ledger."""
    keep_failed: int = 1000
    ack_failed: bool = False
    """Whether a source that acknowledges is told of failed items too."""


@dataclass(frozen=True)
class Absence:
    """How long an item with a finished Job has not been listed."""

    since: float
    listings: int


@dataclass(frozen=True)
class Absences:
    """What the manager remembers between listings. Lost with it, which only makes forgetting later."""

    of: Mapping[Key, Absence] = field(default_factory=dict)
    """By the item's name, or the key of a record that has no name."""
    baseline: int | None = None
    """The length of the last listing that counted; None before the first."""
    shrunk_since: float | None = None
    """Since when the list is less than half as long."""


@dataclass(frozen=True)
class Acks:
    """What the source was told of items that have finished."""

    is_wanted: bool | None = False
    """Whether it wants to be told at all; None: it could not be asked yet."""
    told: Collection[str] = frozenset()
    """Items that it was told of, by this manager."""
    returned: frozenset[str] = frozenset()
    """Those of them that it has listed since all the same."""
    held: frozenset[str] = frozenset()
    """Items that it is being told of, or could not be told of a moment ago."""

    def may_go(self, item: str) -> bool:
        """Whether the Job of this item, which is to be told of, may be given up."""
        return self.is_wanted is False or item in self.told


@dataclass(frozen=True)
class Observed:
    """Everything that one plan is made from."""

    items: ItemList | None
    """The latest good listing; None: could not look, which is never "nothing there"."""
    jobs: Jobs
    records: Records
    absences: Absences
    at: float
    """Seconds since the epoch."""
    under_way: frozenset[str] = frozenset()
    """Items whose Jobs are being made now; they count as live."""
    postponed: frozenset[str] = frozenset()
    """Items that could not be started a moment ago, and hold up no other."""
    is_full: bool = False
    """There was no room for another Job a moment ago, whichever item it is for."""
    acks: Acks = Acks()
    first_seen: Mapping[str, float] = field(default_factory=dict)
    """When items came that were not listed when this manager first looked, in seconds since the epoch."""
    line: Line | None = None
    """The listing in the order of its turns; None: as it is listed."""
    last_started: Mapping[str, float] = field(default_factory=dict)
    """When an item of a group was started last, by the group; only where there are groups."""
    may_start: bool = True
    """Whether items are started at all: a person may have said that they are not."""
    settled: frozenset[str] = frozenset()
    """Items whose records have been seen for so long that their finished Jobs need not stay beside them."""


@dataclass(frozen=True)
class Create:
    """Start the worker of this item."""

    item: str


@dataclass(frozen=True)
class Acknowledge:
    """Tell the source that these items need not be listed any more."""

    items: tuple[str, ...]


@dataclass(frozen=True)
class Enter:
    """Enter these finished Jobs in the ledger: there are more than are kept."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Drop:
    """Delete this finished Job: its record stands for it."""

    job: Job


@dataclass(frozen=True)
class Forget:
    """Delete this done Job: its item has left the source for good."""

    job: Job
    is_last_done: bool = False
    """Whether nothing else would tell that an item was done after others had failed: the ledger must, before."""


@dataclass(frozen=True)
class Strike:
    """Drop these records: their items have left the source for good."""

    keys: tuple[Key, ...]


Action: TypeAlias = Create | Acknowledge | Enter | Drop | Forget | Strike


@dataclass(frozen=True)
class Verdict:
    """What decides how many are started now."""

    decision: Decision
    breaker: Breaker


def judge(observed: Observed, limits: Limits) -> Verdict:
    """How many may live, and whether starting more makes sense."""
    is_frozen = any(job.is_live and job.is_out_of_room for job in observed.jobs.values())
    decision = decide(_history(observed, limits.rule), limits.rule, observed.at, is_frozen=is_frozen)
    breaker = breaker_of(observed.jobs.values(), observed.at, limits.breaker_failures, observed.records.done_at)
    return Verdict(decision, breaker)


def plan(observed: Observed, limits: Limits, verdict: Verdict | None = None) -> list[Action]:
    """What to do now. The same observation gives the same actions, in the same order."""
    verdict = verdict or judge(observed, limits)
    live, done, failed = _by_fate(observed.jobs)
    return [
        *_acknowledges(observed, [*done, *(failed if limits.ack_failed else ())]),
        *_forgets(observed),
        *_enters(observed, done, limits.keep_finished, is_told_of=True),
        # The breaker reads Jobs: those of its row stay, however few a queue file would keep.
        *_enters(observed, failed, limits.keep_failed, is_told_of=limits.ack_failed, are_needed=verdict.breaker.row),
        *_creates(observed, verdict, live),
    ]


def waiting_items(items: ItemList, jobs: Jobs, records: Records) -> Iterator[str]:
    """Listed items that were never started, in the source's order, each once."""
    return (name for name in items.names if name not in jobs and name not in records)


def in_turn(observed: Observed, count: int | None = None) -> list[str]:
    """The items that wait and can be started, in the order in which they are; the first `count`, or all."""
    if observed.items is None:
        return []
    held = observed.under_way | observed.postponed
    line = observed.line or Line(observed.items.names)
    at_work = (*(item for item, job in observed.jobs.items() if job.is_live), *observed.under_way)
    jobs, records = observed.jobs, observed.records
    return line.first(
        len(line.names) if count is None else count,
        lambda name: name in jobs or name in records or name in held,
        at_work,
        observed.last_started,
    )


def count_absences(before: Absences, observed: Observed) -> Absences:
    """
    What to remember after one more good listing, each counted once.

    A list that has shrunk by more than half at once does not count: a folder emptied by mistake, or a mount point
    without its mount, looks like that. It counts again when it has grown back, or has stayed so for a day. A manager
    that has just started has the finished items for a list before.
    """
    if observed.items is None:
        return before
    names = observed.items.names
    jobs = [job.item for job in observed.jobs.values() if job.is_finished]
    baseline = len(jobs) + len(observed.records) if before.baseline is None else before.baseline
    # A source that shrinks because it was told to is no sign of anything; of what it lists no more nothing comes back.
    if len(names) * 2 < baseline and not observed.acks.is_wanted:
        since = observed.at if before.shrunk_since is None else before.shrunk_since
        if observed.at - since < SHRUNK_SECONDS:
            return Absences(of={}, baseline=baseline, shrunk_since=since)
    listed = frozenset(names)
    absent: Iterable[Key] = (*(item for item in jobs if item not in listed), *observed.records.unlisted(listed))
    of = {
        key: Absence(since=known.since, listings=known.listings + 1)
        if (known := before.of.get(key))
        else Absence(since=observed.at, listings=1)
        for key in dict.fromkeys(absent)
    }
    return Absences(of=of, baseline=len(names))


def _by_fate(jobs: Jobs) -> tuple[int, list[Job], list[Job]]:
    """How many live, which are done, which have failed: one pass, as there may be 100,000."""
    live, done, failed = 0, [], []
    for job in jobs.values():
        if job.is_live:
            live += 1
        elif job.state is State.DONE:
            done.append(job)
        else:
            failed.append(job)
    return live, done, failed


def _creates(observed: Observed, verdict: Verdict, live: int) -> Iterable[Create]:
    if observed.items is None or observed.is_full or not observed.may_start:
        return []
    coming = sum(item not in observed.jobs for item in observed.under_way)
    room = verdict.decision.parallelism - live - coming
    if verdict.breaker.may_start is not None:
        room = min(room, verdict.breaker.may_start - coming)
    return [Create(item) for item in in_turn(observed, room)] if room > 0 else []


def _history(observed: Observed, rule: Rule) -> History:
    """The lives that the law looks at: those that live, and those that ended not long ago."""
    since = observed.at - 2 * rule.window
    lives = [_life(job) for job in observed.jobs.values() if job.is_live or job.since >= since]
    if observed.items is None:
        return History(lives)
    waiting = sum(1 for _ in waiting_items(observed.items, observed.jobs, observed.records))
    # Of a flood the latest say how fast it comes; all of it is counted as waiting.
    seen = nlargest(_SEEN_MOST, (at for item, at in observed.first_seen.items() if _waits(item, observed)))
    return History([*lives, *map(Life, seen)], unseen=waiting - len(seen))


def _life(job: Job) -> Life:
    if job.is_suspended:
        return Life(job.first_seen)
    finished = None if job.is_live else job.since
    # While it is held back it takes no place: who counted that would ask for ever more of them.
    return Life(job.first_seen, max(job.created, job.let_go or 0.0), finished, job.processing_seconds)


def _waits(item: str, observed: Observed) -> bool:
    return item not in observed.jobs and item not in observed.records


def _acknowledges(observed: Observed, finished: list[Job]) -> Iterable[Acknowledge]:
    acks = observed.acks
    if not acks.is_wanted:
        return
    due = [job.item for job in finished if job.item not in acks.told]
    listed = observed.items.names if observed.items else ()
    # What has become a record, and is listed: told by a manager before this one, and not taken in.
    recorded = [
        name for name in listed if name not in observed.jobs and observed.records.is_done(observed.records.key_of(name))
    ]
    due += [name for name in recorded if name not in acks.told]
    # Told, and listed again: only what is done now, and not what runs once more, or has failed since.
    again = acks.returned & {*(job.item for job in finished), *recorded}
    if items := tuple(item for item in dict.fromkeys([*due, *sorted(again)]) if item not in acks.held):
        yield Acknowledge(items)


def _forgets(observed: Observed) -> Iterable[Forget | Strike]:
    if observed.items is None:
        return
    gone: list[Key] = []
    going: list[Job] = []
    for key, absence in observed.absences.of.items():
        if absence.listings >= FORGET_LISTINGS and observed.at - absence.since >= FORGET_SECONDS:
            job = observed.jobs.get(key) if isinstance(key, str) else None
            # A failed Job is the dead letter: it stays until somebody retries it, listed or not.
            if job is None and observed.records.is_done(key):
                gone.append(key)
            elif job and job.state is State.DONE and not job.deleting and observed.acks.may_go(job.item):
                going.append(job)
    teller = _teller(observed, going)
    yield from (Forget(job, job is teller) for job in going)
    if gone:
        yield Strike(tuple(gone))


def _teller(observed: Observed, going: Sequence[Job]) -> Job | None:
    """The Job without which the breaker would count others as a row that it has ended; None: there is none."""
    told = observed.records.done_at or 0.0
    last = max((job for job in going if is_believable(job.since, observed.at)), key=lambda job: job.since, default=None)
    if last and any(told < job.since <= last.since and counts_against(job) for job in observed.jobs.values()):
        return last
    return None


def _enters(
    observed: Observed,
    finished: list[Job],
    keep: int,
    *,
    is_told_of: bool,
    are_needed: Collection[str] = frozenset(),
) -> Iterable[Enter | Drop]:
    yield from (Drop(job) for job in finished if job.item in observed.settled)
    kept = [job for job in finished if job.item not in observed.records]
    if (excess := len(kept) - keep) > 0:
        may_go = (job for job in kept if job.item not in are_needed)
        free = [job for job in may_go if not is_told_of or observed.acks.may_go(job.item)]
        oldest_first = sorted(free, key=lambda job: (job.since, job.name))
        if oldest := tuple(oldest_first[: min(excess + keep // _ENTERED_WITH, _ENTERED_MAX)]):
            yield Enter(oldest)
