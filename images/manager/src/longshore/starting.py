"""Starting items: each is asked of the source, and its Job created, several side by side.

Owns which starts are under way, and which items could not be started just now, why, and when they are tried again:
one item that can't be read, or not be made a Job of, must hold up no other. Where no Job can be made, for whichever
item, it pauses them all. That memory is all there is beside the Jobs; losing it only means trying sooner.
"""

import threading
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import Executor
from typing import Final

from longshore.engines.base import Engine
from longshore.ledger import Ledger, LedgerUnavailable
from longshore.manifests import Bundle, bundle_for, refused_bundle
from longshore.names import job_name
from longshore.patience import Postponed, postponed_again
from longshore.queuefile import Queue
from longshore.source import Items
from longshore_kit.errors import EngineFull, EngineUnavailable, ItemNotFound, LongshoreError, ManifestRefused
from longshore_kit.logs import Logger

POSTPONED_FIRST_SECONDS: Final = 2.0
POSTPONED_MOST_SECONDS: Final = 300.0
FULL_MOST_SECONDS: Final = 30.0
"""A quota has room again as soon as somebody deletes a Job."""
REMEMBERED_MAX: Final = 10_000
"""Postponed items kept in mind; beyond, the rest is simply tried again."""


class Starter:
    """Starts items in `pool`. Its methods are for one thread, the manager's."""

    def __init__(
        self, queue: Queue, *, items: Items, engine: Engine, ledger: Ledger, pool: Executor, log: Logger
    ) -> None:
        self._queue: Final = queue
        self._items: Final = items
        self._engine: Final = engine
        self._ledger: Final = ledger
        self._pool: Final = pool
        self._log: Final = log
        self._lock: Final = threading.Lock()
        self._under_way: set[str] = set()
        self._full: Postponed | None = None
        self._postponed: dict[str, Postponed] = {}
        self._made = 0
        self._conflicts = 0

    def start(
        self,
        item: str,
        *,
        may_start: Callable[[], bool],
        now: Callable[[], float],
        on_end: Callable[[], None],
        first_seen: float | None = None,
    ) -> None:
        """
        Begin to start `item`; `on_end` is called when that has ended, well or not, in a thread of the pool.

        `may_start` is asked just before its Job is made: whether what was decided then is still to be done.
        """
        with self._lock:
            self._under_way.add(item)

        def work() -> None:
            try:
                trouble = self._try(item, may_start, first_seen)
                with self._lock:
                    known = self._postponed.pop(item, None)
                    if isinstance(trouble, EngineFull | EngineUnavailable | LedgerUnavailable):
                        self._hold(trouble, now())
                    elif trouble is not None:
                        self._postpone(item, trouble, known, now())
                    else:
                        self._full = None
            finally:
                with self._lock:
                    self._under_way.discard(item)
                on_end()

        self._pool.submit(work)

    @property
    def under_way(self) -> frozenset[str]:
        """Items whose Jobs are being made; they count as live."""
        with self._lock:
            return frozenset(self._under_way)

    @property
    def made(self) -> int:
        """Jobs that this one has made."""
        with self._lock:
            return self._made

    @property
    def conflicts(self) -> int:
        """Jobs that it found made when it came to make them: by another manager, or by a request of lost reply."""
        with self._lock:
            return self._conflicts

    def postponed(self, at: float) -> frozenset[str]:
        """Items that are not to be tried now."""
        with self._lock:
            return frozenset(item for item, one in self._postponed.items() if one.until > at)

    def is_full(self, at: float) -> bool:
        """Whether nothing is to be started now: there was no room for a Job, or nobody to make it."""
        with self._lock:
            return self._full is not None and self._full.until > at

    def forget(self, listed: Collection[str]) -> None:
        """Drop what is remembered of items that are not listed any more."""
        with self._lock:
            self._postponed = {item: one for item, one in self._postponed.items() if item in listed}

    def troubles(self) -> Mapping[str, Postponed]:
        """What could not be started, and why."""
        with self._lock:
            return dict(self._postponed)

    def fullness(self) -> Postponed | None:
        """Why there is no room for another Job; None while there is."""
        with self._lock:
            return self._full

    def _try(self, item: str, may_start: Callable[[], bool], first_seen: float | None) -> Exception | None:
        """Start it: why that could not be done just now; None when it was, or need not be any more."""
        try:
            self._start(item, may_start, first_seen)
        except LongshoreError as exc:
            return exc
        except Exception as exc:  # noqa: BLE001 - see below
            # Nobody else would see it in the pool, and one item's trouble must not end the others'.
            self._log.exception("item not started", item=item)
            return exc
        return None

    def _start(self, item_name: str, may_start: Callable[[], bool], first_seen: float | None) -> None:
        item = self._items.get_item(item_name)
        layout = self._engine.layout(job_name(self._queue.name, item_name))
        bundle = bundle_for(self._queue, item, layout, first_seen)
        with self._ledger.steady() as records:
            if item_name not in records and may_start() and (refusal := self._create(bundle)):
                # What the engine can't honour fails the item: a dead letter like any other.
                self._make(refused_bundle(self._queue, item_name, refusal))

    def _create(self, bundle: Bundle) -> str:
        """Why the engine refuses it; empty when it does not."""
        try:
            self._make(bundle)
        except ManifestRefused as exc:
            return str(exc)
        return ""

    def _make(self, bundle: Bundle) -> None:
        is_new = self._engine.create(bundle)
        with self._lock:
            self._made += is_new
            self._conflicts += not is_new

    def _hold(self, trouble: Exception, now: float) -> None:
        """Pause all starts: each of a thousand items would be told the same."""
        known = self._full
        if known is not None and known.until > now:
            return  # another start of the same moment has said it
        self._full = postponed_again(known, now, str(trouble), first=POSTPONED_FIRST_SECONDS, most=FULL_MOST_SECONDS)
        if known is None:
            self._log.warning("no item is started for a while; it is tried again", reason=str(trouble))

    def _postpone(self, item: str, trouble: Exception, known: Postponed | None, now: float) -> None:
        reason = str(trouble) or type(trouble).__name__
        again = postponed_again(known, now, reason, first=POSTPONED_FIRST_SECONDS, most=POSTPONED_MOST_SECONDS)
        if len(self._postponed) < REMEMBERED_MAX:
            self._postponed[item] = again
        # An item may well leave its source between a listing and its start: once is nothing to look at.
        is_gone = isinstance(trouble, ItemNotFound) and known is None
        if not is_gone and (known is None or known.reason != reason):
            self._log.warning(
                "item not started; it is tried again", item=item, seconds=again.until - now, reason=reason
            )
