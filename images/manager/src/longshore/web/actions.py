"""What a person may do from the page, with a token: have a failed item tried again, pause the queue, resume it.

Owns which items may be. How an item is taken up again (again.py), and how a queue is paused, is somebody else's.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from longshore.again import Book, Keeper, take_up
from longshore.control import Control
from longshore.state import State


@dataclass(frozen=True)
class Actions:
    """What was handed in; what is None is not offered."""

    retry: Callable[[Sequence[str]], Sequence[str]] | None = None
    """Those of these items that had failed, and will be tried again."""
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

    def __call__(self, items: Sequence[str]) -> Sequence[str]:
        """
        Those that had failed.

        Raises:
            EngineError: could not; safe to retry.
            LedgerUnavailable: the same.
        """
        jobs, records = self.keeper.jobs(), self.book.read()
        failed = [
            item for item in items if (known := jobs.get(item) or records.get(item)) and known.state is State.FAILED
        ]
        if failed:
            take_up(self.keeper, self.book, jobs, records, [records.key_of(item) for item in failed])
            self.wake()
        return failed
