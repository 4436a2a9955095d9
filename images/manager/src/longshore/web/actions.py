"""What a person may do from the page, with a token: have a failed item tried again, pause the queue, resume it.

Owns which items may be. How an item is taken up again (again.py), and how a queue is paused, is somebody else's.
"""

from collections.abc import Callable
from dataclasses import dataclass

from longshore.again import Book, Keeper, take_up
from longshore.control import Control
from longshore.state import State


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
        take_up(self.keeper, self.book, {item: job} if job else {}, records, [records.key_of(item)])
        self.wake()
        return True
