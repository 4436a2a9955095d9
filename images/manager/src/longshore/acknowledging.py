"""Telling the source what is done: one request per item, again until it is taken in.

Owns what this manager has told, what is under way, and what could not be told just now and when it is tried again.
That memory is all there is: a new manager tells everything that is finished once more, which the contract allows.
docs/source-contract.md, "Acknowledging".
"""

import threading
from collections.abc import Callable, Collection, Iterable
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final

from longshore.patience import Postponed, backoff, postponed_again
from longshore.plan import Acks
from longshore.source import Items
from longshore_kit.errors import SourceError
from longshore_kit.logs import Logger

FIRST_SECONDS: Final = 2.0
MOST_SECONDS: Final = 60.0
AGAIN_MOST_SECONDS: Final = 600.0
"""A source that lists on and on what it was told of is told more and more seldom."""


@dataclass(frozen=True)
class _Told:
    at: float
    times: int

    def is_due_again(self, asked_at: float, now: float) -> bool:
        """Whether a listing that was asked for then, and has the item all the same, is a reason to tell it again."""
        pause = backoff(self.times, first=FIRST_SECONDS, most=AGAIN_MOST_SECONDS) if self.times > 1 else 0.0
        return self.at < asked_at and now - self.at >= pause


class Acknowledger:
    """Tells items in `pool`, one after the other. Its methods are for one thread, the manager's."""

    def __init__(self, items: Items, *, pool: Executor, log: Logger, now: Callable[[], float]) -> None:
        self._items: Final = items
        self._pool: Final = pool
        self._log: Final = log
        self._now: Final = now
        self._lock: Final = threading.Lock()
        self._told: dict[str, _Told] = {}
        self._postponed: dict[str, Postponed] = {}
        self._queued: dict[str, None] = {}
        """Under way, in order."""
        self._is_telling = False

    def acks(self, *, is_wanted: bool | None, listed: Collection[str] = (), asked_at: float = 0.0) -> Acks:
        """What is known now, with a listing of these names that was asked for at `asked_at`."""
        now = self._now()
        with self._lock:
            told = frozenset(self._told)
            returned = frozenset(
                item for item, one in self._told.items() if item in listed and one.is_due_again(asked_at, now)
            )
            waiting = (item for item, one in self._postponed.items() if one.until > now)
            return Acks(is_wanted, told, returned, frozenset((*self._queued, *waiting)))

    def tell(self, items: Iterable[str], on_end: Callable[[], None]) -> None:
        """Begin to tell these; `on_end` is called, in a thread of the pool, when all have been tried."""
        with self._lock:
            self._queued |= dict.fromkeys(items)
            if self._is_telling or not self._queued:
                return
            self._is_telling = True

        def work() -> None:
            try:
                while item := self._next():
                    self._tell(item)
            finally:
                with self._lock:
                    self._is_telling = False
                on_end()

        self._pool.submit(work)

    @property
    def is_telling(self) -> bool:
        """Whether items are being told just now."""
        with self._lock:
            return self._is_telling

    def forget(self, known: Collection[str]) -> None:
        """Drop what is remembered of items that neither are listed nor have a Job any more."""
        with self._lock:
            self._told = {item: one for item, one in self._told.items() if item in known}
            self._postponed = {item: one for item, one in self._postponed.items() if item in known}

    def _next(self) -> str | None:
        with self._lock:
            return next(iter(self._queued), None)

    def _tell(self, item: str) -> None:
        trouble: Exception | None = None
        try:
            self._items.acknowledge(item)
        except SourceError as exc:
            trouble = exc
        except Exception as exc:  # noqa: BLE001 - nobody else would see it in the pool, and the others must be told
            self._log.exception("item not acknowledged", item=item)
            trouble = exc
        with self._lock:
            self._queued.pop(item, None)
            known = self._postponed.pop(item, None)
            if trouble is None:
                before = self._told.get(item)
                self._told[item] = _Told(self._now(), before.times + 1 if before else 1)
            else:
                self._postponed[item] = postponed_again(
                    known, self._now(), str(trouble), first=FIRST_SECONDS, most=MOST_SECONDS
                )
        if trouble is not None and known is None:
            self._log.warning("item not acknowledged; it is tried again", item=item, reason=str(trouble))
