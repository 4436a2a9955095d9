"""Observed → actions: the one pure function that decides, and the values it decides on.

Owns when an item gets its Job, when a finished Job becomes a record, and when either is forgotten. Refuses to act on
what it was not shown: no listing, no creation and no forgetting. Clock and memory come in as arguments.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import islice
from typing import Final, TypeAlias

from longshore.scaling import Load, parallelism
from longshore.state import Job, Jobs, Record, State
from longshore_kit.contract import ItemList

FORGET_LISTINGS: Final = 3
FORGET_SECONDS: Final = 600.0
"""A finished item is forgotten when it has been absent from so many good listings, and for so long."""
SHRUNK_SECONDS: Final = 24 * 3600.0
"""A list that has shrunk by more than half at once is believed when it has stayed so for so long."""


@dataclass(frozen=True)
class Limits:
    """The numbers of the queue file that the plan keeps to."""

    parallel_min: int = 0
    parallel_max: int = 1
    keep_finished: int = 1000
    """Jobs of done items kept; what is beyond lives on in the ledger."""
    keep_failed: int = 1000


@dataclass(frozen=True)
class Absence:
    """How long an item with a finished Job has not been listed."""

    since: float
    listings: int


@dataclass(frozen=True)
class Absences:
    """What the manager remembers between listings. Lost with it, which only makes forgetting later."""

    of: Mapping[str, Absence] = field(default_factory=dict)
    baseline: int | None = None
    """The length of the last listing that counted; None before the first."""
    shrunk_since: float | None = None
    """Since when the list is less than half as long."""


@dataclass(frozen=True)
class Observed:
    """Everything that one plan is made from."""

    items: ItemList | None
    """The latest good listing; None: could not look, which is never "nothing there"."""
    jobs: Jobs
    records: Mapping[str, Record]
    absences: Absences
    at: float
    """Seconds since the epoch."""
    under_way: frozenset[str] = frozenset()
    """Items whose Jobs are being made now; they count as live."""
    postponed: frozenset[str] = frozenset()
    """Items that could not be started a moment ago, and hold up no other."""
    is_full: bool = False
    """There was no room for another Job a moment ago, whichever item it is for."""


@dataclass(frozen=True)
class Create:
    """Start the worker of this item."""

    item: str


@dataclass(frozen=True)
class Enter:
    """Enter these finished Jobs in the ledger, then delete them: there are more than are kept."""

    jobs: tuple[Job, ...]


@dataclass(frozen=True)
class Forget:
    """Delete this Job, or drop this record: its item has left the source for good."""

    item: str
    job: Job | None


Action: TypeAlias = Create | Enter | Forget


def plan(observed: Observed, limits: Limits) -> list[Action]:
    """What to do now. The same observation gives the same actions, in the same order."""
    live, done, failed = _by_fate(observed.jobs)
    return [
        *_forgets(observed),
        *_enters(done, limits.keep_finished),
        *_enters(failed, limits.keep_failed),
        *_creates(observed, limits, live),
    ]


def waiting_items(items: ItemList, jobs: Jobs, records: Mapping[str, Record]) -> Iterator[str]:
    """Listed items that were never started, in the source's order, each once."""
    return (name for name in items.names if name not in jobs and name not in records)


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
    finished = sum(1 for _ in _finished_items(observed))
    baseline = finished if before.baseline is None else before.baseline
    if len(names) * 2 < baseline:
        since = observed.at if before.shrunk_since is None else before.shrunk_since
        if observed.at - since < SHRUNK_SECONDS:
            return Absences(of={}, baseline=baseline, shrunk_since=since)
    listed = frozenset(names)
    of = {
        item: Absence(since=known.since, listings=known.listings + 1)
        if (known := before.of.get(item))
        else Absence(since=observed.at, listings=1)
        for item in _finished_items(observed)
        if item not in listed
    }
    return Absences(of=of, baseline=len(names))


def _finished_items(observed: Observed) -> Iterator[str]:
    yield from (job.item for job in observed.jobs.values() if job.is_finished)
    yield from observed.records


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


def _creates(observed: Observed, limits: Limits, live: int) -> Iterable[Create]:
    if observed.items is None or observed.is_full:
        return []
    live += sum(item not in observed.jobs for item in observed.under_way)
    held = observed.under_way | observed.postponed
    waiting = (name for name in waiting_items(observed.items, observed.jobs, observed.records) if name not in held)
    # The law needs the number that waits, up to the limit; counting on would cost a pass over 100,000 names.
    first = list(islice(waiting, max(0, limits.parallel_max - live)))
    wanted = parallelism(limits.parallel_min, limits.parallel_max, Load(waiting=len(first), live=live))
    return [Create(item) for item in first[: max(0, wanted - live)]]


def _forgets(observed: Observed) -> Iterable[Forget]:
    if observed.items is None:
        return
    for item, absence in observed.absences.of.items():
        if absence.listings >= FORGET_LISTINGS and observed.at - absence.since >= FORGET_SECONDS:
            job = observed.jobs.get(item)
            # A failed Job is the dead letter: it stays until somebody retries it, listed or not.
            state = job.state if job else observed.records[item].state if item in observed.records else None
            if state is State.DONE and not (job and job.deleting):
                yield Forget(item, job)


def _enters(finished: list[Job], keep: int) -> Iterable[Enter]:
    if len(finished) > keep:
        oldest_first = sorted(finished, key=lambda job: (job.since, job.name))
        yield Enter(tuple(oldest_first[: len(finished) - keep]))
