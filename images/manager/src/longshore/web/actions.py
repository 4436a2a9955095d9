"""What a person may do from the page, with a token: have a failed item tried again, pause the queue, resume it.

Owns the order of a retry's two steps, the same as the command's. How a queue is paused is somebody else's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from longshore.control import Control
from longshore.records import Key, Records
from longshore.state import Job, Jobs, State


class Keeper(Protocol):
    """Keeps Jobs: an engine's part that a retry needs."""

    def jobs(self) -> Jobs:
        """Every Job now."""

    def delete(self, job: Job) -> None:
        """Delete this very one."""


class Book(Protocol):
    """Keeps records: a ledger's part that a retry needs."""

    def read(self) -> Records:
        """Every record now."""

    def remove(self, keys: Sequence[Key]) -> None:
        """Drop these."""


@dataclass(frozen=True)
class Actions:
    """What was handed in; what is None is not offered."""

    retry: Callable[[str], bool] | None = None
    """Whether the item of this name had failed, and will be tried again."""
    control: Control | None = None

    def names(self) -> tuple[str, ...]:
        """What is offered."""
        return (*(("retry",) if self.retry else ()), *(("pause", "resume") if self.control else ()))


@dataclass(frozen=True)
class Retry:
    """Has failed items tried again: their Jobs are deleted, and a manager makes new ones."""

    keeper: Keeper
    book: Book
    wake: Callable[[], None] = lambda: None

    def __call__(self, item: str) -> bool:
        """
        Whether it had failed.

        Raises:
            EngineError: could not; safe to retry.
            LedgerUnavailable: the same.
        """
        jobs, records = self.keeper.jobs(), self.book.read()
        job, record = jobs.get(item), records.get(item)
        known = job or record
        if known is None or known.state is not State.FAILED:
            return False
        # The Job, then the record, in this order: a manager may be entering the record of such a Job.
        if job:
            self.keeper.delete(job)
        self.book.remove([records.key_of(item)])
        self.wake()
        return True
