"""Items that are taken up again: their Jobs are deleted and their records dropped, and a manager makes new Jobs.

Owns the order of the two, for the commands and for the status page. Which items, and whether they may, is said there.
"""

from collections.abc import Sequence
from typing import Protocol

from longshore.records import Key, Records
from longshore.state import Job, Jobs


class Keeper(Protocol):
    """Keeps Jobs: the part of an engine that this needs."""

    def jobs(self) -> Jobs:
        """Every Job now."""

    def delete(self, job: Job) -> None:
        """Delete this very one."""


class Book(Protocol):
    """Keeps records: the part of a ledger that this needs."""

    def read(self) -> Records:
        """Every record now."""

    def remove(self, keys: Sequence[Key]) -> None:
        """Drop these."""


def take_up(keeper: Keeper, book: Book, jobs: Jobs, records: Records, keys: Sequence[Key]) -> None:
    """
    Have the items of these keys taken up again, as far as they have finished.

    `jobs` and `records` are what was seen of both when the keys were chosen.

    Raises:
        EngineError: could not; safe to repeat.
        LedgerUnavailable: the same.
    """
    # The Jobs, then the records, in this order: a manager may be entering the record of such a Job.
    doomed = set(keys)
    for item, job in jobs.items():
        if job.is_finished and records.key_of(item) in doomed:
            keeper.delete(job)
    if keys:
        book.remove(keys)
